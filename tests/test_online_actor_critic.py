import copy

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, LogEveryNTimesteps
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from sb3_course import OnlineActorCritic
from sb3_course.common.networks.engine import Mlp
from tests.worlds import Scripted


class Steps(BaseCallback):
    """Records the weights before each update, and the actions."""

    def __init__(self):
        super().__init__()
        self.actions, self.weights = [], []

    def _on_rollout_start(self):
        self.weights.append(weights(self.model))

    def _on_step(self):
        self.actions.append(self.locals["actions"].copy())
        return True


def weights(model):
    """Return V's weight and bias, then the logits' weights and biases."""
    policy = model.policy
    tensors = (policy.value_net.weight, policy.value_net.bias, policy.action_net.weight)
    return [t.detach().double().numpy().copy().ravel() for t in (*tensors, policy.action_net.bias)]


class Values(BaseCallback):
    """Compares the values and log-probabilities of a step with the policy's own."""

    def _on_rollout_start(self):
        self.obs = self.model._last_obs.copy()

    def _on_step(self):
        actions = th.as_tensor(self.locals["actions"])
        with th.no_grad():
            values, log_probs, _ = self.model.policy.evaluate_actions(
                th.as_tensor(self.obs), actions
            )
        assert th.allclose(self.locals["values"].flatten(), values.flatten(), atol=1e-6)
        assert th.allclose(self.locals["log_probs"], log_probs, atol=1e-6)
        assert not self.locals["values"].requires_grad
        return True


@pytest.mark.parametrize("shared", [True, False])
def test_callbacks_see_the_values_and_log_probabilities_of_each_step(shared):
    kwargs = {"net_arch": [8], "share_features_extractor": shared}
    model = OnlineActorCritic("MlpPolicy", "CartPole-v1", policy_kwargs=kwargs, device="cpu")
    model.learn(30, callback=Values())
    assert model.num_timesteps == 30


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_three_steps_of_a_chain_by_hand(end):
    """Rewards 1, 2, 4 at observations 0, 1, 2; linear V and softmax; SGD; γ = ½; one actor."""
    rate, gamma = 0.1, 0.5
    model = OnlineActorCritic(
        "MlpPolicy",
        DummyVecEnv([lambda: Scripted(end=end)]),
        learning_rate=rate,
        critic_learning_rate=rate,
        gamma=gamma,
        policy_kwargs={"net_arch": [], "optimizer_class": th.optim.SGD},
        seed=0,
        device="cpu",
    )
    with th.no_grad():
        model.policy.value_net.weight.fill_(10.0)
        model.policy.value_net.bias.fill_(1.0)
    steps = Steps()
    model.learn(3, callback=steps)
    (w, b, w_pi, b_pi), after = steps.weights[0], weights(model)
    w, b = w[0], b[0]
    for s, reward in ((0.0, 1.0), (1.0, 2.0), (2.0, 4.0)):
        action = steps.actions.pop(0)[0]
        alive = 0.0 if s == 2.0 and end == "terminated" else 1.0
        error = (w * s + b) - (reward + gamma * alive * (w * (s + 1) + b))
        w, b = w - rate * 2 * error * s, b - rate * 2 * error
        advantage = reward + gamma * alive * (w * (s + 1) + b) - (w * s + b)
        logits = w_pi * s + b_pi
        score = np.eye(2)[action] - np.exp(logits) / np.exp(logits).sum()
        w_pi, b_pi = w_pi + rate * advantage * score * s, b_pi + rate * advantage * score
    assert after[0] == pytest.approx([w], rel=1e-4)
    assert after[1] == pytest.approx([b], rel=1e-4)
    assert after[2] == pytest.approx(w_pi, rel=1e-4)
    assert after[3] == pytest.approx(b_pi, rel=1e-4)


def test_the_update_is_the_mean_over_actors():
    """Four actors with the same experience take the step of one."""
    moved = []
    for n in (1, 4):
        model = OnlineActorCritic(
            "MlpPolicy",
            DummyVecEnv([Scripted] * n),
            policy_kwargs={"net_arch": [], "optimizer_class": th.optim.SGD},
            seed=0,
            device="cpu",
        )
        before = weights(model)
        model.learn(n)
        moved.append([after - b for after, b in zip(weights(model)[:2], before)])
    for one, four in zip(*moved):
        assert one == pytest.approx(four, rel=1e-4)


def test_every_step_is_an_update_and_logs_count_environment_steps():
    dumps = []
    model = OnlineActorCritic("MlpPolicy", DummyVecEnv([Scripted] * 4), seed=0, device="cpu")
    model.learn(400, log_interval=100)
    assert model._n_updates == 100
    model.dump_logs = lambda iteration: dumps.append(model.num_timesteps)
    model.learn(400, log_interval=100)
    assert dumps == [100, 200, 300, 400]


def test_learning_rates_follow_their_schedule_at_every_step():
    rates = []
    model = OnlineActorCritic(
        "MlpPolicy",
        DummyVecEnv([Scripted] * 4),
        learning_rate=lambda progress: progress,
        seed=0,
        device="cpu",
    )
    model.actor_optimizer.step = lambda: rates.append(model.actor_optimizer.param_groups[0]["lr"])
    model.learn(400, log_interval=100)
    assert rates == pytest.approx(np.arange(0.99, -0.001, -0.01))


class Lines(KVWriter):
    """Keeps what is logged."""

    def __init__(self):
        self.lines = []

    def write(self, key_values, key_excluded, step=0):
        self.lines.append(dict(key_values))


