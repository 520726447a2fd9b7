"""Make figures and the page that shows them: numbers, drawings, sentences and ``report.html``."""

import io
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import torch as th
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from sb3_course.benchmark.reporting.content import Table
from sb3_course.benchmark.reporting.drawing import files
from sb3_course.benchmark.reporting.page.templates import render
from sb3_course.benchmark.statistics.coverage import covered
from sb3_course.benchmark.storage import provenance
from sb3_course.benchmark.storage.run_files import locked
from sb3_course.common.errors import UserError
from sb3_course.common.files import check_can_write_into, read_kept, write_whole
from sb3_course.common.tracking import code
from sb3_course.lectures import FIGURES
from sb3_course.lectures.toolkit import FONT_SCALE, Conclusion, Note, check_finite, silent

FLOAT_FORMAT = "%.8g"
CONCLUSIONS = "conclusions.json"
"""File of the sentences and numbers of all figures."""


def make_figures(names: Sequence[str], quick: bool, folder: Path, console: Console) -> list[str]:
    """Make figures one after the other; each is complete, and on the page, before the next starts.

    :param names: Names from :data:`~sb3_course.lectures.FIGURES`
    :param quick: Whether to use each figure's ``QUICK`` setting
    :param folder: Folder of the results: ``NAME.csv``, ``.svg``, ``.pdf``, ``.png``, and for all
        figures ``conclusions.json``, ``manifest.json`` and ``report.html``
    :param console: Console that progress is shown on
    :return: Names of the figures whose claim does not hold in their numbers
    :raises UserError: As of :func:`make_figure`, before anything is measured
    """
    _check_kept(names, quick, folder)
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

    :param name: Name from :data:`~sb3_course.lectures.FIGURES`
    :param quick: Whether to use its ``QUICK`` setting
    :param folder: Folder of the results
    :param note: Function that is called with the progress
    :return: Conclusion of the figure
    :raises FloatingPointError: If a number is not finite; the message names it and nothing is
        written
    :raises UserError: If the folder has a full measurement that a quick one would replace, or a
        damaged file, or cannot be written
    """
    _check_kept([name], quick, folder)
    module = import_module(f"sb3_course.lectures.{name}")
    config = module.QUICK if quick else module.Config()
    table = check_finite(module.measure(config, note), name)
    write_whole(folder / f"{name}.csv", table.to_csv(index=False, float_format=FLOAT_FORMAT))
    return write_up(name, quick, folder)


def write_up(name: str, quick: bool, folder: Path) -> Conclusion:
    """Draw a figure and write its conclusion, using the numbers in the table's file.

    :param name: Name from :data:`~sb3_course.lectures.FIGURES`
    :param quick: Whether the numbers were measured in its ``QUICK`` setting
    :param folder: Folder that contains ``NAME.csv``
    :return: Conclusion of the figure
    """
    module = import_module(f"sb3_course.lectures.{name}")
    table = read(folder / f"{name}.csv")
    conclusion: Conclusion = module.conclude(table)
    config = module.QUICK if quick else module.Config()
    files.save(module.draw(table), folder, name, FONT_SCALE)
    content = {
        "name": name,
        "title": module.TITLE,
        "claim": module.CLAIM,
        "equation": module.EQUATION,
        "caption": caption(module.CAPTION, config),
        "sentence": conclusion.sentence,
        "holds": bool(conclusion.holds),
        "numbers": {k: float(FLOAT_FORMAT % v) for k, v in conclusion.numbers.items()},
        "quick": quick,
        "config": asdict(config),
    }
    _write_entry(folder / CONCLUSIONS, name, content)
    return conclusion


def caption(text: str, config: Any) -> str:
    """Return a figure's caption, with what intervals of as few seeds as it has are worth.

    :param text: The module's caption
    :param config: Settings
    :return: Caption
    """
    if "95%" not in text:
        return text
    if config.n_seeds == 1:
        return f"{text} A single seed has no interval."
    known = covered(config.n_seeds)
    return f"{text} {known} Those here are of {config.n_seeds} runs." if known else text


def read(path: Path) -> pd.DataFrame:
    """Read a figure's table, in which no text stands for a missing value.

    :param path: Path of ``NAME.csv``
    :return: Table
    """
    return pd.read_csv(path, keep_default_na=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run PyTorch on one thread, which is fastest for networks as small as these."""
    before = th.get_num_threads()
    th.set_num_threads(1)
    try:
        yield
    finally:
        th.set_num_threads(before)


def _write_manifest(folder: Path, name: str, quick: bool, seconds: float) -> None:
    """Record code, machine and versions of a figure, in the same file as those of the others."""
    entry = {
        "quick": quick,
        "seconds": round(seconds, 1),
        "git_commit": code.git_commit(),
        "machine": provenance.machine(),
        "versions": code.versions(),
    }
    _write_entry(folder / "manifest.json", name, entry)


