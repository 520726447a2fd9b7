from dataclasses import replace

import numpy as np
import pytest

from sb3_course import ISPG
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.estimators import natural_gradient
from sb3_course.lectures.on_policy import FRESH, QUICK, UNCORRECTED, apart, reuse, weights
from sb3_course.lectures.toolkit import make

SMALL = replace(QUICK, n_episodes=300, n_steps=25)


@pytest.mark.parametrize("kind", ["prefix", "step", FRESH])
def test_steps_without_weights_learn_less(kind):
    """
    Three batches of 300 episodes. Without weights the return increases by 0.3 (standard deviation
    over seeds 0.05), with weights by more than 1 on average (0.4): fails in less than 1 in 1,000.
    """
    without, corrected = (
        np.mean([reuse(SMALL, k, seed)[-1] for seed in range(3)]) for k in (UNCORRECTED, kind)
    )
    start = reuse(replace(SMALL, n_steps=1), UNCORRECTED, 0)[0]
    assert corrected - start > 1.5 * (without - start)


def test_the_first_step_is_the_same_with_and_without_weights():
    steps = [reuse(SMALL, kind, 0)[:2] for kind in (UNCORRECTED, "step", "per_decision")]
    assert steps[1] == pytest.approx(steps[0], abs=1e-5)
    assert steps[2] == pytest.approx(steps[0], abs=1e-5)


@pytest.mark.parametrize("kl", [0.01, 0.1])
def test_policies_have_the_given_kl(kl):
    world = TabularMDP(2, horizon=4, n_states=5, n_actions=3)
    model = make(ISPG, world, seed=0, n_episodes=2, baseline=None)
    before = world.probs(model.policy)
    theta = apart(world, model, kl, seed=0)
    assert np.array_equal(world.probs(model.policy), before)
    natural_gradient.assign(model.actor_parameters, theta)
    step_kl = (before * np.log(before / world.probs(model.policy))).sum(axis=1)
    assert float(world.visits(before).mean(axis=0) @ step_kl) == pytest.approx(kl, rel=1e-3)


def test_the_product_has_the_highest_variance_and_a_step_the_lowest():
    """
    Weights have mean 1. If steps with variance v were independent, the variance of the product over
    8 steps would be (1 + v)^8 - 1. 2,000 episodes are enough to distinguish 0.06, 0.3 and 0.6.
    """
    found = weights(8, 0.03, 2000, seed=0)
    spread = {kind: np.mean([w.var() for w in samples]) for kind, samples in found.items()}
    assert spread["step"] < 0.5 * spread["per_decision"] < spread["trajectory"]
    for samples in found.values():
        assert np.mean([w.mean() for w in samples]) == pytest.approx(1, abs=0.1)
    assert spread["trajectory"] == pytest.approx((1 + spread["step"]) ** 8 - 1, rel=0.4)
