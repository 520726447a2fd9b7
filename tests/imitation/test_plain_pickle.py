import os
import pathlib
import pickle
import struct

import pytest

from sb3_course.common.errors import UserError
from sb3_course.imitation.plain_pickle import load_plain_pickle
from tests.budget import small_budget

REBUILT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"


def call(name, *arguments):
    return b"c" + name + b"\n(" + b"".join(arguments) + b"tR"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def long(value):
    return b"\x8a" + bytes([len(pickle.encode_long(value))]) + pickle.encode_long(value)


DOUBLE = b"K\x01" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))  # 2^60 numbers, written out
DTYPE = call(b"numpy\ndtype", b"U\x02u1K\x00K\x01")
COLLIDING = b"".join(long(i * (2**61 - 1)) + b"N" for i in range(40_000))  # of the hash 0


def costly_pickles():
    """Pickles of up to 1 MB that would take minutes or gigabytes if nothing were counted."""
    data = text(b"x" * 500_000)
    encode = b"c_codecs\nencode\nq\x00" + data + text(b"latin1") + b"\x86q\x01("
    yield "encodes again and again", encode + b"h\x00h\x01R" * 60_000 + b"l."
    shape = b"J" + struct.pack("<i", 500_000) + b"\x85"
    state = data + b"q\x000" + DTYPE + b"q\x010" + shape + b"q\x020(" + REBUILT
    build = b"(K\x01h\x02h\x01\x89h\x00tb"
    yield "sets one state again and again", state + build * 40_000 + b"l."
    from_buffer = b"cnumpy.core.numeric\n_frombuffer\nq\x03("
    repeated = b"h\x03(h\x00h\x01h\x02U\x01CtR" * 40_000
    yield "one buffer again and again", state.replace(REBUILT, from_buffer) + repeated + b"l."
    arguments = b"(" + b"N" * 120_000 + b"tq\x000"
    yield "calls with many arguments", arguments + (b"c_codecs\nencode\nh\x00R") * 20_000 + b"."
    yield "states with many parts", arguments + REBUILT + b"h\x00b" * 60_000 + b"."
    for name, code in {"lists": b"]", "dicts": b"}", "marks": b"(", "nothing": b"N"}.items():
        yield f"many {name}", b"(" + code * 400_000 + b"l."
    yield "numbers that collide", b"}(" + COLLIDING + b"u."
    yield "a dict at once of numbers that collide", b"(" + COLLIDING + b"d."
    yield "a tuple as a key", b"}" + DOUBLE + b"Ns."
    yield "tuples in tuples as a key", b"})" + b"\x85" * 90_000 + b"Ns."
    yield "a doubled shape", REBUILT + b"(K\x01" + DOUBLE + DTYPE + b"\x89U\x00tb."
    yield "a doubled dtype", call(b"numpy\ndtype", DOUBLE) + b"."
    begin, end = REBUILT + b"(K\x01(", b"t" + DTYPE + b"\x89U\x00tb."
    yield "a shape of large numbers", begin + long(2**1000) * 3000 + end
    yield "empty, of a large shape", begin + b"K\x00" + long(2**29) * 2 + end
    yield "a number of a million bytes", b"\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b"."
    yield "text longer than the file", b"\x8d" + struct.pack("<Q", 2**63 - 1) + b"x."
    yield "a number of a million digits", b"L" + b"9" * 10**6 + b"L\n."


COSTLY = dict(costly_pickles())


@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_pickle_is_refused_at_once(tmp_path, name):
    path = tmp_path / "costly.pkl"
    path.write_bytes(COSTLY[name])
    with small_budget(), pytest.raises(UserError, match=r"costly\.pkl"):
        load_plain_pickle(path)


def test_what_only_looks_costly_is_read(tmp_path):
    path = tmp_path / "file.pkl"
    path.write_bytes(b"\x80\x03Nr" + struct.pack("<I", 2**32 - 1) + b".")  # index of the memo
    with small_budget():
        assert load_plain_pickle(path) is None
        nested = b"]" * 50_000 + b"a" * 49_999 + b"."
        path.write_bytes(nested)
        assert len(load_plain_pickle(path)[0][0]) == 1
        path.write_bytes(b"]q\x00h\x00a.")
        assert len(load_plain_pickle(path)[0][0][0]) == 1


def test_a_pipe_or_a_device_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, pathlib.Path(os.devnull)):
        with pytest.raises(UserError, match="is a (directory|pipe or a device)"):
            load_plain_pickle(path)
