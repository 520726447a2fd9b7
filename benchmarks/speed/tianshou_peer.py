"""Tianshou as a contender: an environment of its own, and a process in it that takes turns.

Its requirements are not ours, so that it gets its own Python environment, with the same versions of
PyTorch, NumPy, Gymnasium and EnvPool. That is made once, in ``.peers/`` of the checkout or in a
given folder; it takes a minute and 2 GB.

    python benchmarks/speed/tianshou_peer.py            # make it
    python benchmarks/speed/tianshou_peer.py FOLDER
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from turns import Turn

TIANSHOU = "2.0.1"
SAME = ("torch", "numpy", "gymnasium", "envpool")
FOLDER = Path(__file__).resolve().parents[2] / ".peers" / f"tianshou-{TIANSHOU}"
WORKER = Path(__file__).with_name("tianshou_worker.py")


def environment(folder: Path = FOLDER) -> Path:
    """Return the Python of an environment with Tianshou, which is made if there is none."""
    python = folder / "bin" / "python"
    complete = folder / ".complete"
    if not complete.exists():
        pins = [f"{name}=={version(name).partition('+')[0]}" for name in SAME]
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", f"tianshou=={TIANSHOU}", *pins]
        subprocess.run(install, check=True)
        complete.touch()
    return python


@dataclass
class Remote:
    """A contender in another process, which answers each line with one turn."""

    name: str
    batch: int
    process: "subprocess.Popen[str]"

    def turn(self, units: int) -> Turn:
        """Do at least ``units``."""
        send(self.process.stdin, f"{self.name} {units}")
        return Turn(*answer(self.process))


@contextmanager
def tianshou(python: Path, made: dict[str, dict[str, Any]]) -> Iterator[tuple[Any, dict[str, str]]]:
    """Start Tianshou's learners; yields them by name, and the versions that they run on.

    ``made`` holds the arguments of the worker's ``learner`` for each name.
    """
    command = [python, WORKER, json.dumps(made)]
    settings = os.environ | {"OMP_NUM_THREADS": "1"}
    settings.pop("PYTHONPATH", None)  # our packages are not its own
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings
    ) as process:
        versions = answer(process)
        yield {name: Remote(name, m["steps"], process) for name, m in made.items()}, versions
        assert process.stdin is not None
        process.stdin.close()


def send(pipe: IO[str] | None, line: str) -> None:
    """Write one line to the process."""
    assert pipe is not None
    pipe.write(line + "\n")
    pipe.flush()


def answer(process: "subprocess.Popen[str]") -> Any:
    """Read one answer of the process."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"Tianshou's process ended with exit code {process.wait()}; see above")
    return json.loads(line)


if __name__ == "__main__":
    print(environment(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
