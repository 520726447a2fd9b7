import errno
import json
import subprocess
import sys

import optuna
import pytest

from sb3_course.benchmark.storage.grids import JOURNAL
from sb3_course.benchmark.tuning import journal
from sb3_course.benchmark.tuning.journal import open_journal, remove_torn_line
from sb3_course.common.errors import UserError

optuna.logging.set_verbosity(optuna.logging.ERROR)


def with_trials(folder, n):
    study = optuna.create_study(storage=open_journal(folder), study_name="a", load_if_exists=True)
    for _ in range(n):
        study.tell(study.ask(), 1.0)
    return len(study.trials)


@pytest.mark.parametrize("torn", [b'{"op_code":5,"wor', b"\xff" * 9000, b"{"])
def test_a_line_that_a_killed_process_has_not_finished_costs_nothing(tmp_path, torn):
    assert with_trials(tmp_path, 2) == 2
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(torn)
    assert with_trials(tmp_path, 1) == 3
    assert with_trials(tmp_path, 1) == 4
    for line in (tmp_path / JOURNAL).read_text().splitlines():
        json.loads(line)


def test_a_line_may_be_torn_while_a_command_goes_on(tmp_path):
    study = optuna.create_study(storage=open_journal(tmp_path), study_name="a")
    study.tell(study.ask(), 1.0)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code"')
    study.tell(study.ask(), 2.0)
    assert with_trials(tmp_path, 0) == 2


@pytest.mark.parametrize(
    ("before", "after"), [(b"", b""), (b"ab", b""), (b"a\nb", b"a\n"), (b"a\n", b"a\n")]
)
def test_whole_lines_stay(tmp_path, before, after):
    path = tmp_path / "lines"
    path.write_bytes(before)
    remove_torn_line(path)
    assert path.read_bytes() == after


@pytest.mark.parametrize("line", ["[]", '{"op_code": 99}', "nonsense", '{"op_code": 0}'])
def test_a_damaged_journal_says_what_to_do(tmp_path, line):
    with_trials(tmp_path, 1)
    path = tmp_path / JOURNAL
    path.write_text(f"{line}\n" + path.read_text())
    with pytest.raises(UserError, match=r"journal.log is damaged.*move it away.*repeats no run"):
        open_journal(tmp_path)


def test_the_line_of_a_damaged_journal_is_named(tmp_path):
    with_trials(tmp_path, 2)
    path = tmp_path / JOURNAL
    lines = path.read_text().splitlines(True)
    lines.insert(2, lines[2][:20] + "\n")
    path.write_text("".join(lines))
    with pytest.raises(UserError, match=r"is damaged \(line 3 is no JSON\)"):
        open_journal(tmp_path)


@pytest.mark.parametrize("line", ["", '{"op_code": 4, "wor', "\xff"])
def test_a_damaged_last_line_is_told_before_anything_follows_it(tmp_path, line):
    """Optuna passes over it, and fails once there is another line."""
    with_trials(tmp_path, 1)
    path = tmp_path / JOURNAL
    path.write_bytes(before := path.read_bytes() + f"{line}\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"journal.log is damaged.*move it away"):
        with_trials(tmp_path, 1)
    assert path.read_bytes() == before


def test_a_process_that_is_killed_while_it_writes_locks_nobody_out(tmp_path):
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from sb3_course.benchmark.tuning.journal import JournalLock\n"
        "path = Path(sys.argv[1])\n"
        "path.touch()\n"
        "JournalLock(path).acquire()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / JOURNAL)])
    assert done.returncode == -9
    assert with_trials(tmp_path, 1) == 1


def test_a_full_disk_is_told_with_the_journals_name(tmp_path, monkeypatch):
    def full(self, logs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with_trials(tmp_path, 1)
    monkeypatch.setattr(journal.JournalFileBackend, "append_logs", full)
    with pytest.raises(OSError, match="No space left") as raised:
        with_trials(tmp_path, 1)
    assert raised.value.filename == str(tmp_path / JOURNAL)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_what_cannot_be_written_can_be_read(tmp_path, monkeypatch, number):
    with_trials(tmp_path, 2)

    def refuse(path):
        raise OSError(number, "made to fail", str(path))

    monkeypatch.setattr(journal, "locked", refuse)
    study = optuna.load_study(storage=open_journal(tmp_path), study_name="a")
    assert len(study.trials) == 2
    with pytest.raises(OSError, match="made to fail"):
        study.ask()
