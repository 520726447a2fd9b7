import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sb3_course.common import files
from sb3_course.common.errors import UserError
from sb3_course.common.files import (
    check_can_write,
    check_can_write_into,
    read_whole,
    shipped,
    write_atomically,
    write_whole,
)

ROOT = Path(__file__).resolve().parents[2]


def test_a_file_is_created_with_its_folders_and_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "file.bin"
    for content in (b"first, and longer", b"second"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["file.bin"]


CODES = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES]


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize("step", ["replace", "fsync", "chmod", "open"])
def test_a_failure_names_the_file_and_leaves_the_old_one_and_nothing_else(
    tmp_path, monkeypatch, step, code
):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(*arguments):
        raise OSError(code, os.strerror(code))  # as file.write() does, without a name

    with monkeypatch.context() as patch, pytest.raises(OSError) as caught:
        patch.setattr(os, step, fail)
        write_whole(path, "new")
    assert str(caught.value) == f"[Errno {code}] {os.strerror(code)}: {str(path)!r}"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_disk_that_fills_up_while_writing_leaves_the_old_file(tmp_path):
    """The system itself refuses: no process of this shell may write a file of more than 8 KiB."""
    path = tmp_path / "file.txt"
    path.write_text("old")
    code = (
        "import resource, signal, sys, pathlib\n"
        "from sb3_course.common.files import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "try:\n    write_whole(pathlib.Path(sys.argv[1]), 'x' * 100_000)\n"
        "except OSError as error:\n    print(error.filename)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{path}\n", "")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "file.txt").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(tmp_path / "file.txt", "new")
    assert caught.value.filename == str(tmp_path / "file.txt")
    (tmp_path / "taken").touch()
    with pytest.raises(NotADirectoryError) as caught:
        write_whole(tmp_path / "taken" / "folder" / "file.txt", "new")
    assert caught.value.filename == str(tmp_path / "taken" / "folder")
    assert os.listdir(tmp_path / "file.txt") == []


def test_ctrl_c_just_after_the_move_is_no_other_error(tmp_path, monkeypatch):
    path, replace = tmp_path / "file.txt", os.replace

    def interrupted(source, target):
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        write_whole(path, "new")
    assert caught.value.__context__ is None or "file.txt." not in str(caught.value.__context__)
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file.txt"]


def abandoned(folder, age=files.ABANDONED + 60.0) -> Path:
    """Leave what a process leaves that is killed while it writes a file."""
    code = (
        "import os, pathlib, sys\n"
        "from sb3_course.common.files import write_whole\n"
        "os.replace = lambda *_: os._exit(9)\n"
        "write_whole(pathlib.Path(sys.argv[1]), 'half')\n"
    )
    assert subprocess.run([sys.executable, "-c", code, folder / "file.txt"]).returncode == 9
    (path,) = folder.glob(".file.txt.*")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_a_killed_process_left_is_removed_at_any_depth(tmp_path):
    (tmp_path / "runs").mkdir()
    left = [abandoned(tmp_path), abandoned(tmp_path / "runs")]
    files.remove_abandoned(tmp_path)
    assert not any(path.exists() for path in left)
    files.remove_abandoned(tmp_path / "none")


def test_what_is_being_written_and_what_is_not_ours_stays(tmp_path):
    written = abandoned(tmp_path, age=files.ABANDONED - 60.0)
    mine = [".file.txt.abcd1234", ".env", ".x.sb3-course", "a.abcd1234.sb3-course", "file.txt"]
    for name in mine:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    files.remove_abandoned(tmp_path)
    assert set(os.listdir(tmp_path)) == {written.name, *mine}


