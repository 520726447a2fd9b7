from itertools import product

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course import REINFORCE
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.reinforce import BASELINES
from tests.worlds import Scripted, z_scores

PAIRS = list(product((True, False), BASELINES))


def tabular(n_episodes=100, gamma=1.0, **kwargs) -> tuple[REINFORCE, TabularMDP]:
    """Make a tabular softmax policy, not uniform, that is never updated."""
    world = TabularMDP(num_envs=n_episodes)
    model = REINFORCE(
        "MlpPolicy",
        world,
        learning_rate=0.0,
        critic_learning_rate=0.02,
        n_episodes=n_episodes,
        gamma=gamma,
        policy_kwargs={"net_arch": []},
        device="cpu",
        seed=0,
        **kwargs,
    )
    with th.no_grad():
        generator = th.Generator().manual_seed(3)
        shape = model.policy.action_net.weight.shape
        model.policy.action_net.weight.copy_(th.randn(shape, generator=generator))
    return model, world


def estimates(model: REINFORCE, batches: int) -> np.ndarray:
    """Compute independent gradient estimates, one per batch, of shape (batches, P)."""
    _, callback = model._setup_learn(10**9)
    rows = []
    for _ in range(batches):
        model.collect_rollouts(model.env, callback)
        model.train()
        rows.append(th.cat([-p.grad.flatten() for p in model.actor_parameters]).numpy())
    return np.array(rows, dtype=np.float64)


@pytest.mark.parametrize(("reward_to_go", "baseline"), PAIRS)
def test_the_mean_of_the_estimates_is_the_exact_gradient(reward_to_go, baseline):
    """
    20,000 episodes against the gradient of J, differentiated through all 216 trajectories.

    Three of the parameters are independent (one per state), so at 3 standard errors one of the 8
    cases would fail for 1 in 16 seeds; the seed is fixed.
    """
    model, world = tabular(reward_to_go=reward_to_go, baseline=baseline)
    rows = estimates(model, batches=200)
    truth = world.gradient(model.policy, model.actor_parameters)
    assert np.abs(z_scores(rows, truth)).max() < 3
    assert np.abs(rows.std(0)).max() / 14 < 0.3 * np.abs(truth.numpy()).max()


def expected_estimate(world, model, weigh):
    """Compute E[Σ_t ∇log π(a_t|s_t) w_t] / H exactly, of weights that follow from the rewards."""
    log_pi = world.log_probs(model.policy)
    surrogate = th.zeros((), dtype=th.float64)
    for p, states, actions, rewards in world.trajectories():
        scores = log_pi[list(states), list(actions)]
        probability = p * scores.sum().exp().detach()
        surrogate = surrogate + probability * (scores * th.tensor(weigh(rewards))).sum()
    gradients = th.autograd.grad(surrogate / world.horizon, model.actor_parameters)
    return th.cat([g.flatten() for g in gradients]).double()


@pytest.mark.parametrize("reward_to_go", [True, False])
def test_returns_are_discounted_as_documented(reward_to_go):
    """The total return is γ-discounted from the start, the reward to go from its own step."""
    gamma = 0.5

    def weights(rewards):
        to_go = [sum(gamma**k * r for k, r in enumerate(rewards[t:])) for t in range(3)]
        return to_go if reward_to_go else [to_go[0]] * 3

    model, world = tabular(reward_to_go=reward_to_go, baseline="mean", gamma=gamma)
    truth = expected_estimate(world, model, weights)
    assert np.abs(z_scores(estimates(model, batches=200), truth)).max() < 3
    if not reward_to_go:
        of_objective = world.gradient(model.policy, model.actor_parameters, gamma)
        assert th.allclose(truth, of_objective)


def test_causality_and_the_optimal_baseline_reduce_the_variance():
    """
    The three variances differ by factors of 1.7 and more; a ratio of two variances from 200 batches
    has a relative standard error of about 0.14, so fewer than 1 in 10,000 seeds would fail.
    """
    kinds = [(False, None), (True, None), (True, "optimal")]
    variances = [
        estimates(tabular(reward_to_go=r, baseline=b)[0], batches=200).var(0).sum()
        for r, b in kinds
    ]
    assert variances[0] > 1.3 * variances[1] > 1.3**2 * variances[2]


def test_the_logged_variance_is_that_of_the_estimates():
    """Within 20 % of the variance over 200 batches of 100 episodes."""
    model, _ = tabular(baseline=None, log_grad_variance=True)
    logged = []
    record = model.train

    def train():
        record()
        logged.append(model.logger.name_to_value["train/grad_variance"])

    model.train = train
    rows = estimates(model, batches=200)
    assert np.mean(logged) == pytest.approx(rows.var(0).sum(), rel=0.2)


@pytest.mark.parametrize("baseline", [b for b in BASELINES if b != "value"])
def test_monte_carlo_returns_hold_no_bootstrapped_value(baseline, monkeypatch):
    env = DummyVecEnv([lambda: Scripted(end="truncated")])
    model = REINFORCE("MlpPolicy", env, n_episodes=2, baseline=baseline, gamma=0.5)

    def forbidden(obs):
        raise AssertionError("the critic was called")

    monkeypatch.setattr(model.policy, "predict_values", forbidden)
    model.learn(1)
    assert model.rollout.flat(model.rollout.rewards).tolist() == [1, 2, 4] * 2
    assert model.returns_to_go(model.rollout).ravel().tolist() == [3, 4, 4] * 2


