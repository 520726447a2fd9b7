from dataclasses import replace

import pytest
import torch as th
from torch.distributions import Categorical, kl_divergence

from sb3_course.lectures.kl_expansion import QUICK, conclude, measure, sampled_estimates


def test_both_sampled_estimates_are_unbiased():
    """200,000 draws: within 5 standard errors (1 in 1,000,000 by chance)."""
    th.manual_seed(0)
    old, new = Categorical(th.tensor([0.5, 0.3, 0.2])), Categorical(th.tensor([0.4, 0.3, 0.3]))
    actions = old.sample((200_000,))
    k1, k3 = sampled_estimates(old.log_prob(actions), new.log_prob(actions))
    true = kl_divergence(old, new).mean().item()
    assert k1 == pytest.approx(true, abs=5 * 0.24 / 200_000**0.5)
    assert k3 == pytest.approx(true, abs=5 * 0.04 / 200_000**0.5)


def test_the_claim_holds_for_one_policy():
    """
    The expansion is compared with exact KLs; k₁ is noisier than k₃ by an order of magnitude, which
    20 draws are enough to show.
    """
    config = replace(
        QUICK, n_seeds=1, environments=("CartPole-v1",), train_steps=2048, lengths=(0.2, 0.5, 1, 2)
    )
    assert conclude(measure(config)).holds
