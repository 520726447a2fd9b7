import json
import multiprocessing
import os
import time

import pytest

from sb3_course.benchmark.storage import manifest
from sb3_course.benchmark.storage.manifest import merge_manifest, read_manifest, write_manifest
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import tiny


def test_commands_and_durations_add_up_and_the_rest_is_the_last_state(tmp_path):
    write_manifest(tiny(), tmp_path, "first", 1, 0.0)
    merge_manifest(tmp_path, {"commands": ["second"], "duration_seconds": 2.0, "workers": 3})
    before = read_manifest(tmp_path)
    assert before["commands"] == ["first", "second"]
    assert before["workers"] == 3
    merge_manifest(tmp_path, {"commands": ["first"], "duration_seconds": 1.0})
    after = read_manifest(tmp_path)
    assert after["commands"] == ["first", "second"]
    assert after["duration_seconds"] == round(before["duration_seconds"] + 1.0, 1)
    merge_manifest(tmp_path, {"commands": ["third"], "duration_seconds": 1.0}, add=False)
    assert read_manifest(tmp_path) == {"commands": ["third"], "duration_seconds": 1.0}


def test_a_clock_that_is_set_back_damages_nothing(tmp_path, monkeypatch):
    started = time.monotonic()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    write_manifest(tiny(), tmp_path, "first", 1, started)
    assert read_manifest(tmp_path)["duration_seconds"] >= 0.0


def test_two_commands_lose_nothing_of_each_other(tmp_path, monkeypatch):
    """The second one comes while the first has read the manifest and not yet written it."""
    started, write = [], manifest.write_whole
    fork = multiprocessing.get_context("fork")
    facts = {"commands": ["second"], "duration_seconds": 2.0}

    def joined_by_another(path, text):
        if not started:
            started.append(fork.Process(target=merge_manifest, args=[tmp_path, facts]))
            started[0].start()
            started[0].join(0.5)  # which waits for this one's lock
        write(path, text)

    monkeypatch.setattr(manifest, "write_whole", joined_by_another)
    merge_manifest(tmp_path, {"commands": ["first"], "duration_seconds": 1.0})
    started[0].join()
    assert started[0].exitcode == 0
    assert read_manifest(tmp_path) == {"commands": ["first", "second"], "duration_seconds": 3.0}


DAMAGE = {
    "cut": b'{"grid": {',
    "no mapping": b"[]",
    "not UTF-8": b'{"commands": ["\xff"]}',
    "infinite": b'{"duration_seconds": Infinity}',
    "NaN": b'{"duration_seconds": NaN}',
    "a text for a number": b'{"duration_seconds": "1"}',
    "a text for a list": b'{"commands": "run"}',
    "numbers for texts": b'{"commands": [1]}',
    "a list for a mapping": b'{"versions": []}',
    "nested": b"[" * 100_000,
    "a long number": b"1" * 5000,
    "empty": b"",
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_manifest_is_named_and_nothing_is_written(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path} is damaged .*; delete it, and no result is lost"):
        read_manifest(tmp_path)
    with pytest.raises(UserError, match="is damaged"):
        write_manifest(tiny(), tmp_path, "command", 1, 0.0)
    assert path.read_bytes() == content


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "device"])
def test_what_is_no_file_is_neither_waited_for_nor_read(tmp_path, kind):
    path = tmp_path / "manifest.json"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path if kind == "loop" else os.devnull)
    with pytest.raises(UserError, match="is damaged"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [{}, {"commands": [], "other": [1]}, {"git_commit": None}])
def test_what_earlier_versions_wrote_is_read(tmp_path, content):
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert read_manifest(tmp_path) == content