@pytest.mark.parametrize(("end", "tail"), [("terminated", 0.0), ("truncated", 1.0)])
def test_the_value_baseline_bootstraps_only_after_a_time_limit(end, tail, monkeypatch):
    env = DummyVecEnv([lambda: Scripted(end=end)])
    model = REINFORCE("MlpPolicy", env, n_episodes=2, baseline="value", gamma=0.5)
    monkeypatch.setattr(model, "fit_critic", lambda obs, targets: None)
    monkeypatch.setattr(model, "predict_values", lambda obs: np.full(len(obs), 8.0))
    model.learn(1)
    expected = [3 + tail * 1, 4 + tail * 2, 4 + tail * 4]
    assert model.returns_to_go(model.rollout).ravel().tolist() == expected * 2


@pytest.mark.parametrize("reward_to_go", [True, False])
def test_the_explained_variance_is_that_of_the_critics_targets(reward_to_go):
    model, _ = tabular(reward_to_go=reward_to_go, baseline="value")
    estimates(model, batches=1)
    model.collect_rollouts(model.env, model._setup_learn(10**9)[1])
    values = model.predict_values(model.rollout.flat_obs)
    targets = model.rollout.flat(model.returns_to_go(model.rollout))
    model.train()
    logged = model.logger.name_to_value["train/explained_variance"]
    assert logged == pytest.approx(1 - np.var(targets - values) / np.var(targets))


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_update_is_the_mean_over_transitions(baseline):
    """By hand: the gradient is (1/M) Σ ∇log π (Q̂ - b) for every baseline b."""
    model, _ = tabular(n_episodes=8, baseline=baseline)
    _, callback = model._setup_learn(10**9)
    model.collect_rollouts(model.env, callback)
    rollout, rows = model.rollout, []
    q_hat = rollout.rewards[::-1].cumsum(0)[::-1]
    values = model.predict_values(rollout.flat_obs).reshape(q_hat.shape)
    model.train()
    got = th.cat([-p.grad.flatten() for p in model.actor_parameters])
    for n in range(8):
        obs, actions = th.tensor(rollout.obs[:, n]), th.tensor(rollout.actions[:, n])
        log_prob = model.policy.get_distribution(obs).log_prob(actions)
        rows.append([flat_gradient(lp, model.actor_parameters) for lp in log_prob])
    score = th.stack([th.stack(r) for r in rows])
    q = th.tensor(q_hat.T.copy())[..., None]
    if baseline is None:
        weighted = (score * q).sum(1)
    elif baseline == "mean":
        weighted = (score * (q - (q.sum(0) - q) / 7)).sum(1)
    elif baseline == "value":
        weighted = (score * (q - th.tensor(values.T.copy())[..., None])).sum(1)
    else:
        a, s = (score * q).sum(1), score.sum(1)
        b = ((a * s).sum(0) - a * s) / ((s * s).sum(0) - s * s)
        weighted = a - th.nan_to_num(b) * s
    assert th.allclose(got.double(), weighted.sum(0) / 24, atol=1e-6)


def flat_gradient(output, parameters):
    gradients = th.autograd.grad(output, parameters, retain_graph=True)
    return th.cat([g.flatten() for g in gradients]).double()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"baseline": "foo"},
            "baseline must be one of None, 'mean', 'optimal', 'value', got 'foo'",
        ),
        ({"n_episodes": 0}, "n_episodes must be a whole number of at least 1, got 0"),
        ({"n_episodes": 2.5}, "n_episodes must be a whole number of at least 1, got 2.5"),
        ({"n_steps": -1}, "n_steps must be a whole number of at least 1, got -1"),
        ({"n_steps": 5, "n_episodes": 5}, "n_steps or n_episodes, not both"),
        ({"n_episodes": 1, "baseline": "optimal"}, "n_episodes must be at least 2 with baseline="),
        ({"n_episodes": 1, "baseline": "mean"}, "n_episodes must be at least 2 with baseline="),
    ],
)
def test_a_bad_parameter_is_named_with_what_is_allowed(kwargs, message):
    with pytest.raises(ValueError, match=message):
        REINFORCE("MlpPolicy", "CartPole-v1", **kwargs)


def test_the_optimal_baseline_gets_two_trajectories_from_one_environment():
    model = REINFORCE("MlpPolicy", "CartPole-v1", n_steps=1, baseline="optimal", seed=0)
    model.learn(1)
    assert model.rollout.n_trajectories == 2


@pytest.mark.slow
def test_learns_cartpole():
    """With the defaults and 100,000 steps, at least 4 of 5 seeds reach 475 of 500."""
    env = make_vec_env("CartPole-v1", 10, seed=1)
    returns = []
    for seed in range(5):
        model = REINFORCE("MlpPolicy", "CartPole-v1", seed=seed, device="cpu").learn(100_000)
        returns.append(evaluate_policy(model, env, 20)[0])
    assert sum(r >= 475 for r in returns) >= 4, returns
