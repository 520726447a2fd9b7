import numpy as np
import pytest
import torch as th
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course import BatchActorCritic
from tests.worlds import Scripted

# Rewards 1, 2, 4 at observations 0, 1, 2; V(s) = 10 s, γ = ½.


def chain(end, n_steps=3, **kwargs):
    """Make a model whose critic is V(s) = 10 s and stays so, with one batch of experience."""
    env = DummyVecEnv([lambda: Scripted(end=end)])
    model = BatchActorCritic(
        "MlpPolicy",
        env,
        n_steps=n_steps,
        gamma=0.5,
        learning_rate=1.0,
        critic_learning_rate=0.0,
        policy_kwargs={"net_arch": [], "optimizer_class": th.optim.SGD},
        seed=0,
        device="cpu",
        **kwargs,
    )
    with th.no_grad():
        model.policy.value_net.weight.fill_(10.0)
        model.policy.value_net.bias.fill_(0.0)
    _, callback = model._setup_learn(10**6)
    model.collect_rollouts(model.env, callback)
    return model


@pytest.mark.parametrize(
    ("end", "target", "expected"),
    [
        ("terminated", "mc", [1 + 1 + 1, 2 + 2, 4]),
        ("truncated", "mc", [3 + 30 / 8, 4 + 30 / 4, 4 + 30 / 2]),
        ("terminated", "td", [1 + 10 / 2, 2 + 20 / 2, 4]),
        ("truncated", "td", [1 + 10 / 2, 2 + 20 / 2, 4 + 30 / 2]),
        # δ = 6, 2, -16 (or -1): λ-returns with λ = ½, so that γλ = ¼
        ("terminated", "gae", [6 + 2 / 4 - 16 / 16, 10 + 2 - 16 / 4, 20 - 16]),
        ("truncated", "gae", [6 + 2 / 4 - 1 / 16, 10 + 2 - 1 / 4, 20 - 1]),
    ],
)
def test_critic_targets_by_hand(end, target, expected):
    model = chain(end, critic_target=target, gae_lambda=0.5)
    assert model.critic_targets(model.rollout).ravel().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("end", "gae_lambda", "expected"),
    [
        ("terminated", 0.0, [6, 2, -16]),
        ("truncated", 0.0, [6, 2, -1]),
        ("terminated", 0.5, [6 + 2 / 4 - 16 / 16, 2 - 16 / 4, -16]),
        ("truncated", 1.0, [6 + 2 / 2 - 1 / 4, 2 - 1 / 2, -1]),
    ],
)
def test_the_policy_step_by_hand(end, gae_lambda, expected):
    """SGD with rate 1 on a linear softmax: ΔW = mean over steps of (onehot - π) Â s."""
    model = chain(end, gae_lambda=gae_lambda)
    weight, bias = (p.detach().clone() for p in model.policy.action_net.parameters())
    obs, actions = model.rollout.flat_obs, model.rollout.flat(model.rollout.actions)
    step = np.zeros(2)
    for s, a, advantage in zip(obs[:, 0], actions, expected):
        logits = weight[:, 0].numpy() * s + bias.numpy()
        probabilities = np.exp(logits) / np.exp(logits).sum()
        step += (np.eye(2)[a] - probabilities) * advantage * s / 3
    model.train()
    moved = (model.policy.action_net.weight.detach() - weight)[:, 0].numpy()
    assert moved == pytest.approx(step, abs=1e-5)


def test_the_last_step_of_a_batch_is_bootstrapped():
    model = chain("terminated", n_steps=2, critic_target="mc")
    assert model.critic_targets(model.rollout).ravel().tolist() == [1 + 1 + 20 / 4, 2 + 20 / 2]
    assert not model.rollout.ends.any()


def test_an_episode_continues_in_the_next_batch():
    model = chain("terminated", n_steps=2)
    _, callback = model._setup_learn(10**6, reset_num_timesteps=False)
    model.collect_rollouts(model.env, callback)
    assert model.rollout.obs.ravel().tolist() == [2, 0]
    assert model.rollout.terminated.ravel().tolist() == [True, False]


def test_the_critic_is_fitted_before_the_advantages_are_computed():
    model = chain("terminated", gae_lambda=0.0)
    seen = []

    def fit(obs, targets):
        seen.append("fit")
        with th.no_grad():
            model.policy.value_net.weight.fill_(0.0)

    def normalized(advantages):
        seen.append(advantages.tolist())
        return advantages

    model.fit_critic, model.normalized = fit, normalized
    model.train()
    assert seen == ["fit", [1, 2, 4]]


@pytest.mark.parametrize("target", ["foo", None])
def test_an_unknown_critic_target_is_refused(target):
    with pytest.raises(ValueError, match="critic_target must be one of 'mc', 'td', 'gae', got"):
        BatchActorCritic("MlpPolicy", "CartPole-v1", critic_target=target)
