"""Stored results as Markdown: what the pages say of measurements is read here, never typed."""

import json
import re
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import readme
import typer.main
from formulas import typeset

from sb3_course.benchmark import load_results
from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.cli.app import app
from sb3_course.exercises.student_file import statements
from sb3_course.exercises.themes import EXERCISES
from sb3_course.homework.analysis import rows_of
from sb3_course.homework.expectations import TABLE
from sb3_course.homework.experiments import EXPERIMENTS
from sb3_course.homework.hw2 import outcomes_of

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "results" / "figures"
GRIDS = {
    "classic": "classic control",
    "mujoco": "the homework's tasks",
    "reuse": "classic control, with a quarter of the steps",
    "natural_gradient": "classic control, with as many seeds as it takes",
    "natural_gradient_ppo": "classic control, with thirty seeds",
}
DRAWING = re.compile(r'<figure id="(\w+)-figure".*?src="data:image/svg\+xml,([^"]*)"', re.S)


@cache
def conclusions() -> dict[str, Any]:
    """Return what is stored of the lecture figures, by name."""
    stored: dict[str, Any] = json.loads((FIGURES / "conclusions.json").read_text())
    return stored


@cache
def drawings() -> dict[str, str]:
    """Return the stored drawing of each lecture figure, as SVG."""
    page = (FIGURES / "report.html").read_text()
    return {name: unquote(data) for name, data in DRAWING.findall(page)}


def number(path: str) -> str:
    """Format a number of a lecture figure.

    :param path: ``FIGURE / KEY / FORMAT``, where the format is Python's, such as ``.0%``
    :return: Text
    :raises KeyError: There is no such figure or number; the message has all that there are
    """
    figure, key, how = re.split(r" / ", path)
    numbers = conclusions()[figure]["numbers"]
    if key not in numbers:
        raise KeyError(f"{figure} has no number {key!r}; it has {', '.join(numbers)}")
    return format(numbers[key], how)


def claim(name: str) -> str:
    """Write a lecture's claim, the slide's formula and the drawing.

    :param name: Name of the lecture figure
    :return: Markdown
    """
    stored = conclusions()[name]
    formulas = re.findall(r"\$(.+?)\$", stored["equation"])
    return "\n\n".join(
        [
            f"> {stored['claim']}",
            *(f"$$\n{formula}\n$$" for formula in formulas),
            f"```{{figure}} ../_generated/{name}.svg\n:alt: {alt(stored)}\n:class: drawing\n\n"
            f"{stored['caption'].replace('at the end of this page', 'below the numbers')}\n```",
        ]
    )


def numbers(name: str) -> str:
    """Write what was measured for a claim, and in which setting.

    :param name: Name of the lecture figure
    :return: Markdown
    """
    stored = conclusions()[name]
    verdict = "" if stored["holds"] else "**The claim does not hold in these numbers.** "
    return "\n\n".join(
        [
            verdict + stored["sentence"],
            table(["number", "value"], [[k, f"{v:.4g}"] for k, v in stored["numbers"].items()]),
            "The full setting, which made these numbers:",
            table(["setting", "value"], [[k, shown(v)] for k, v in stored["config"].items()]),
            made_on(name),
        ]
    )


def made_on(name: str) -> str:
    """Say where a lecture figure was measured, and how long that took."""
    made = json.loads((FIGURES / "manifest.json").read_text())[name]
    machine = f"{made['machine']['cpu_count']} cores ({made['machine']['cpu']})"
    return f"Measured in {made['seconds']:,.0f} s on {machine}."


def alt(stored: dict[str, Any]) -> str:
    """Describe a drawing in one line."""
    return f"{stored['title']}. {stored['sentence']}"


def shown(value: Any) -> str:
    """Write a setting as code."""
    return f"`{json.dumps(value)}`"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Write a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in r) + " |" for r in lines)


def slide(name: str) -> str:
    """Return the table that sets the lecture's equations beside our lines.

    :param name: Name of the class
    :return: Markdown table, from the design page on the slides
    :raises KeyError: The page has no part on the class
    """
    page = (ROOT / "docs" / "design" / "slides.md").read_text()
    for part in page.split("\n## ")[1:]:
        if part.partition(" ")[0] == name:
            return readme.first_table(part)
    raise KeyError(f"no slide of {name!r}")


def measured(name: str) -> str:
    """Return the sentence that a lecture figure's numbers allow.

    :param name: Name of the lecture figure
    :return: Markdown, with a link to the page of the claim
    """
    stored = conclusions()[name]
    return f"{stored['sentence']} ([{stored['title']}](/claims/{name}.md))"


def answer(question: str) -> str:
    """Return what each published grid answers to a question.

    :param question: Question of the grid files
    :return: Markdown list, one item per grid that asks it
    :raises KeyError: No grid asks it
    """
    items = [
        f"- On {where}: a run of {x} ends higher than one of {y} with probability {p} "
        f"({_p(value)}{seeds} seeds)."
        for grid, where in GRIDS.items()
        for asked, x, y, p, value, *_, seeds in answers(grid)
        if asked == question
    ]
    if not items:
        raise KeyError(f"no grid asks {question!r}")
    return "\n".join(items)


def _p(value: str) -> str:
    """Write a p-value of :func:`answers`, which has none where rounds of seeds decide."""
    if value == "—":
        return "after rounds of seeds: "
    return f"p {value if value.startswith('<') else f'= {value}'}, "


