from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sb3_course.figures.compounding_error import (
    QUICK,
    conclude,
    exponents,
    imitate,
    label,
    maximum_likelihood,
    measure,
    walk,
)
from sb3_course.figures.worlds import Tightrope


def test_maximum_likelihood_by_hand():
    counts = np.array([[3.0, 1.0], [0.0, 0.0]])
    assert maximum_likelihood(counts).tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_labels_err_as_often_as_they_should():
    """100,000 labels at 5%: within 5 standard errors (1 in 1,000,000 by chance)."""
    world, generator = Tightrope(1, 10), np.random.default_rng(0)
    states = generator.integers(0, 11, size=100_000)
    wrong = label(world, states, 0.05, generator) != world.expert[states]
    assert wrong.mean() == pytest.approx(0.05, abs=5 * 0.0007)


def test_the_expert_never_falls_and_demonstrations_never_show_the_net():
    world, generator = Tightrope(50, 12), np.random.default_rng(0)
    states = walk(world, np.eye(world.n_actions)[world.expert], generator)
    assert np.array_equal(states, np.tile(np.arange(12)[:, None], 50))
    cloned = imitate(world, 2, dagger=False, error=0.01, generator=generator)
    assert cloned[12] == pytest.approx(np.full(world.n_actions, 0.1))
    corrected = imitate(world, 4, dagger=True, error=0.05, generator=generator)
    assert corrected[12, world.expert[12]] > 0.8


def test_the_claim_holds():
    """
    A fitted exponent has a standard deviation of 0.05 or less, its mean over 4 seeds of 0.025; BC's
    is 1.91 in expectation and DAgger's 1.0: one seed in 10,000 or fewer would fail.
    """
    table = measure(replace(QUICK, n_seeds=4))
    assert conclude(table).holds
    fitted = exponents(table).groupby("method")["exponent"].mean()
    assert fitted["behaviour cloning"] - fitted["DAgger"] > 0.7


def test_without_asking_the_expert_dagger_would_not_be_better():
    """The exponent of BC with DAgger's name: the claim must fail."""
    table = measure(replace(QUICK, n_seeds=2, horizons=(10, 20, 40)))
    cloned = table[table["method"] == "behaviour cloning"]
    both = pd.concat([cloned, cloned.assign(method="DAgger")], ignore_index=True)
    assert not conclude(both).holds
