from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sb3_course.lectures.estimator_variance import (
    EXACT,
    QUICK,
    TABULAR,
    conclude,
    exponents,
    measure,
    overall,
    relative,
    sampled_over_exact,
)
from sb3_course.lectures.gradients.sampled import KINDS, TO_GO, TOTAL, VALUE


def test_the_claim_holds_on_the_tabular_mdp():
    """Reward to go removes half of the variance and baselines nine tenths, far beyond chance."""
    config = replace(QUICK, environments=(), n_seeds=1, n_trajectories=(4, 16), tabular_pool=2048)
    table = measure(config)
    assert conclude(table).holds
    few = table[table["trajectories"] == 4].set_index(["stage", "seed", "source", "kind"])
    of_few = few["variance"].reindex(pd.MultiIndex.from_frame(table[few.index.names]))
    assert not conclude(table.assign(variance=of_few.to_numpy())).holds  # whatever K is
    assert set(table["kind"]) == set(KINDS)
    assert (table.loc[table["kind"] == VALUE, "variance"] > 0).all()


def made_up(variances, source="sampled", environment=TABULAR):
    """Return a table with one row per kind and seed."""
    rows = [
        (environment, "fresh", seed, source, kind, 8, value, 1.0)
        for kind, values in variances.items()
        for seed, value in enumerate(values)
    ]
    names = ["environment", "stage", "seed", "source", "kind", "trajectories", "variance", "snr"]
    return pd.DataFrame(rows, columns=names)


def test_ratios_of_variances_are_geometric_means_over_seeds_and_environments():
    one = made_up({TOTAL: [1.0, 4.0], TO_GO: [1.0, 1.0]})
    assert relative(one, 8)[TABULAR, "fresh", TO_GO] == pytest.approx(0.5)
    assert relative(one, 8)[TABULAR, "fresh", TOTAL] == 1
    other = made_up({TOTAL: [1.0, 1.0], TO_GO: [0.125, 0.125]}, environment="elsewhere")
    assert overall(pd.concat([one, other]), 8)[TO_GO] == pytest.approx(np.sqrt(0.5 * 0.125))


def test_the_exponent_of_a_power_law_is_found():
    tables = [
        made_up({TOTAL: [3 / k, 5 / k], TO_GO: [2 / k**1.5, 7 / k**1.5]}).assign(trajectories=k)
        for k in (4, 8, 16)
    ]
    found = exponents(pd.concat(tables))
    assert found[TOTAL] == pytest.approx(-1)
    assert found[TO_GO] == pytest.approx(-1.5)


def test_one_number_of_trajectories_says_nothing_of_their_number():
    with pytest.raises(ValueError, match="allowed: two or more"):
        measure(replace(QUICK, n_trajectories=(8,)))


@pytest.mark.parametrize("wrong", [{"n_trajectories": (3, 8)}, {"tabular_pool": 128}])
def test_a_variance_is_of_enough_batches_of_equal_size(wrong):
    with pytest.raises(ValueError, match="pool: given .*; allowed: a multiple of each of"):
        measure(replace(QUICK, **wrong))


def test_sampled_variances_are_compared_with_exact_ones_of_the_same_kind():
    sampled = made_up({TOTAL: [2.0], TO_GO: [3.0], VALUE: [4.0], "mean": [100.0]})
    exact = made_up({TOTAL: [1.0], TO_GO: [1.0], VALUE: [1.0], "mean": [1.0]}, source=EXACT)
    elsewhere = made_up({TOTAL: [50.0]}, environment="elsewhere")
    assert sampled_over_exact(pd.concat([sampled, exact, elsewhere])) == pytest.approx(3)
