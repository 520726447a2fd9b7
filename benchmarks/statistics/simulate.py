"""What the suite's intervals cover, and how often its tests are wrong and right, by simulation.

    python benchmarks/statistics/simulate.py                # all tables, in about ten minutes
    python benchmarks/statistics/simulate.py coverage power

Each table is written to ``results/statistics`` as csv. ``docs/design/statistics.md`` discusses
them, and the caveat that reports print beside few runs has its numbers from ``coverage.csv``.
"""

import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm, trim_mean

from sb3_course.benchmark.statistics import metrics
from sb3_course.benchmark.statistics.bootstrap import estimate
from sb3_course.benchmark.statistics.hypothesis_tests.permutation_test import (
    LEVEL,
    fewest_runs,
    holm,
    p_value,
)
from sb3_course.benchmark.statistics.hypothesis_tests.sequential_test import settled_at

FOLDER = Path(__file__).resolve().parents[2] / "results" / "statistics"
DRAWS = 1000
LAWS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "exponential": lambda generator, shape: generator.exponential(size=shape),
    "success or failure, 4 of 5": lambda generator, shape: 1.0 * (generator.random(shape) < 0.8),
}
"""Laws of a run's return."""


def coverage() -> pd.DataFrame:
    """Count how often 95% percentile bootstrap intervals of few runs contain the true value.

    The true mean and interquartile mean are those of a million runs. P(X > Y) is 1/2, since both
    have the same law.
    """
    rows = []
    for law, draw in LAWS.items():
        many = draw(np.random.default_rng(1), (1_000_000,))
        truths = {"mean": many.mean(), "IQM": trim_mean(many, 0.25), "P(X > Y)": 0.5}
        statistics = {"mean": metrics.mean, "IQM": metrics.iqm}
        for n in (3, 5, 10, 20, 30):
            inside = dict.fromkeys(truths, 0)
            generator = np.random.default_rng(n)
            for _ in range(DRAWS):
                x, y = draw(generator, (2, n, 1))
                found = {name: estimate(f, x, reps=1000) for name, f in statistics.items()}
                found["P(X > Y)"] = estimate(metrics.probability_of_improvement, x, y, reps=1000)
                for name, interval in found.items():
                    inside[name] += bool(interval.low <= truths[name] <= interval.high)
            rows += [(law, name, n, count / DRAWS) for name, count in inside.items()]
    return pd.DataFrame(rows, columns=["law", "statistic", "runs", "coverage"])


def false_alarms() -> pd.DataFrame:
    """Count tables of equal algorithms in which any pair is told apart, and grids that settle any.

    Of the table of pairs: 11 algorithms with 5 runs on each of 4 environments. Of
    ``--until-settled``: 5 seeds a round on 2 environments, up to 30, and 1 or 3 questions that
    share an algorithm, in four times as many draws.
    """
    rows = []
    for law in ("normal", "success or failure, 4 of 5"):
        generator, draw = np.random.default_rng(0), LAWS[law]
        any_pair = told_apart = 0
        for _ in range(DRAWS):
            runs = draw(generator, (11, 4, 5))
            p_values = [p_value(list(x), list(y)) for x, y in combinations(runs, 2)]
            any_pair += min(holm(p_values)) <= LEVEL
            told_apart += sum(p <= LEVEL for p in p_values)
        rows.append((law, "pairs, with Holm's correction: any of 55", any_pair / DRAWS))
        rows.append((law, "pairs, uncorrected: number of 55", told_apart / DRAWS))
        for n_questions in (1, 3):
            settled = sum(_settles(draw, generator, n_questions) for _ in range(4 * DRAWS))
            name = f"--until-settled, {n_questions} questions: any"
            rows.append((law, name.replace("1 questions", "1 question"), settled / DRAWS / 4))
    return pd.DataFrame(rows, columns=["law", "what", "frequency"])


def _settles(draw: Callable[..., np.ndarray], generator: np.random.Generator, n: int) -> bool:
    """Return whether any of n questions about equal algorithms is settled in six rounds."""
    base, *others = draw(generator, (n + 1, 6, 2, 5))
    return any(
        settled_at(list(map(list, base)), list(map(list, other)), looks=6, level=LEVEL / n)
        for other in others
    )


def power() -> pd.DataFrame:
    """Count how often the exact test tells normal laws with a given P(X > Y) apart."""
    rows = []
    for probability in (0.65, 0.75):
        shift = np.sqrt(2) * norm.ppf(probability)
        for environments in (1, 4):
            for n in (3, 5, 8, 10, 15, 20, 30, 40, 60, 80):
                generator = np.random.default_rng(n)
                shape = (DRAWS, environments, n)
                pairs = zip(
                    generator.normal(shift, 1, shape), generator.normal(0, 1, shape), strict=True
                )
                found = sum(p_value(list(x), list(y)) <= LEVEL for x, y in pairs) / DRAWS
                rows.append((probability, environments, n, found))
    return pd.DataFrame(rows, columns=["P(X > Y)", "environments", "runs", "power"])


def least() -> pd.DataFrame:
    """Compute the numbers of runs below which nothing can be told apart."""
    rows = [
        (n_algorithms, comparisons, environments, fewest_runs(comparisons, environments))
        for n_algorithms in (2, 3, 6, 11)
        for comparisons in [n_algorithms * (n_algorithms - 1) // 2]
        for environments in (1, 2, 4)
    ]
    return pd.DataFrame(rows, columns=["algorithms", "pairs", "environments", "fewest runs"])


TABLES = {"coverage": coverage, "false_alarms": false_alarms, "power": power, "least": least}


def main() -> None:
    """Simulate the tables that are named, or all."""
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or TABLES:
        table = TABLES[name]()
        table.to_csv(FOLDER / f"{name}.csv", index=False)
        print(table.to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