def _check_kept(names: Sequence[str], quick: bool, folder: Path) -> None:
    """Check, before a measurement, that a folder takes figures and loses no longer measurement."""
    check_can_write_into("--out", folder)
    _entries(folder / "manifest.json")
    kept = _entries(folder / CONCLUSIONS)
    full = [name for name in names if quick and not kept.get(name, {"quick": True})["quick"]]
    if full:
        raise UserError(
            f"{folder} has full measurements of {', '.join(full)}, which quick ones would replace; "
            "choose another folder (--out DIR)"
        )


def _entries(path: Path) -> dict[str, Any]:
    return read_kept(path, _mapping, "measure its figures again") or {}


def _mapping(content: bytes) -> dict[str, Any]:
    entries = json.loads(content)
    if not isinstance(entries, dict):
        raise ValueError("no mapping")
    return entries


def _write_entry(path: Path, name: str, entry: dict[str, Any]) -> None:
    """Write what is known of a figure into a file that holds it for all of them."""
    with locked(path.with_name(".lock")):  # others may make other figures
        entries = dict(sorted((_entries(path) | {name: entry}).items()))
        write_whole(path, json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


def publish(folder: Path) -> Path:
    """Write ``report.html`` with all figures that a folder contains.

    :param folder: Folder of the figures, such as ``results/figures``
    :return: Path of the page
    """
    conclusions = _entries(folder / CONCLUSIONS)
    present = [name for name in FIGURES if name in conclusions]
    page = render(
        "report.html.j2",
        Path(__file__).parent,
        figures=[_content(folder, conclusions[name]) for name in present],
        missing=[name for name in FIGURES if name not in present],
        made=_made(_entries(folder / "manifest.json")),
    )
    path = folder / "report.html"
    write_whole(path, page)
    return path


def _made(manifest: dict[str, Any]) -> Table:
    rows = [
        [
            name,
            "quick" if made["quick"] else "full",
            f"{made['seconds']:,.0f}",
            (made["git_commit"] or "")[:10],
            f"{made['machine']['cpu']}, {made['machine']['cpu_count']} CPUs",
        ]
        for name, made in manifest.items()
    ]
    header = ["Figure", "Setting", "Seconds", "Commit", "Processor"]
    return Table("What each figure was made with", header, rows)


def _content(folder: Path, conclusion: dict[str, Any]) -> dict[str, Any]:
    drawing, equation = _drawing(folder, conclusion["name"]), formula(conclusion["equation"])
    return conclusion | {
        "drawing": files.data_uri(drawing),
        "formula": files.data_uri(files.two_schemes(equation)),
        "settings": json.dumps(conclusion["config"], indent=1, ensure_ascii=False),
    }


def _drawing(folder: Path, name: str) -> str:
    """Return a figure's SVG, drawn from its table where it is missing, as in a checkout."""
    path = folder / f"{name}.svg"
    if not path.exists():
        module = import_module(f"sb3_course.lectures.{name}")
        files.save(module.draw(read(folder / f"{name}.csv")), folder, name, FONT_SCALE)
    return path.read_text(encoding="utf-8")


def formula(tex: str) -> str:
    """Draw a formula without a TeX installation.

    :param tex: Formula in Matplotlib's subset of TeX
    :return: Text of an SVG file
    """
    buffer = io.StringIO()
    with files.style(FONT_SCALE):
        figure = Figure(figsize=(0.1, 0.1))
        figure.text(0, 0, tex, fontsize=12)
        figure.savefig(
            buffer,
            format="svg",
            bbox_inches="tight",
            pad_inches=0.03,
            transparent=True,
            metadata=files.FORMATS["svg"],
        )
    return buffer.getvalue()


class _Display:
    """Progress of the figures: two bars on a terminal, one line per figure elsewhere."""

    def __init__(self, console: Console, progress: Progress | None, total: int) -> None:
        self._console, self._progress, self._total, self._n = console, progress, total, 0
        self._all = progress.add_task("all figures", total=total) if progress else None

    def begin(self, name: str) -> Note:
        """Start a figure and return the callback for its progress."""
        progress = self._progress
        if progress is None:
            return silent
        self._bar = progress.add_task(name, total=None)

        def note(done: int, total: int, what: str) -> None:
            description = f"{name}: {what}" if what else name
            progress.update(self._bar, completed=done, total=total, description=description)

        return note

    def done(self, name: str, conclusion: Conclusion, seconds: float) -> None:
        """Finish a figure with a line that contains its conclusion."""
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
