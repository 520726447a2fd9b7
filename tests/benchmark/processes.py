"""Commands in processes of their own, and what they have started."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from sb3_course.cli.app import main; main()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def start_command(words, folder, log="log", **options):
    """Start ``sb3-course``, whose output goes to a file in the folder."""
    with (folder / log).open("w") as stream:
        return subprocess.Popen(
            [*COMMAND, *words],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=stream,
            stderr=stream,
            **options,
        )


def is_running(pid):
    """Whether a process exists and is no zombie."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children(pid):
    """Find the processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    with suppress(OSError):
        return [int(child) for task in tasks for child in task.read_text().split()]
    return []


def descendants(pid):
    """Find the processes that a process has started, and those that these have."""
    found = children(pid)
    return [*found, *(each for child in found for each in descendants(child))]


def processes_with(variable, value):
    """Find the living processes that have a variable in their environment, but this one."""
    entry, found = f"{variable}={value}".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
    return [pid for pid in found if pid != os.getpid()]


def command_line(pid):
    """Read the words that a process was started with."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def wait_until(condition, process, seconds=0.02):
    """Wait until something holds or the process ends."""
    while not condition() and process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