def test_nothing_is_removed_through_a_link(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    left = abandoned(outside)
    (inside / "linked").symlink_to(outside)
    (inside / left.name).symlink_to(left)
    files.remove_abandoned(inside)
    assert left.exists()


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop", "device", "large", "none"])
def test_what_is_no_regular_file_is_not_read(tmp_path, kind):
    path = tmp_path / "file"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "device":
        path.symlink_to(os.devnull)
    elif kind == "large":
        path.write_bytes(bytes(101))
    with pytest.raises(OSError) as caught:
        files.read_regular(path, largest=100)
    assert caught.value.filename == str(path)


def test_a_regular_file_is_read_also_through_a_link(tmp_path):
    (tmp_path / "file").write_bytes(bytes(100))
    (tmp_path / "link").symlink_to("file")
    assert files.read_regular(tmp_path / "link", largest=100) == bytes(100)


def test_the_content_is_complete_before_the_file_appears(tmp_path, monkeypatch):
    path, seen = tmp_path / "file.txt", []
    replace = os.replace

    def watch(source, target):
        seen.append((path.exists(), Path(source).read_text()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    write_whole(path, "new")
    assert seen == [(False, "new")]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "ours.txt", "text")
        (tmp_path / "plain.txt").write_text("text")
        assert os.umask(mask) == mask  # left as it was
    finally:
        os.umask(before)
    ours, plain = ((tmp_path / name).stat().st_mode for name in ("ours.txt", "plain.txt"))
    assert ours == plain


def test_only_a_file_of_a_bounded_size_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_whole(tmp_path / "file", 5) == b"12345"
    os.mkfifo(tmp_path / "pipe")
    for name, expected in {
        "file": "refused: 5 bytes, more than 4",
        ".": "is a directory; allowed: a file",
        "pipe": "is a pipe or a device; allowed: a file",
    }.items():
        with pytest.raises(UserError, match=expected):
            read_whole(tmp_path / name, 4)
    with pytest.raises(FileNotFoundError):
        read_whole(tmp_path / "none", 4)


def test_text_is_written_in_utf_8(tmp_path):
    write_whole(tmp_path / "file.txt", "β ≤ 1\n")
    assert (tmp_path / "file.txt").read_bytes() == "β ≤ 1\n".encode()


def test_a_checkout_has_its_own_files():
    assert shipped("benchmarks/demo.yaml") == ROOT / "benchmarks" / "demo.yaml"


def test_a_wheel_has_them_inside(monkeypatch, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "demo.yaml").touch()
    monkeypatch.setattr(files, "IN_WHEEL", tmp_path)
    assert shipped("benchmarks/demo.yaml") == tmp_path / "benchmarks" / "demo.yaml"


@pytest.mark.parametrize("path", ["benchmarks/demo.yaml", "results/experts"])
def test_what_is_asked_for_is_in_the_wheel(path):
    assert (ROOT / path).exists()
    assert f'"{path}" = "sb3_course/shipped/{path}"' in (ROOT / "pyproject.toml").read_text()


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "model").write_bytes(b"old")
    (tmp_path / "latest").symlink_to("runs/model")
    write_atomically(tmp_path / "latest", b"new")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "runs" / "model").read_bytes() == b"new"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: None])
def test_a_link_to_anything_but_a_regular_file_is_replaced(tmp_path, make):
    make(tmp_path / "target")
    (tmp_path / "link").symlink_to("target")
    write_atomically(tmp_path / "link", b"new")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_bytes() == b"new" and not (tmp_path / "target").is_file()


def test_what_can_be_written_is_let_alone(tmp_path):
    check_can_write("--out", tmp_path / "new" / "model.zip")
    check_can_write_into("--out", tmp_path / "other" / "folder")
    assert {path.name for path in tmp_path.rglob("*")} == {"new", "other", "folder"}
    (tmp_path / "new" / "model.zip").write_text("old")
    check_can_write("--out", tmp_path / "new" / "model.zip")
    assert (tmp_path / "new" / "model.zip").read_text() == "old"


@pytest.mark.parametrize(
    ("check", "name", "reason"),
    [
        (check_can_write, ".", "is a folder; allowed: a file"),
        (check_can_write, "file/deeper", r"cannot be written \(.+\)"),
        (check_can_write, "n" * 300 + "/deeper", r"cannot be written \(File name too long\)"),
        (check_can_write_into, "file", "is a file; allowed: a folder"),
        (check_can_write_into, "file/deeper", r"cannot be written \(Not a directory\)"),
        (check_can_write_into, "n" * 300, r"cannot be written \(File name too long\)"),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path, check, name, reason):
    (tmp_path / "file").write_text("old")
    with pytest.raises(UserError, match=f"^--out: {re.escape(str(tmp_path / name))} {reason}$"):
        check("--out", tmp_path / name)
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("check", [check_can_write, check_can_write_into])
def test_a_full_disk_is_told(tmp_path, monkeypatch, check):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.tempfile, "NamedTemporaryFile", full)
    with pytest.raises(UserError, match=r"--out: .*place cannot be written \(No space left"):
        check("--out", tmp_path / "place")
