import os

import pytest

from sb3_course.benchmark.storage.derived import LIST, replace_files
from sb3_course.common.errors import UserError


def files(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != LIST
    }


def test_what_was_written_and_is_no_more_is_removed_with_its_folders(tmp_path):
    replace_files(tmp_path, {"a/b/1": b"1", "a/c/2": b"2", "3": b"3"})
    replace_files(tmp_path, {"a/c/2": b"new"})
    assert files(tmp_path) == {"a/c/2": b"new"}
    assert not (tmp_path / "a" / "b").exists()
    replace_files(tmp_path, {})
    assert os.listdir(tmp_path) == [LIST]


@pytest.mark.parametrize("name", ["mine/x/evaluations.npz", "a/mine/evaluations.npz", "a/b/notes"])
def test_what_is_not_ours_stays(tmp_path, name):
    replace_files(tmp_path, {"a/b/1": b"1"})
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    replace_files(tmp_path, {})
    assert files(tmp_path) == {name: b"mine"}


def test_a_file_of_ours_that_has_been_changed_stays(tmp_path):
    replace_files(tmp_path, {"a/1": b"1"})
    (tmp_path / "a" / "1").write_bytes(b"edited")
    replace_files(tmp_path, {})
    assert files(tmp_path) == {"a/1": b"edited"}


@pytest.mark.parametrize("name", ["", "a", "a/b", "a/b/1"])
def test_nothing_is_removed_or_written_through_a_link(tmp_path, name):
    folder, outside = tmp_path / "zoo", tmp_path / "outside"
    replace_files(folder, {"a/b/1": b"1"})
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    before = outside.read_bytes() if outside.is_file() else files(outside)
    if name != "a/b/1":
        with pytest.raises(UserError, match=f"{folder / name} is a symbolic link; move it away"):
            replace_files(folder, {"a/b/1": b"new"})
    replace_files(folder, {})
    assert (folder / name).is_symlink() or name == ""
    assert before == (outside.read_bytes() if outside.is_file() else files(outside))


@pytest.mark.parametrize("list_", ['{"../outside": "DIGEST"}', '{"/outside": "DIGEST"}', "[]", "{"])
def test_a_damaged_list_removes_nothing_outside(tmp_path, list_):
    folder, outside = tmp_path / "zoo", tmp_path / "outside"
    replace_files(tmp_path, {"outside": b"1"})
    digest = (tmp_path / LIST).read_text().split('"')[3]
    folder.mkdir()
    absolute = list_.replace("/outside", str(outside)) if '"/' in list_ else list_
    (folder / LIST).write_text(absolute.replace("DIGEST", digest))
    replace_files(folder, {"new": b"2"})
    assert outside.read_bytes() == b"1"
    assert files(folder) == {"new": b"2"}


def test_what_is_unchanged_is_not_written_again(tmp_path):
    replace_files(tmp_path, {"a": b"1"})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    replace_files(tmp_path, {"a": b"1"})
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_a_kill_before_the_end_leaves_nothing_that_is_not_listed(tmp_path, monkeypatch):
    from sb3_course.benchmark.storage import derived

    write = derived.write_atomically

    def killed(path, content):
        write(path, content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(derived, "write_atomically", killed)
        replace_files(tmp_path, {"a": b"1", "b": b"2"})
    assert files(tmp_path) == {"a": b"1"}
    replace_files(tmp_path, {})
    assert files(tmp_path) == {}


def test_a_fifo_in_the_place_of_a_file_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "a")
    replace_files(tmp_path, {"a": b"1"})
    assert files(tmp_path) == {"a": b"1"}
