from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sb3_course.benchmark.statistics import metrics
from sb3_course.benchmark.statistics.bootstrap import estimate
from sb3_course.benchmark.statistics.coverage import ENOUGH, MEAN, caveat

ROOT = Path(__file__).parents[3]


def test_the_frequencies_are_those_that_were_simulated():
    table = pd.read_csv(ROOT / "results" / "statistics" / "coverage.csv")
    means = table[table["statistic"] == "mean"].pivot(
        index="runs", columns="law", values="coverage"
    )
    order = ["normal", "exponential", "success or failure, 4 of 5"]
    for n_runs, frequencies in MEAN.items():
        assert frequencies == pytest.approx(means.loc[n_runs, order], abs=0.006)


def test_the_simulation_can_be_repeated():
    draws = np.random.default_rng(9).normal(size=(300, 5, 1))
    inside = [e.low <= 0 <= e.high for e in (estimate(metrics.mean, x, reps=500) for x in draws)]
    assert np.mean(inside) == pytest.approx(MEAN[5][0], abs=0.06)  # three standard errors


def test_few_runs_have_a_caveat_with_its_number():
    assert "of 5 runs holds" in caveat(5) and "85%" in caveat(5)
    assert "of 5 runs holds" in caveat(7) and "Those of 7 runs" in caveat(7)
    assert "of 3 runs holds" in caveat(2)
    assert caveat(1) == caveat(ENOUGH) == caveat(100) == ""
