import os
from pathlib import Path

import pytest

from sb3_course.common import files
from sb3_course.common.errors import UserError
from sb3_course.common.files import read_whole, shipped, write_atomically, write_whole

ROOT = Path(__file__).resolve().parents[2]


def test_a_file_is_created_with_its_folders_and_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "file.bin"
    for content in (b"first, and longer", b"second"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["file.bin"]


@pytest.mark.parametrize("step", ["replace", "fsync", "chmod"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


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
