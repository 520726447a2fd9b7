"""Make figures: numbers, drawing, sentence and page, one figure after the other."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import torch as th
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from sb3_course.benchmark.reporting import figures
from sb3_course.benchmark.storage import provenance
from sb3_course.common.files import write_whole
from sb3_course.lectures.page import publish, read
from sb3_course.lectures.toolkit import FONT_SCALE, Conclusion, Note, check_finite, silent

FLOAT_FORMAT = "%.8g"


def make_figures(names: Sequence[str], quick: bool, folder: Path, console: Console) -> list[str]:
    """Make figures; each is whole, and on the page, before the next begins.

    :param names: Names out of :data:`~sb3_course.lectures.FIGURES`
    :param quick: Whether to take each one's ``QUICK`` setting
    :param folder: Where to: ``NAME.csv``, ``.json``, ``.svg``, ``.pdf``, ``.png``; ``report.html``
        and ``manifest.json`` for all
    :param console: Where progress is shown
    :return: Names of the figures whose claim does not hold in their numbers
    """
    doubtful = []
    with one_thread(), _display(console, len(names)) as display:
        for name in names:
            started = time.perf_counter()
            conclusion = make_figure(name, quick, folder, display.begin(name))
            seconds = time.perf_counter() - started
            _write_manifest(folder, name, quick, seconds)
            publish(folder)
            display.done(name, conclusion, seconds)
            if not conclusion.holds:
                doubtful.append(name)
    return doubtful


def make_figure(name: str, quick: bool, folder: Path, note: Note = silent) -> Conclusion:
    """Make one figure.

    :param name: Out of :data:`~sb3_course.lectures.FIGURES`
    :param quick: Whether to take its ``QUICK`` setting
    :param folder: Where to
    :param note: Told of progress
    :return: What it shows
    :raises FloatingPointError: A number is not finite; says which, and nothing is written
    """
    module = import_module(f"sb3_course.lectures.{name}")
    config = module.QUICK if quick else module.Config()
    table = check_finite(module.measure(config, note), name)
    write_whole(folder / f"{name}.csv", table.to_csv(index=False, float_format=FLOAT_FORMAT))
    return write_up(name, quick, folder)


def write_up(name: str, quick: bool, folder: Path) -> Conclusion:
    """Draw a figure and write its sentence, from the numbers as the table's file holds them.

    :param name: Out of :data:`~sb3_course.lectures.FIGURES`
    :param quick: Whether they were measured in its ``QUICK`` setting
    :param folder: Where ``NAME.csv`` is
    :return: What it shows
    """
    module = import_module(f"sb3_course.lectures.{name}")
    table = read(folder / f"{name}.csv")
    conclusion: Conclusion = module.conclude(table)
    figures.save(module.draw(table), folder, name, FONT_SCALE)
    content = {
        "name": name,
        "title": module.TITLE,
        "claim": module.CLAIM,
        "equation": module.EQUATION,
        "caption": module.CAPTION,
        "sentence": conclusion.sentence,
        "holds": bool(conclusion.holds),
        "numbers": {k: float(FLOAT_FORMAT % v) for k, v in conclusion.numbers.items()},
        "quick": quick,
        "config": asdict(module.QUICK if quick else module.Config()),
    }
    write_whole(folder / f"{name}.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return conclusion


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, which is fastest for networks as small as these."""
    before = th.get_num_threads()
    th.set_num_threads(1)
    try:
        yield
    finally:
        th.set_num_threads(before)


def _write_manifest(folder: Path, name: str, quick: bool, seconds: float) -> None:
    """Note with what a figure was made, beside the others' notes."""
    path = folder / "manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    manifest[name] = {
        "quick": quick,
        "seconds": round(seconds, 1),
        "git_commit": provenance.git_commit(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
    }
    write_whole(path, json.dumps(dict(sorted(manifest.items())), indent=1) + "\n")


class _Display:
    """A bar for all figures and one for the current on a terminal, lines elsewhere."""

    def __init__(self, console: Console, progress: Progress | None, total: int) -> None:
        self._console, self._progress, self._total, self._n = console, progress, total, 0
        self._all = progress.add_task("all figures", total=total) if progress else None

    def begin(self, name: str) -> Note:
        """Begin a figure, and give what its measuring tells of."""
        progress = self._progress
        if progress is None:
            return silent
        self._bar = progress.add_task(name, total=None)

        def note(done: int, total: int, what: str) -> None:
            description = f"{name}: {what}" if what else name
            progress.update(self._bar, completed=done, total=total, description=description)

        return note

    def done(self, name: str, conclusion: Conclusion, seconds: float) -> None:
        """End a figure with a line that says what it shows."""
        self._n += 1
        verdict = "" if conclusion.holds else " THE CLAIM DOES NOT HOLD IN THESE NUMBERS."
        line = f"[{self._n}/{self._total}] {name} ({seconds:.0f} s): {conclusion.sentence}{verdict}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        if self._progress is not None and self._all is not None:
            self._progress.remove_task(self._bar)
            self._progress.advance(self._all)


@contextmanager
def _display(console: Console, total: int) -> Iterator[_Display]:
    if not console.is_terminal:
        yield _Display(console, None, total)
        return
    parts = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*parts, console=console) as progress:
        yield _Display(console, progress, total)
