"""Locks that do not hold: on this machine, between machines, and as runs show them."""

import errno
import fcntl
import subprocess
import sys
import time

import pytest

from sb3_course.benchmark.execution.clusters import shared_folder
from sb3_course.benchmark.execution.clusters.shared_folder import (
    Mount,
    going_on,
    mount_of,
    unshared,
)
from sb3_course.benchmark.execution.heartbeat import beat
from sb3_course.benchmark.execution.run_queue import ByteLocks
from sb3_course.common.errors import UserError

LINES = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:5 / /data rw,relatime - nfs4 server:/data rw,vers=4.2,local_lock=none
41 40 0:6 / /data/old rw - nfs server:/old rw,vers=3,nolock,local_lock=all
42 40 0:7 / /data/pos rw - nfs server:/pos rw,vers=3,local_lock=posix
43 22 0:8 / /my\\040disk rw master:1 shared:2 - cifs //server/x rw,nobrl,vers=3.0
44 22 0:9 / /lustre rw - lustre server:/l rw,localflock
45 22 0:9 / /good rw - lustre server:/l rw,flock
46 22 0:9 / /database rw - xfs /dev/sdb rw,nolock
"""


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    """Let the system say that these are its mounts."""

    def set_to(lines):
        file = tmp_path / "mountinfo"
        file.write_text(lines)
        monkeypatch.setattr(shared_folder, "MOUNTS", file)

    set_to(LINES)
    return set_to


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/data/results/mine", "nfs4"),
        ("/data/old", "nfs"),
        ("/data/older", "nfs4"),
        ("/my disk/x", "cifs"),
        ("/home", "ext4"),
        ("/database", "xfs"),
    ],
)
def test_a_folder_is_in_the_innermost_mount(mounts, folder, kind):
    assert mount_of(folder).kind == kind


def test_what_mounts_over_a_folder_later_counts(mounts):
    mounts(LINES + "50 22 0:9 / /data rw - tmpfs none rw,size=1k\n")
    assert mount_of("/data/x") == Mount("/data", "tmpfs", frozenset({"rw", "size=1k"}))


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("/data/old/r", "/data/old/r is on nfs mounted with nolock"),
        ("/data/pos", "local_lock=posix"),
        ("/my disk", "cifs mounted with nobrl"),
        ("/lustre/r", "localflock"),
    ],
)
def test_mounts_whose_locks_are_not_shared_are_told_with_the_remedy(mounts, folder, words):
    (line,) = unshared(folder)
    assert words in line
    assert "start commands on one machine only" in line


@pytest.mark.parametrize("folder", ["/data/r", "/good", "/", "/database/r"])
def test_nothing_is_said_of_other_mounts(mounts, folder):
    assert unshared(folder) == []


@pytest.mark.parametrize("lines", ["", "nonsense\n", "1 2 3 - \n"])
def test_a_system_that_does_not_tell_is_no_error(mounts, lines):
    mounts(lines)
    assert (mount_of("/data"), unshared("/data")) == (None, [])


def test_locks_that_hold_are_free_after_the_check(tmp_path):
    locks = ByteLocks(tmp_path / ".lock")
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+b');"
        "fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 0)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / ".lock"], check=True)
    locks.close()


@pytest.mark.skipif(sys.platform != "linux", reason="two handles of a process share its locks")
def test_a_file_system_that_only_pretends_to_lock_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_folder.fcntl, "lockf", lambda *_: None)
    with pytest.raises(UserError, match="can be locked twice.*--results DIR.*NFS version 4"):
        ByteLocks(tmp_path / ".lock")


@pytest.mark.parametrize("call", ["lockf", "fcntl"])
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told_at_the_start(tmp_path, monkeypatch, call, code):
    def refused(*_):
        raise OSError(code, "No locks available")

    monkeypatch.setattr(shared_folder.fcntl, call, refused)
    with pytest.raises(UserError, match="cannot be locked .No locks available.: use a folder"):
        ByteLocks(tmp_path / ".lock")


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EACCES])
def test_another_command_at_the_same_check_is_no_error(tmp_path, monkeypatch, code):
    lockf = fcntl.lockf

    def taken(*arguments):
        if arguments[1:] == (fcntl.LOCK_EX | fcntl.LOCK_NB, 1, shared_folder.PROBE):
            raise OSError(code, "taken")
        return lockf(*arguments)

    monkeypatch.setattr(shared_folder.fcntl, "lockf", taken)
    assert ByteLocks(tmp_path / ".lock").acquire(7)


class Clock:
    """Time that passes while one sleeps, in which another machine may beat."""

    def __init__(self, then):
        self.now, self.then = 0.0, then

    def sleep(self, seconds):
        self.now += seconds
        self.then(self.now)

    def monotonic(self):
        return self.now

    time = staticmethod(time.time)


@pytest.mark.parametrize(
    ("every", "times", "kind", "expected"),
    [
        (5.0, 9, "nfs4", True),
        (0.5, 9, "fuse.sshfs", True),
        (0.5, 1, "nfs4", False),  # the last beat of a command that has just been killed
        (0.5, 0, "nfs4", False),
        (0.5, 9, "ext4", False),
    ],
)
def test_a_heartbeat_that_goes_on_without_its_lock(
    tmp_path, monkeypatch, mounts, every, times, kind, expected
):
    mounts(f"22 1 8:1 / / rw - {kind} server rw\n")
    moving, still = tmp_path / "a.progress", tmp_path / "b.progress"
    beats = [0]

    def then(now):
        if beats[0] < times and now >= every * (beats[0] + 1):
            beats[0] += 1
            beat(moving, beats[0], 1.0)

    beat(moving, 0, 0.0)
    beat(still, 0, 0.0)
    clock = Clock(then)
    monkeypatch.setattr(shared_folder, "time", clock)
    assert going_on([moving, still, tmp_path / "none"]) == ([moving] if expected else [])
    assert (clock.now == 0) == (kind == "ext4")


def test_a_silent_heartbeat_is_not_watched(tmp_path, monkeypatch, mounts):
    mounts("22 1 8:1 / / rw - nfs4 server rw\n")
    beat(tmp_path / "a.progress", 5, 1.0)
    clock = Clock(lambda now: pytest.fail("watched"))
    clock.time = lambda: time.time() + 121
    monkeypatch.setattr(shared_folder, "time", clock)
    assert going_on([tmp_path / "a.progress"]) == []
