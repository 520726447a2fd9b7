"""Panels of the page: the history of a search, slices through it, and sensitivity."""

from collections.abc import Mapping, Sequence
from math import isfinite
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator
from optuna.trial import FrozenTrial

from sb3_course.benchmark.definition.search import Searched
from sb3_course.benchmark.reporting.drawing.figures import HEIGHT, Panel
from sb3_course.benchmark.reporting.drawing.files import INK
from sb3_course.benchmark.reporting.drawing.styles import BLUE, COLORS, GRAY, RED, Style, Styles
from sb3_course.benchmark.tuning.sensitivity import Point
from sb3_course.benchmark.tuning.space import values_along
from sb3_course.benchmark.tuning.subject import Subject
from sb3_course.benchmark.tuning.trials import last_value, values_of

NARROW = 12
"""Number of letters of all choices together that fit beside each other under a panel."""
LINE = 18
"""Number of letters after which a choice that is written upwards goes on in another line."""
LETTER = 0.065
"""Inches of a letter there."""


def rung_styles(subject: Subject) -> Styles:
    """Return a style for each rung, by its name; the last one is the most conspicuous.

    :param subject: What is tuned
    :return: Styles in the order of the rungs
    """
    names = subject.rung_names
    others = [i for i in range(len(COLORS)) if i not in (GRAY, RED)]
    colors = [*[GRAY, *others][: len(names) - 1], RED]
    return {name: Style(COLORS[c], ()) for name, c in zip(names, colors, strict=False)}


def history(subject: Subject, trials: Sequence[FrozenTrial], y: str) -> Panel:
    """Return a panel of each trial's value on the last rung that it reached.

    :param subject: What is tuned
    :param trials: Trials with a value
    :param y: What values are
    :return: Panel
    """

    def draw(axes: Axes) -> None:
        _scatter(axes, subject, trials, [trial.number for trial in trials], last_value)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))

    return Panel("History", draw, "Trial", y, 2.2)


def slices(subject: Subject, trials: Sequence[FrozenTrial], y: str) -> list[Panel]:
    """Return panels of the value on the first rung against each hyper-parameter.

    :param subject: What is tuned
    :param trials: Trials with a value
    :param y: What values are
    :return: Panels, one per hyper-parameter that was tried
    """

    def panel(name: str, searched: Searched) -> Panel:
        having = [trial for trial in trials if name in trial.params]

        def draw(axes: Axes) -> None:
            _scatter(
                axes,
                subject,
                having,
                [t.params[name] for t in having],
                lambda trial: values_of(trial)[0],
            )
            _set_values(axes, searched)

        return Panel(name, draw, "", y, _height(searched))

    return [
        panel(name, searched)
        for name, searched in subject.ranges.items()
        if any(name in trial.params for trial in trials)
    ]


def sensitivity(
    subject: Subject, curves: Mapping[str, Sequence[Point]], chosen: Mapping[str, Any], y: str
) -> list[Panel]:
    """Return panels of the return along the values of each hyper-parameter.

    :param subject: What is tuned
    :param curves: Points along the values, by name
    :param chosen: Positions of the chosen values, marked by a line
    :param y: What values are
    :return: Panels
    """
    every = [point for points in curves.values() for point in points]
    bounds = [value for p in every for value in (p.value, p.low, p.high) if isfinite(value)]
    margin = 0.05 * (max(bounds, default=0.0) - min(bounds, default=0.0)) or 1.0

    def panel(name: str, points: Sequence[Point]) -> Panel:
        def draw(axes: Axes) -> None:
            _curve(axes, points, subject.ranges[name], chosen.get(name))
            axes.set_ylim(min(bounds) - margin, max(bounds) + margin)

        return Panel(name, draw, "", y, _height(subject.ranges[name]))

    return [panel(name, points) for name, points in curves.items() if points]


def _curve(axes: Axes, points: Sequence[Point], searched: Searched, chosen: Any) -> None:
    at = [point.position for point in points]
    color = COLORS[BLUE]
    values = [point.value for point in points]
    lengths = [
        [max(p.value - p.low, 0.0) for p in points],
        [max(p.high - p.value, 0.0) for p in points],
    ]
    line = "none" if searched.values is not None else "-"
    axes.errorbar(
        at, values, lengths, color=color, linestyle=line, linewidth=1.2, marker="o", markersize=3
    )
    if chosen is not None:
        axes.axvline(chosen, color=INK, linewidth=1.0, alpha=0.8, zorder=1.5)  # above the grid
    _set_values(axes, searched, at)


def _scatter(
    axes: Axes,
    subject: Subject,
    trials: Sequence[FrozenTrial],
    positions: Sequence[float],
    value: Any,
) -> None:
    """Draw one point per trial, in the color of the last rung that it reached."""
    for rung, style in enumerate(rung_styles(subject).values()):
        chosen = [i for i, t in enumerate(trials) if len(t.intermediate_values) == rung + 1]
        x, y = [positions[i] for i in chosen], [value(trials[i]) for i in chosen]
        axes.scatter(x, y, s=12, color=style.color, alpha=0.8, linewidths=0, zorder=2 + rung)


def written(ticks: Sequence[float], searched: Searched) -> list[str]:
    """Write values of a range so that its bounds are exact, and what is between within 1%.

    :param ticks: Bounds, and values between them
    :param searched: Range
    :return: Texts, with as few digits as that takes
    """
    if searched.whole:
        return [f"{tick:,.0f}" for tick in ticks]
    low, *_, high = ticks
    for digits in range(2, 8):
        found = [f"{tick:.{digits}g}" for tick in ticks]
        off = [abs(float(text) - tick) for text, tick in zip(found, ticks, strict=True)]
        allowed = [0.01 * (tick if searched.log else high - low) for tick in ticks]
        if not off[0] and not off[-1] and all(o <= a for o, a in zip(off, allowed, strict=True)):
            break
    return found


def _set_values(axes: Axes, searched: Searched, others: Sequence[float] = ()) -> None:
    """Set the horizontal axis to the values of a range and some others, or to choices."""
    if searched.values is None:
        low, *between, high = values_along(searched, 3)
        if searched.log:
            axes.set_xscale("log")
        ticks = [low, *between, high]
        axes.set_xticks(ticks, written(ticks, searched))
        axes.xaxis.set_minor_locator(NullLocator())
        low, high = min((low, *others)), max((high, *others))
        margin = 1.06 if searched.log else 0.03 * (high - low)
        axes.set_xlim(
            *((low / margin, high * margin) if searched.log else (low - margin, high + margin))
        )
        return
    names, upwards = _choices(searched.values)
    axes.set_xticks(range(len(names)), names, rotation=90 if upwards else 0)
    if upwards:
        axes.set_xlabel(" ")  # letters may take a little more room than their layout has
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(-0.5, len(names) - 0.5)


def _choices(values: Sequence[Any]) -> tuple[list[str], bool]:
    """Return choices as text, and whether they are too long to be written beside each other."""
    names = [str(value) for value in values]
    if sum(map(len, names)) <= NARROW + 4 * len(names):
        return names, False
    return [fill(name, LINE, break_long_words=False) for name in names], True


def _height(searched: Searched) -> float:
    """Return the height of a panel in inches, with room for choices that are written upwards."""
    names, upwards = _choices(searched.values or ())
    longest = max((len(line) for name in names for line in name.splitlines()), default=0)
    return HEIGHT + LETTER * max(0, longest - NARROW) if upwards else HEIGHT