@pytest.mark.parametrize("policy", ["MlpPolicy", "Own"])
def test_whoever_writes_a_log_finds_the_last_updates_numbers_in_it(policy):
    """SB3's interval and its callback, with and without a norm that is computed for clipping."""
    found = []
    for max_grad_norm in (None, 1e9):
        for callback, interval in ((None, 100), (LogEveryNTimesteps(100), None)):
            env = DummyVecEnv([lambda: Scripted(space=spaces.Box(-1, 1, (1,)))] * 4)
            kind, kwargs = Own if policy == "Own" else policy, {"max_grad_norm": max_grad_norm}
            model = OnlineActorCritic(kind, env, **kwargs, seed=0, device="cpu")
            model.set_logger(Logger(None, [log := Lines()]))
            model.learn(400, callback, log_interval=interval)
            assert [line["train/n_updates"] for line in log.lines] == [24, 49, 74, 99]
            found.append({k: v for k, v in log.lines[-1].items() if k.startswith("train/")})
    assert found[0].keys() >= {f"train/{name}" for name in ("value_loss", "entropy_loss", "std")}
    assert found[0]["train/grad_norm"] > 0
    for other in found[1:]:
        assert other == pytest.approx(found[0], nan_ok=True)


@pytest.mark.parametrize("from_file", [False, True])
def test_the_norm_in_the_log_is_the_last_updates_in_a_later_training_too(from_file, tmp_path):
    norms = []
    for max_grad_norm in (None, 1e9):  # for which it is computed at each step
        env = DummyVecEnv([lambda: Scripted(space=spaces.Box(-1, 1, (1,)))] * 4)
        kwargs = {"max_grad_norm": max_grad_norm, "seed": 0, "device": "cpu"}
        model = OnlineActorCritic("MlpPolicy", env, **kwargs).learn(100)
        if from_file:
            model.save(tmp_path / "model")
            model = OnlineActorCritic.load(tmp_path / "model", env=env, device="cpu")
        model.set_logger(Logger(None, [log := Lines()]))
        model.learn(400, log_interval=100, reset_num_timesteps=False)
        norms.append([line["train/grad_norm"] for line in log.lines])
    assert len(set(norms[0])) == len(norms[0]) > 2
    assert norms[0] == pytest.approx(norms[1])


def test_one_environment_has_no_variance_to_explain():
    model = OnlineActorCritic("MlpPolicy", Scripted(), seed=0)
    model.set_logger(Logger(None, [lines := Lines()]))
    model.learn(30, log_interval=10)
    assert "train/value_loss" in lines.lines[-1]
    assert "train/explained_variance" not in lines.lines[-1]


def test_the_forward_pass_that_acts_is_the_one_that_is_differentiated(monkeypatch):
    """The actor's network runs once per step."""
    model = OnlineActorCritic(
        "MlpPolicy", DummyVecEnv([lambda: Scripted(space=spaces.Box(-1, 1, (1,)))] * 2), seed=0
    )
    calls, forward = [], Mlp.forward
    monkeypatch.setattr(Mlp, "forward", lambda mlp, *args: calls.append(mlp) or forward(mlp, *args))
    monkeypatch.setattr(type(model.policy), "get_distribution", None)
    model.learn(20)
    assert calls.count(model._made[0]._mlp) == 10


class Reusing(DummyVecEnv):
    """Environments that return the same memory at each step, as some fast ones do."""

    def _obs_from_buf(self):
        return self.buf_obs[None]


class Numbered(gym.Env):
    """Counts its steps in an observation of any kind of number."""

    action_space = spaces.Discrete(2)

    def __init__(self, dtype):
        self.observation_space = spaces.Box(0, 200, (2,), dtype)

    def _seen(self):
        return np.full(2, self.n, self.observation_space.dtype)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.n = 0
        return self._seen(), {}

    def step(self, action):
        self.n += 1
        return self._seen(), float(self.n % 3), self.n == 7, False, {}


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_observations_may_be_overwritten_by_the_next_step(dtype):
    policies = []
    for cls in (DummyVecEnv, Reusing):
        model = OnlineActorCritic("MlpPolicy", cls([lambda: Numbered(dtype)] * 2), seed=0)
        policies.append(nn.utils.parameters_to_vector(model.learn(40).policy.parameters()))
    assert th.equal(*policies)


def test_a_loss_without_a_graph_is_refused():
    model = OnlineActorCritic("MlpPolicy", "CartPole-v1", seed=0)
    model.learn(4)
    with pytest.raises(ValueError, match="does not depend on the policy's parameters"):
        model.step_actor(-model._transition.log_prob.mean())


class Own(ActorCriticPolicy):
    """A policy for autograd: the engine knows SB3's alone."""


class PutsWeightsBack(BaseCallback):
    """Changes the weights between a step and the update that follows it."""

    def _on_training_start(self):
        self.first = copy.deepcopy(self.model.get_parameters())

    def _on_step(self):
        self.model.set_parameters(self.first)
        return True


@pytest.mark.parametrize("policy", ["MlpPolicy", Own])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_a_callback_may_change_the_weights(policy, env_id):
    """The last update begins at the weights that were put back, whatever was learned before."""
    model = OnlineActorCritic(policy, env_id, 1e-3, seed=0, device="cpu")
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(25, PutsWeightsBack())
    moved = [
        (p - b).abs().max().item() for p, b in zip(model.policy.parameters(), before, strict=True)
    ]
    assert 0 < max(moved) < 0.01