@cache
def answers(grid: str) -> list[list[str]]:
    """Return the rows of a grid's table of answers."""
    lines = readme.block(f"{grid}/questions").splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def rounds(part: str) -> str:
    """Return the mean return of each round of the imitation study, over seeds.

    :param part: Part of the study, as in ``results/imitation/returns.csv``
    :return: Markdown table
    :raises KeyError: There is no such part
    """
    stored = pd.read_csv(ROOT / "results" / "imitation" / "returns.csv")
    mine = stored[stored["part"] == part]
    if mine.empty:
        raise KeyError(f"no part {part!r} in {', '.join(stored['part'].unique())}")
    by = ["environment", "method"]
    means = mine.pivot_table("eval_mean_reward", by, "round", sort=False)
    experts, seeds = mine.groupby(by)["expert"].mean(), mine.groupby(by)["seed"].nunique()
    rows = [
        [
            *key,
            f"{seeds[key]}",
            f"{experts[key]:,.0f}",
            *("—" if pd.isna(v) else f"{v:,.0f}" for v in row),
        ]
        for key, row in zip(means.index, means.to_numpy(), strict=True)
    ]
    header = ["environment", "method", "seeds", "expert", *(f"round {n}" for n in means.columns)]
    return table(header, rows)


def expected(name: str) -> str:
    """Draw the stored runs of an experiment of the second homework, and what is expected of them.

    :param name: Name of the experiment
    :return: Markdown: figure and table, for a page in a folder of ``docs``
    :raises KeyError: There is no such experiment
    """
    experiment = EXPERIMENTS[name]
    grid = load_grid(experiment.path)
    folder = ROOT / "results" / grid.name
    if not folder.is_dir():
        return "**Not run here.**"
    stored = load_results(folder)
    rows = [list(found.row) for found in outcomes_of(experiment, grid, stored)]
    seeds = len(set(stored["seed"]))
    lines = f"mean over {seeds} seeds, shaded their range" if seeds > 1 else "a single seed"
    return (
        f"![{experiment.title}: return by environment steps, {lines}.]"
        f"(../../results/{grid.name}/figures/learning_curves.png)\n\n"
        f"Lines: {lines}.\n\n{table(list(TABLE), rows)}"
    )


def analysis(process: str) -> str:
    """Return exact and sampled moments of the one-parameter process.

    :param process: Name of the process, as in ``results/homework_analysis/analysis.csv``
    :return: Markdown table
    :raises KeyError: There is no such process
    """
    stored = pd.read_csv(ROOT / "results" / "homework_analysis" / "analysis.csv")
    mine = stored[stored["process"] == process]
    if mine.empty:
        raise KeyError(f"no process {process!r} in {', '.join(stored['process'].unique())}")
    rows = [list(row[1:]) for row in rows_of(mine)]
    return table(["estimator", "θ", "gradient", "sampled", "variance", "sampled"], rows)


def coverage(statistic: str) -> str:
    """Return how often 95% bootstrap intervals hold the truth, as it was simulated.

    :param statistic: ``mean``, ``IQM`` or ``P(X > Y)``
    :return: Markdown table, one row per number of runs and one column per law
    :raises KeyError: There is no such statistic
    """
    stored = pd.read_csv(ROOT / "results" / "statistics" / "coverage.csv")
    mine = stored[stored["statistic"] == statistic]
    if mine.empty:
        raise KeyError(f"no statistic {statistic!r} in {', '.join(stored['statistic'].unique())}")
    by_law = mine.pivot_table("coverage", "runs", "law", sort=False)
    rows = [[f"{n}", *(f"{v:.0%}" for v in row)] for n, row in by_law.iterrows()]
    return table(["runs", *by_law.columns], rows)


def command(name: str) -> str:
    """Describe a command of the command line, as its parser knows it.

    :param name: Name of the command, or of a group and a command in it
    :return: Markdown
    :raises KeyError: There is no such command
    """
    parsed: Any = typer.main.get_command(app)
    for word in name.split():
        parsed = parsed.commands[word]
    rows = [
        [
            ", ".join(f"`{o}`" for o in getattr(p, "opts", [p.name]) if o) or f"`{p.name}`",
            with_options(" ".join((p.help or "").split())),
        ]
        for p in parsed.params
        if p.name != "help"
    ]
    words, _, examples = cleandoc(parsed.help or "").partition("For example:")
    words = with_options(words)
    lines = "\n".join(line.strip() for line in examples.splitlines() if line.strip())
    return f"{words}\n\n```sh\n{lines}\n```\n\n{table(['argument', 'meaning'], rows)}"


def with_options(text: str) -> str:
    """Set the options in a help text as code, where they are not yet.

    :param text: Help of a command or an option
    :return: Markdown
    """
    parts = re.split(r"(`[^`]*`)", text)  # every second one is code already
    parts[::2] = [re.sub(r"(?<![\w-])--[a-z][a-z-]*", r"`\g<0>`", part) for part in parts[::2]]
    return "".join(parts)


def exercises(theme: str) -> str:
    """List the exercises of a theme: what each asks for, and how many mistakes it tells apart.

    :param theme: Theme, as the exercises name it
    :return: Markdown
    :raises KeyError: There is no such theme
    """
    chosen = [exercise for exercise in EXERCISES.values() if exercise.theme == theme]
    if not chosen:
        raise KeyError(f"no exercise is on {theme!r}")
    rows = [
        [
            f"`{e.name}`",
            e.title.removeprefix("A planted bug: "),
            asked(e.name),
            f"{len(e.mistakes)}",
        ]
        for e in chosen
    ]
    return table(["function", "exercise", "asks for", "mistakes told apart"], rows)


def asked(name: str) -> str:
    """Return the first sentence of what an exercise asks for, with its formulas in TeX."""
    return typeset(" ".join(statements()[name].split("\n\n")[0].split()))


def returns(name: str) -> str:
    """Return the table of a published grid, or another one that is stored.

    :param name: As in the blocks of README.md: ``classic``, ``classic/questions``, ``speed/ratios``
    :return: Markdown
    """
    return readme.block(name)
