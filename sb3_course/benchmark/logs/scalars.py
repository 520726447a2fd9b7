"""Scalars of SB3's logger: ``progress.csv``, and TensorBoard's event files.

Both hold the same values under the same names. TensorBoard's files are read with ``tensorboard``
itself, of the extra ``tensorboard``.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd

from sb3_course.benchmark.logs.csv_text import read_csv
from sb3_course.benchmark.logs.points import LARGEST_LOG, going_on, points
from sb3_course.common.errors import UserError

EVALUATED = ("eval/mean_reward", "eval/mean_ep_length")
"""Names of an evaluation's return and length."""
TRAINED = ("rollout/ep_rew_mean", "rollout/ep_len_mean")
"""Names of the mean return and length of the last training episodes."""
STEPS, SECONDS = "time/total_timesteps", "time/time_elapsed"


@dataclass(frozen=True)
class Scalar:
    """Values that were logged under one name.

    :param steps: Environment steps at each value
    :param values: Values
    :param seconds: Seconds of the run at each value; NaN where they are unknown
    """

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


Scalars = dict[str, Scalar]


def returns_in(scalars: Scalars, names: tuple[str, str]) -> pd.DataFrame | None:
    """Return the returns that were logged under a name.

    :param scalars: Scalars of a run
    :param names: :data:`EVALUATED` or :data:`TRAINED`
    :return: Points of the run, see :func:`.points`; None if there are none. Times of a run that was
        evaluated are unknown, as they hold what evaluations took
    :raises UserError: They are no returns of one run; gives the reason alone
    """
    found, lengths = scalars.get(names[0]), scalars.get(names[1], Scalar())
    if found is None:
        return None
    length_at = dict(zip(lengths.steps, lengths.values, strict=True))
    return points(
        found.steps,
        found.values,
        lengths=[length_at.get(step, math.nan) for step in found.steps],
        seconds=None if EVALUATED[0] in scalars else found.seconds,
    )


def read_progress(path: Path) -> Scalars:
    """Read ``progress.csv``.

    :param path: The file
    :return: Its returns and lengths, by name; empty cells are no values, and a file without a byte,
        that of a run that has not logged yet, has none
    :raises UserError: It is not such a file; gives the reason alone
    """
    if path.is_file() and not path.stat().st_size:
        return {}
    table = read_csv(path, still_written=True)
    steps = table.text(STEPS)
    times = table.text(SECONDS) if SECONDS in table.header else [""] * len(steps)
    known = [k for k, cell in enumerate(times) if cell]
    clock = going_on(table.numbers(SECONDS, known) if known else [])
    seconds = dict(zip(known, clock.tolist(), strict=True))
    scalars = {}
    for name in (*EVALUATED, *TRAINED):
        cells = table.text(name) if name in table.header else []
        rows = [k for k, cell in enumerate(cells) if cell and steps[k]]
        if rows:
            scalars[name] = Scalar(
                table.numbers(STEPS, rows),
                table.numbers(name, rows),
                [seconds.get(k, math.nan) for k in rows],
            )
    return scalars


def read_events(paths: Sequence[Path], names: Collection[str] = (*EVALUATED, *TRAINED)) -> Scalars:
    """Read TensorBoard's event files of a run, as far as they are whole.

    :param paths: Its files; one that goes on with another has a later time in its name, and counts
        from its first step on
    :param names: Names of the scalars; by default those of returns and lengths
    :return: Their scalars of these names
    :raises ModuleNotFoundError: TensorBoard is not installed
    :raises UserError: A file is larger than what is read, or no event file; gives the reason, after
        the file's name
    """
    scalars: Scalars = defaultdict(Scalar)
    for path in sorted(paths):
        events = _events(path, names)
        _go_back(scalars, min((step for _, step, _, _ in events), default=math.inf))
        before = max((second for s in scalars.values() for second in s.seconds), default=0.0)
        for name, step, value, seconds in events:
            scalars[name].steps.append(step)
            scalars[name].values.append(value)
            scalars[name].seconds.append(before + seconds)
    return dict(scalars)


def _go_back(scalars: Scalars, step: float) -> None:
    """Drop what a killed training had logged after the point from which the next one goes on.

    One that begins no later than all that there is goes on with nothing: the steps stay, and are
    refused as those of two runs.
    """
    if any(scalar.steps and scalar.steps[0] < step for scalar in scalars.values()):
        for scalar in scalars.values():
            kept = sum(before < step for before in scalar.steps)
            for column in (scalar.steps, scalar.values, scalar.seconds):
                del column[kept:]


def _events(path: Path, names: Collection[str]) -> list[tuple[str, float, float, float]]:
    """Return name, step, value and seconds since the file was opened of scalars of these names."""
    import_module("tensorboard")  # before what comes with it, so that its name is the one told
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    found = []
    try:
        size = path.stat().st_size
        if size > LARGEST_LOG:
            raise UserError(f"{path.name}: {size:,} bytes; allowed: {LARGEST_LOG:,}")
        n_events, opened = 0, math.inf
        for event in LegacyEventFileLoader(str(path)).Load():
            n_events += 1
            opened = min(opened, event.wall_time)  # of the first event, the format's version
            for value in event.summary.value:
                if value.tag not in names:
                    continue
                if value.HasField("simple_value"):
                    number = value.simple_value
                elif value.HasField("tensor"):
                    number = float(np.asarray(make_ndarray(value.tensor)).reshape(-1)[0])
                else:
                    continue
                seconds = event.wall_time - opened
                found.append((value.tag, float(event.step), number, seconds))
    except UserError:
        raise
    except Exception as e:  # TensorBoard lets through whatever wrong bytes lead to
        raise UserError(f"{path.name}: damaged ({type(e).__name__})") from e
    if size and not n_events:
        raise UserError(f"{path.name}: no event file of TensorBoard, or damaged from its start on")
    return found
