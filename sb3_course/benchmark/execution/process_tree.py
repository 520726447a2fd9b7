"""Processes that a run starts, and how they end with it.

On Linux, a supervisor is the reaper of its descendants: a process whose parent has died becomes the
supervisor's child. So none can leave the tree that is killed, whatever its session and group. If
the supervisor itself is killed, its guard does the same. If both are, the command finds the
processes by a variable of their environment. Elsewhere, only the run's own group is ended.
"""

import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

LOOK = 0.05
"""Seconds between looks at whether a process lives: a pipe's end may be held by its children."""
PATIENCE = 5.0
"""Seconds after which processes that were killed, and cannot die, are left to the system."""
MARK = "SB3_COURSE_SUPERVISOR"
"""Environment variable of a supervisor's processes."""
LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def adopt_orphans() -> None:
    """Become the parent of those descendants whose parents die."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def guard(parent: int, temporary: str) -> int:
    """Go on in a child of this process, which stays behind and ends all that the child leaves.

    A guard and its child end each other's descendants, so that only one of them can be killed
    without that being noticed. (Ray kills the children of its own processes, but no grandchildren.)

    :param parent: Process id of this process's parent, with which all of them end
    :param temporary: Folder that is removed at the end
    :return: Process id of the guard, in the child; elsewhere than on Linux, that of the parent
    """
    if not LINUX:
        return parent
    adopt_orphans()
    here = os.getpid()
    child = os.fork()
    if child == 0:
        return here
    status = 1 << 8
    while os.getppid() == parent:
        ended, code = os.waitpid(child, os.WNOHANG)
        if ended:
            status = code
            break
        time.sleep(LOOK)
    kill_descendants()
    shutil.rmtree(temporary, ignore_errors=True)
    if os.WIFSIGNALED(status):  # the guard's end tells about the child's
        os.kill(here, os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def lead() -> None:
    """Become the leader of a session and a group, so that signals to the group stay in it."""
    os.setsid()
    with suppress(OSError):  # exists only on Linux; if memory runs out, runs are killed first
        Path("/proc/self/oom_score_adj").write_text("1000")


def die_with(parent: int) -> None:
    """Make the system kill this process when its parent dies.

    :param parent: Process id of the parent, which may have died already
    """
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def ends(process: BaseProcess, seconds: float) -> bool:
    """Wait until a child has ended.

    Unlike ``join``, this does not wait for those to whom the child has left its pipes.

    :param process: The child
    :param seconds: Longest time to wait
    :return: Whether it has ended
    """
    return _becomes_true(lambda: process.exitcode is not None, seconds)


def kill(process: BaseProcess) -> int | None:
    """Kill a child that leads a session, and all descendants of this process.

    :param process: The child, which may have ended
    :return: Its exit code; None if it cannot die
    """
    if process.exitcode is None:
        process.kill()
    with suppress(OSError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    ends(process, PATIENCE)
    kill_descendants()
    return process.exitcode


def kill_descendants() -> None:
    """Kill all descendants of this process, and wait until they have ended."""
    _kill_all(_descendants)


def kill_marked(mark: str) -> None:
    """Kill the processes of a supervisor that was killed itself.

    :param mark: Value of :data:`MARK` in their environment
    """
    entry = f"{MARK}={mark}".encode()
    _kill_all(lambda: [pid for pid in _processes() if entry in _environment(pid)])


def _kill_all(find: Callable[[], list[int]]) -> None:
    """Kill processes until no more are found: they may start others meanwhile."""

    def none_left() -> bool:
        found = find()
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return not found

    _becomes_true(none_left, PATIENCE)


def _becomes_true(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def _processes() -> list[int]:
    if not LINUX:
        return []
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _environment(pid: int) -> list[bytes]:
    with suppress(OSError):  # it has ended, or belongs to another user
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []


def _descendants() -> list[int]:
    """Return the living descendants, after a look at those children that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    children: dict[int, list[int]] = {}
    for pid in _processes():
        children.setdefault(_parent(pid), []).append(pid)
    found = children.get(os.getpid(), [])
    for pid in found:  # which grows meanwhile
        found.extend(children.get(pid, []))
    return found


def _parent(pid: int) -> int:
    with suppress(OSError):
        # Its name comes before, in parentheses, and may hold anything.
        return int(
            Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1]
        )
    return 0


def _prctl(option: int, value: int) -> None:
    if LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
