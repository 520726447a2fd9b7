"""The handout's formulas, written as loops over one episode at a time, beside our classes."""

import numpy as np
import pytest

from sb3_course import REINFORCE, BatchActorCritic
from sb3_course.lectures.toolkit import collect, make

GAMMA = 0.9


class Stopped(Exception):
    pass


def advantages_of(kind, monkeypatch, **arguments):
    """Collect whole episodes of CartPole; return the batch, V, and what multiplies ∇log π."""
    model = make(kind, "CartPole-v1", 0, policy_kwargs={}, gamma=GAMMA, **arguments)
    rollout = collect(model)
    values = model.predict_values(rollout.flat_obs)
    found = []

    def stop(obs, actions, advantages, **_):
        found.append(advantages.numpy())
        raise Stopped

    monkeypatch.setattr(model, "policy_gradient", stop)
    with pytest.raises(Stopped):
        model.train()
    return rollout, values, found[0]


def episodes(rollout):
    """The steps of each episode, as slices of the batch of one environment."""
    ends = np.flatnonzero(rollout.ends[:, 0]) + 1
    return [slice(start, end) for start, end in zip([0, *ends], ends)]


def total(rewards):
    return [sum(GAMMA**i * r for i, r in enumerate(rewards))] * len(rewards)


def to_go(rewards):
    n = len(rewards)
    return [sum(GAMMA ** (i - t) * rewards[i] for i in range(t, n)) for t in range(n)]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("baseline", [None, "value"])
@pytest.mark.parametrize(("rtg", "q"), [(False, total), (True, to_go)])
def test_reinforce_is_the_handouts_update(monkeypatch, rtg, q, baseline, normalize):
    rollout, values, found = advantages_of(
        REINFORCE,
        monkeypatch,
        n_episodes=4,
        reward_to_go=rtg,
        baseline=baseline,
        normalize_advantage=normalize,
    )
    rewards = rollout.rewards[:, 0]
    expected = np.concatenate([q(rewards[part]) for part in episodes(rollout)])
    if baseline:
        expected -= values
    if normalize:
        expected = (expected - expected.mean()) / (expected.std() + 1e-8)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_batch_actor_critic_is_the_handouts_gae_with_the_critic_that_it_has(monkeypatch, lam):
    """The critic takes no step here, so that old and new V are the same."""
    monkeypatch.setattr(BatchActorCritic, "fit_critic", lambda *_: None)
    arguments = {"n_steps": 200, "critic_target": "mc", "gae_lambda": lam}
    rollout, values, found = advantages_of(BatchActorCritic, monkeypatch, **arguments)
    rewards, parts = rollout.rewards[:, 0], episodes(rollout)
    assert len(parts) > 1
    expected = np.zeros(len(rewards))
    for part in parts:  # the handout's loop, from the last step of an episode to the first
        for t in reversed(range(part.start, part.stop)):
            last = t == part.stop - 1
            delta = rewards[t] + (0 if last else GAMMA * values[t + 1]) - values[t]
            expected[t] = delta + (0 if last else GAMMA * lam * expected[t + 1])
    whole = slice(0, parts[-1].stop)  # the episode at the batch's edge is cut
    np.testing.assert_allclose(found[whole], expected[whole], rtol=1e-4, atol=1e-4)
    if lam == 1:
        q = np.concatenate([to_go(rewards[part]) for part in parts])
        np.testing.assert_allclose(found[whole], q - values[whole], rtol=1e-4, atol=1e-4)
