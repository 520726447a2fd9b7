"""The log of one run: which of its files is read, and what the run is called."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import pandas as pd

from sb3_course.benchmark.logs.evaluations import read_evaluations
from sb3_course.benchmark.logs.layout import check_name
from sb3_course.benchmark.logs.monitor import header, read_monitors
from sb3_course.benchmark.logs.scalars import (
    EVALUATED,
    TRAINED,
    Scalars,
    read_events,
    read_progress,
    returns_in,
)
from sb3_course.benchmark.logs.search import (
    EVALUATIONS,
    EVENTS,
    MONITOR,
    PROGRESS,
    FoundRun,
    of_kind,
)
from sb3_course.benchmark.logs.zoo_arguments import CONTINUED, ZooArguments, zoo_arguments
from sb3_course.common.errors import UserError

EVALUATION, TRAINING = "evaluations", "training episodes"
"""What returns are measured in."""
LONGEST_LINE = 10_000
Name = tuple[str, str, int]
T = TypeVar("T")


@dataclass(frozen=True)
class RunLog:
    """A run that was read.

    :param algorithm: Name of its algorithm
    :param environment: Name of its environment
    :param seed: Its seed
    :param path: Where it was read
    :param source: Kind of file that its returns are from
    :param measured: :data:`EVALUATION` or :data:`TRAINING`, empty where a table does not say
    :param points: Its returns, see :func:`.points`
    :param setting: What RL Zoo says that it was trained with; empty where nothing is said
    :param task: What of that are arguments of the environment; empty if there are none
    """

    algorithm: str
    environment: str
    seed: int
    path: Path
    source: str
    measured: str
    points: pd.DataFrame
    setting: str = ""
    task: str = ""

    @property
    def name(self) -> Name:
        """Algorithm, environment and seed."""
        return self.algorithm, self.environment, self.seed


def read_run(run: FoundRun) -> RunLog:
    """Read the log of a run.

    :param run: Run
    :return: Its names and its returns
    :raises UserError: It cannot be read, its name is not known, or it continues another run; gives
        the reason alone
    """
    said = zoo_arguments(run)
    if file := said.texts.get(CONTINUED):
        raise UserError(f"no run from the start: it continues {file}")
    return RunLog(*names_of(run, said), run.path, *_returns(run), said.setting, said.task)


def _returns(run: FoundRun) -> tuple[str, str, pd.DataFrame]:
    """Return the returns of the best kind that the run has, after the kind and what it measures."""
    if files := of_kind(run, EVALUATIONS):
        return EVALUATIONS, EVALUATION, _read(read_evaluations, files)
    scalars: list[tuple[str, Scalars]] = []
    if files := of_kind(run, PROGRESS):
        scalars.append((PROGRESS, _read(read_progress, files)))
    events = of_kind(run, EVENTS)
    if events and find_spec("tensorboard"):
        scalars.append(("TensorBoard", read_events(events)))
    for source, logged in scalars:
        if (found := returns_in(logged, EVALUATED)) is not None:
            return f"{source} ({EVALUATED[0]})", EVALUATION, found
    if files := of_kind(run, MONITOR):
        return MONITOR, TRAINING, read_monitors(files)
    for source, logged in scalars:
        if (found := returns_in(logged, TRAINED)) is not None:
            return f"{source} ({TRAINED[0]})", TRAINING, found
    if events and not find_spec("tensorboard"):
        raise UserError(
            "only TensorBoard's files in it, and tensorboard is not installed: "
            "pip install 'sb3-course[tensorboard]'"
        )
    raise UserError(f"neither {EVALUATED[0]} nor {TRAINED[0]} in it")


def _read(read: Callable[[Path], T], files: Sequence[Path]) -> T:
    """Read the only file of its kind."""
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise UserError(f"{len(files)} files of one kind: {names}; does the layout fit?")
    try:
        return read(files[0])
    except UserError as error:
        raise UserError(f"{files[0].name}: {error}") from error


def names_of(run: FoundRun, said: ZooArguments) -> Name:
    """Return the names of a run: those in its path, or else those in its files.

    RL Zoo's folders hold the number of a run where its arguments hold the seed, which counts. They
    lack what may not be in a path: ``ALE-Pong-v5`` is ``ALE/Pong-v5``, as the run's arguments and
    the first line of ``monitor.csv`` say.

    :param run: Run
    :param said: What RL Zoo says of it
    :return: Algorithm, environment and seed
    :raises UserError: One of them is said neither by the path nor by the files
    """
    arguments = said.texts
    named = [arguments.get("env", ""), *_monitored(run)]
    in_path = run.says.get("environment")
    fitting = [name for name in named if name and in_path in (None, *_in_paths(name))]
    seed = arguments.get("seed", "")
    names = {
        "algorithm": run.says.get("algorithm") or arguments.get("algo"),
        "environment": next(iter(fitting), in_path),
        "seed": seed if re.fullmatch(r"[0-9]{1,10}", seed) else run.says.get("seed"),
    }
    for part, name in names.items():
        if not name:
            raise UserError(f"its {part} is not known; say with --layout where {{{part}}} is")
        check_name(part, name)
    return str(names["algorithm"]), str(names["environment"]), int(str(names["seed"]))


def _in_paths(environment: str) -> tuple[str, str, str]:
    """Return an environment's name as it is, as in RL Zoo's paths, and as in this project's."""
    zoo = environment.rpartition(":")[2].replace("/", "-")
    return environment, zoo, re.sub("[/:]", "-", environment)


def _monitored(run: FoundRun) -> list[str]:
    """Return the name of the environment in the first line of a monitor's file."""
    for path in of_kind(run, MONITOR)[:1]:
        with suppress(OSError), path.open("rb") as file:
            line = file.readline(LONGEST_LINE).decode(errors="replace")
            name = header(line.removeprefix("#")).get("env_id")
            # "None" is SB3's word for an environment without a spec
            return [name] if isinstance(name, str) and name != "None" else []
    return []
