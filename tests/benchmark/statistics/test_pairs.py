from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from sb3_course.benchmark.statistics import bootstrap, metrics, pairs
from sb3_course.benchmark.statistics.design import Design
from sb3_course.benchmark.statistics.hypothesis_tests.permutation_test import holm, p_value
from sb3_course.benchmark.statistics.scores import Cubes


def design(*algorithms, environments=("Mine", "Yours")):
    return Design("made-up", algorithms, {name: [0, 10] for name in environments}, range(5))


def runs_of(**finals):
    """Make runs of two evaluations, of which the first is 0, by algorithm and environment."""
    return {
        algorithm: {
            name: np.stack([np.zeros(len(values)), values], axis=1)
            for name, values in by_environment.items()
        }
        for algorithm, by_environment in finals.items()
    }


def normal(seed, shift, n=5):
    return np.random.default_rng(seed).normal(shift, 1, n)


RUNS = runs_of(
    A={"Mine": normal(0, 2), "Yours": normal(1, 2)},
    B={"Mine": normal(2, 0), "Yours": normal(3, 0, n=3)},
    C={"Mine": normal(4, 0)},
)


def test_a_pair_is_compared_where_both_have_runs_however_many():
    table = pairs.probability_of_improvement(RUNS, design("A", "B", "C")).set_index(["x", "y"])
    both = table.loc[("A", "B")]
    wins = [
        mannwhitneyu(RUNS["A"][name][:, 1], RUNS["B"][name][:, 1]).statistic / (5 * n)
        for name, n in (("Mine", 5), ("Yours", 3))
    ]
    assert both["point"] == pytest.approx(np.mean(wins))
    assert both["environments"] == ["Mine", "Yours"]
    assert (both["n_runs_x"], both["n_runs_y"]) == (5, 3)
    assert table.loc[("A", "C"), "environments"] == ["Mine"]


def test_the_interval_of_equal_numbers_of_runs_is_the_stratified_bootstraps():
    x, y = np.random.default_rng(0).normal(size=(2, 5, 4))
    (ours,) = bootstrap.improvements([(list(x.T), list(y.T))])
    cubes = bootstrap.estimate(metrics.probability_of_improvement, x, y)
    assert ours.point == pytest.approx(cubes.point)
    bounds = [float(cubes.low), float(cubes.high)]
    assert [float(ours.low), float(ours.high)] == pytest.approx(bounds, abs=0.015)


def test_an_environment_may_be_called_all():
    """As any other one, beside what covers all of them."""
    of = design("A", "B", environments=("all", "Yours"))
    of = replace(of, questions={"Is A better?": ("A", "B")})
    runs = runs_of(
        A={"all": normal(0, 9), "Yours": normal(1, 0)},
        B={"all": normal(2, 0), "Yours": normal(3, 9)},
    )
    rows = pairs.comparisons(of, runs, Cubes({}, [], np.zeros(0), pd.DataFrame()))
    points = rows[rows["measure"] == "P(X > Y)"].set_index("environment")["point"]
    assert points.to_dict() == {pairs.ALL: 0.5, "all": 1.0, "Yours": 0.0}


def test_pairs_are_told_apart_by_the_corrected_test():
    table = pairs.probability_of_improvement(RUNS, design("A", "B", "C"))
    expected = [
        p_value(
            [RUNS["A"][e][:, 1] for e in ("Mine", "Yours")],
            [RUNS["B"][e][:, 1] for e in ("Mine", "Yours")],
        ),
        p_value([RUNS["A"]["Mine"][:, 1]], [RUNS["C"]["Mine"][:, 1]]),
        p_value([RUNS["B"]["Mine"][:, 1]], [RUNS["C"]["Mine"][:, 1]]),
    ]
    assert table["p"].tolist() == pytest.approx(expected)
    assert table["p_holm"].tolist() == pytest.approx(holm(expected))
    assert table["apart"].tolist() == [p <= 0.05 for p in holm(expected)]
    assert 0 < table["apart"].sum() < 3


def test_algorithms_without_a_common_environment_are_no_pair():
    runs = runs_of(A={"Mine": normal(0, 0)}, B={"Yours": normal(1, 0)})
    table = pairs.probability_of_improvement(runs, design("A", "B"))
    assert table.empty and "apart" in table


def test_ranks_are_those_of_mean_returns_and_ties_share_them():
    runs = runs_of(
        A={"Mine": [9, 9], "Yours": [1, 1]},
        B={"Mine": [5, 5], "Yours": [1, 1]},
        C={"Mine": [1, 1], "Yours": [8, 8]},
    )
    table = pairs.ranks(runs, design("A", "B", "C")).set_index("algorithm")
    assert table["point"].to_dict() == {"A": 1.75, "B": 2.25, "C": 2.0}
    assert (table["low"] == table["point"]).all()  # no run differs from another


def test_ranks_are_of_the_environments_that_all_have():
    """An algorithm that is alone on an environment is no better for it."""
    table = pairs.ranks(RUNS, design("A", "B", "C")).set_index("algorithm")
    common = {name: {"Mine": RUNS[name]["Mine"]} for name in RUNS}
    alone = pairs.ranks(common, design("A", "B", "C")).set_index("algorithm")
    assert table.equals(alone)
    assert table.loc["A", "point"] == 1 and table.loc["A", "low"] == 1
    assert table.loc["C", "low"] < table.loc["C", "high"]
    apart = runs_of(A={"Mine": [1, 2]}, B={"Yours": [1, 2]})
    assert pairs.ranks(apart, design("A", "B")).empty


def test_equal_runs_share_a_rank_however_they_are_added():
    """0.7 + 0.8 + 0.9 is not 0.9 + 0.8 + 0.7."""
    ups, downs = [0.7, 0.8, 0.9], [0.9, 0.8, 0.7]
    runs = runs_of(A={"Mine": ups}, B={"Mine": downs}, C={"Mine": [0.8, 0.9, 0.7]})
    assert np.mean(ups) != np.mean(downs)
    assert set(pairs.ranks(runs, design("A", "B", "C"))["point"]) == {2.0}


def test_one_run_has_no_interval():
    single = runs_of(A={"Mine": [1.0]}, B={"Mine": [2.0, 3.0]})
    alone = pairs.ranks(single, design("A", "B")).set_index("algorithm")
    assert np.isnan(alone.loc["A", "low"]) and alone.loc["A", "point"] == 2
    assert np.isnan(alone.loc["B", "low"])  # whose rank depends on that one run as well
