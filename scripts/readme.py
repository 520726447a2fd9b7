"""Update the tables of README.md from the stored results.

    python scripts/readme.py           # change README.md
    python scripts/readme.py --check   # exit code 1 if README.md differs from the results

Each table is between two comments, ``<!-- results: NAME -->`` and ``<!-- end -->``.
"""

import argparse
import math
import re
import sys
from functools import cache
from itertools import dropwhile, takewhile
from pathlib import Path

import pandas as pd

from sb3_course.benchmark.definition.grid import Grid, load_grid
from sb3_course.benchmark.reporting.numbers import interval, p_value
from sb3_course.benchmark.statistics.analysis import complete_runs
from sb3_course.benchmark.statistics.answers import answers
from sb3_course.benchmark.statistics.curves import RUN, on_grid, split_complete
from sb3_course.benchmark.statistics.design import design_of, evaluation_steps
from sb3_course.benchmark.statistics.hypothesis_tests.power import MOST_RUNS
from sb3_course.benchmark.storage.returns_table import tidy
from sb3_course.benchmark.storage.rounds import read_rounds, with_rounds
from sb3_course.benchmark.storage.store import Store

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"(?<=<!-- results: )(\S+) -->(?:(?!<!-- results: ).)*?(?=<!-- end -->)", re.DOTALL
)
"""Block with its end comment. A block without one is left as it is, like the text after it."""


def updated(readme: str) -> str:
    """Fill in every block of a README.

    :param readme: Text of the file
    :return: Updated text
    """
    return BLOCK.sub(lambda found: f"{found[1]} -->\n\n{block(found[1])}\n\n", readme)


@cache
def block(name: str) -> str:
    """Make the table of a block.

    :param name: ``GRID`` for the returns of a grid, ``GRID/questions`` for the answers to its
        questions, or the name of a table in ``results/``
    :return: Table in Markdown
    """
    if (ROOT / "results" / f"{name}.md").exists():
        return first_table((ROOT / "results" / f"{name}.md").read_text())
    grid = load_grid(ROOT / "benchmarks" / f"{name.removesuffix('/questions')}.yaml")
    store = Store(ROOT / "results" / grid.name)
    grid = with_rounds(grid, read_rounds(store.folder))
    return (answers_table if name.endswith("/questions") else returns_table)(grid, store)


def first_table(text: str) -> str:
    """Find the first table of a Markdown file.

    :param text: Text of the file
    :return: Lines of the table
    """
    lines = dropwhile(lambda line: not line.startswith("|"), text.splitlines())
    return "\n".join(takewhile(lambda line: line.startswith("|"), lines))


def answers_table(grid: Grid, store: Store) -> str:
    """Make a table of the answers to a grid's questions.

    :param grid: Grid of the runs
    :param store: Stored results of the grid
    :return: Table in Markdown, with one row per question
    """
    runs = tidy([result for result in store.read(grid.runs()) if result.failure is None])
    design = design_of(grid, rounds=read_rounds(store.folder))
    in_rounds = design.rounds is not None  # the test of rounds decides, of which p takes no account
    header = [
        "Question",
        "X",
        "Y",
        "P(X > Y)",
        "p (Holm)",
        "Settled",
        "Power",
        "Seeds for 0.8",
        "Seeds",
    ]
    lines = [header, ["---"] * len(header)]
    for row in answers(design, *complete_runs(design, runs)).itertuples(index=False):
        settled = f"yes: {row.winner}" if row.settled else "no"
        lines.append(
            [
                *(row.question, row.x, row.y),
                interval(row.point, row.low, row.high),
                "—" if in_rounds else p_value(row.p_holm),
                settled,
                interval(row.power, row.power_low, row.power_high),
                f"{_seeds(row.seeds_needed)} [{_seeds(row.seeds_low)}, {_seeds(row.seeds_high)}]",
                f"{min(row.n_runs_x, row.n_runs_y)}",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _seeds(number: float) -> str:
    """Write a number of seeds, of which more than a thousand are not searched for."""
    if math.isnan(number):
        return "—"
    return f"{number:.0f}" if number <= MOST_RUNS else f">{MOST_RUNS:,}"


def returns_table(grid: Grid, store: Store) -> str:
    """Make a table of each algorithm's highest and final return, averaged over seeds.

    :param grid: Grid of the runs
    :param store: Stored results of the grid
    :return: Table in Markdown, with one row per algorithm and one column per environment
    """
    runs = tidy([result for result in store.read(grid.runs()) if result.failure is None])
    whole, _ = split_complete(on_grid(runs, evaluation_steps(grid)))
    by_run = whole.sort_values("step").groupby(RUN)["return_mean"]
    ends = pd.DataFrame({"best": by_run.max(), "final": by_run.last()}).reset_index()
    cells = {
        (name, environment): cell(rows, len(grid.algorithms[name].seeds or grid.seeds))
        for (name, environment), rows in ends.groupby(["algorithm", "environment"])
    }
    lines = [["", *grid.environments], ["---"] * (len(grid.environments) + 1)]
    lines += [
        [name, *(cells.get((name, environment), "—") for environment in grid.environments)]
        for name in grid.algorithms
        if any((name, environment) in cells for environment in grid.environments)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(runs: pd.DataFrame, n_seeds: int) -> str:
    """Format one cell: highest / final return, and the number of seeds if some are missing.

    :param runs: Table with one row per run and the columns ``best`` and ``final``
    :param n_seeds: Number of the algorithm's seeds in the grid
    :return: Text of the cell
    """
    missing = "" if len(runs) == n_seeds else f" ({len(runs)} of {n_seeds})"
    return f"{runs['best'].mean():,.0f} / {runs['final'].mean():,.0f}{missing}"


def main() -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only check whether it is up to date")
    path = ROOT / "README.md"
    text = path.read_text()
    new = updated(text)
    if parser.parse_args().check:
        print("README.md " + ("agrees with" if new == text else "differs from") + " the results")
        return int(new != text)
    path.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
