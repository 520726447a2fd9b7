import pickle
import pickletools
import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sb3_course.common.errors import UserError
from sb3_course.imitation import load_cs285_demonstrations, load_cs285_expert
from sb3_course.imitation.plain_pickle import load_plain_pickle
from tests.budget import small_budget
from tests.imitation.helpers import homework_expert, homework_paths

REAL = [
    pickle.dumps(content, protocol)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    for content in (
        homework_expert(),
        homework_paths(lengths=(3, 2)),
        {"a": np.float32(2), "b": ()},
    )
]
CODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
GLOBALS = [
    f"c{name}\n".encode()
    for name in (
        "numpy\nndarray",
        "numpy\ndtype",
        "numpy.core.multiarray\n_reconstruct",
        "numpy.core.multiarray\nscalar",
        "numpy.core.numeric\n_frombuffer",
        "_codecs\nencode",
        "collections\nOrderedDict",
        "os\nsystem",
    )
]


def text(value):
    encoded = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value):
    return b"\x8a" + bytes([len(pickle.encode_long(value))]) + pickle.encode_long(value)


names = st.sampled_from(
    ["f8", "u1", "S9", "U1", "O", "latin1", "C", "<", "observation", "nonlin_type"]
)
opcode_streams = st.lists(
    st.one_of(
        st.sampled_from(CODES),
        st.sampled_from(GLOBALS),
        st.one_of(names, st.text(max_size=9)).map(text),
        st.integers(-(2**70), 2**70).map(number),
        st.integers(0, 5).flatmap(lambda i: st.sampled_from([b"q%c" % i, b"h%c" % i, b"K%c" % i])),
        st.sampled_from([b"(", b"t", b"R", b"b", b"\x85", b"\x86", b"\x87", b"]", b"}", b"l"]),
        st.binary(max_size=9),
    ),
    max_size=60,
).map(b"".join)


@st.composite
def damaged_pickles(draw):
    content = bytearray(draw(st.sampled_from(REAL)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 1, 2, 4, 30])))
        taken = draw(st.sampled_from(["bytes", "opcodes", "itself"]))
        if taken == "itself":  # a part of the file again and again
            part = bytes(content[start : start + 40]) * draw(st.sampled_from([1, 2, 500]))
        else:
            part = draw(st.binary(max_size=8) if taken == "bytes" else opcode_streams)
        content[start:end] = part
    return bytes(content)


def assert_read_or_refused(path, content):
    path.write_bytes(content)
    for load in (load_plain_pickle, load_cs285_expert, load_cs285_demonstrations):
        with small_budget():
            try:
                load(path)
            except UserError as error:
                assert str(error).startswith(str(path)) and len(str(error)) < len(str(path)) + 500
                assert str(error).isprintable()


@given(damaged_pickles())
def test_a_damaged_pickle_is_read_or_refused(tmp_path_factory, content):
    assert_read_or_refused(tmp_path_factory.mktemp("damaged") / "file.pkl", content)


@given(opcode_streams, st.integers(1, 300))
def test_a_stream_of_instructions_is_read_or_refused(tmp_path_factory, stream, times):
    folder = tmp_path_factory.mktemp("stream")
    assert_read_or_refused(folder / "file.pkl", b"\x80\x04(" + stream * times + b"l.")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
        lambda part: st.lists(part) | st.dictionaries(st.text(), part) | st.tuples(part, part),
    ),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
def test_plain_data_is_read_as_pickle_reads_it(tmp_path_factory, content, protocol):
    path = tmp_path_factory.mktemp("plain") / "file.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    assert repr(load_plain_pickle(path)) == repr(content)  # which compares NaN as well
