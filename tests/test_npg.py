import copy

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env as make_gym
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

from sb3_course import NPG, make_vec_env
from sb3_course.estimators import natural_gradient
from sb3_course.npg import Consequences


class Record(BaseCallback):
    """Records a logged value after each update."""

    def __init__(self, key):
        super().__init__()
        self.key, self.values = key, []

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        self._take()

    def _on_training_end(self):
        self._take()

    def _take(self):
        value = self.model.logger.name_to_value.get(self.key)
        if value is not None:
            self.values.append(value)


def pendulum(**kwargs):
    env = make_vec_env("Pendulum-v1", 4, seed=0, backend="dummy", normalize=True)
    return NPG("MlpPolicy", env, seed=0, device="cpu", **{"n_steps": 64} | kwargs)


def test_the_realized_kl_is_near_the_target_on_halfcheetah():
    """50 updates: the mean of the realized KL is from 0.7 to 1.3 times the target."""
    pytest.importorskip("envpool")
    env = make_vec_env("HalfCheetah-v4", 16, seed=0, backend="envpool", normalize=True)
    model = NPG("MlpPolicy", env, n_steps=64, target_kl=0.03, seed=0, device="cpu")
    record = Record("train/kl_divergence")
    model.learn(50 * 16 * 64, callback=record, log_interval=1000)
    assert len(record.values) == 50
    assert 0.7 < np.mean(record.values) / 0.03 < 1.3


@pytest.mark.parametrize("kind", [{"target_kl": 0.02}, {"step_size": 0.01}, {"line_search": True}])
@pytest.mark.parametrize("log_std", [-5.0, -8.0])
def test_a_nearly_deterministic_policy_stays_finite(kind, log_std):
    model = pendulum(policy_kwargs={"log_std_init": log_std}, **kind)
    record = Record("train/kl_divergence")
    model.learn(10 * 256, callback=record, log_interval=1000)
    assert all(th.isfinite(p).all() for p in model.policy.parameters())
    assert np.isfinite(record.values).all()


class SameEverywhere(ActorCriticPolicy):
    """Policy whose mean does not depend on the state, and is the parameter itself."""

    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        self.mu = nn.Parameter(th.zeros(1))

    def get_distribution(self, obs):
        return self.action_dist.proba_distribution(self.mu.expand(len(obs), -1), self.log_std)


@pytest.mark.parametrize("line_search", [False, True])
def test_the_kl_is_realized_where_the_distribution_is_a_view_of_the_parameters(line_search):
    env = make_gym("Pendulum-v1", 2, seed=0)
    kinds = {"line_search": line_search, "seed": 0, "device": "cpu"}
    model = NPG(SameEverywhere, env, n_steps=64, target_kl=0.02, **kinds)
    before = model.policy.mu.item(), model.policy.log_std.detach().exp().item()
    model.learn(128)
    mu, std = model.policy.mu.item(), model.policy.log_std.detach().exp().item()
    exact = np.log(std / before[1]) + (before[1] ** 2 + (mu - before[0]) ** 2) / (2 * std**2) - 0.5
    assert model.logger.name_to_value["train/kl_divergence"] == pytest.approx(exact, abs=1e-5)
    assert 0.005 < exact <= (0.02 if line_search else 0.08)


def test_the_line_search_keeps_the_kl_below_the_target():
    record = Record("train/kl_divergence")
    pendulum(target_kl=0.05, line_search=True).learn(2560, callback=record, log_interval=1000)
    assert 0 < max(record.values) <= 0.05


def test_the_step_is_proportional_to_step_size():
    """θ moves by α x, where (F + λI) x = g: 100 times α moves it 100 times as far."""
    moves = []
    for alpha in (1e-4, 1e-2):
        model = pendulum(step_size=alpha)
        before = th.cat([p.flatten() for p in model.actor_parameters]).detach().clone()
        model.learn(256)
        after = th.cat([p.flatten() for p in model.actor_parameters]).detach()
        moves.append(after - before)
        assert model.logger.name_to_value["train/step_length"] == alpha
    assert th.allclose(moves[1], 100 * moves[0], rtol=1e-2, atol=1e-5)


def test_the_step_is_the_natural_gradient_of_the_explicit_fisher_matrix(monkeypatch):
    model = pendulum(
        step_size=1.0, cg_max_steps=200, cg_damping=0.1, policy_kwargs={"net_arch": [4]}
    )
    _, callback = model._setup_learn(10**6)
    model.collect_rollouts(model.env, callback)
    obs = model.to_tensor(model.rollout.flat_obs)
    distribution = model.distribution(obs)
    mean, std = distribution.distribution.loc, distribution.distribution.scale
    parameters = model.actor_parameters
    size = sum(p.numel() for p in parameters)
    fisher = 0.1 * th.eye(size)
    for i in range(len(obs)):
        for output, precision in ((mean[i, 0], std[i, 0] ** -2), (std[i, 0], 2 * std[i, 0] ** -2)):
            row = th.autograd.grad(output, parameters, retain_graph=True, allow_unused=True)
            row = th.cat(
                [th.zeros(p.numel()) if g is None else g.flatten() for g, p in zip(row, parameters)]
            )
            fisher += precision.detach() * th.outer(row, row) / len(obs)
    before = th.cat([p.flatten() for p in parameters]).detach().clone()
    gradients, solve = [], natural_gradient.conjugate_gradient

    def precise(product, b, steps):
        gradients.append(b.clone())
        return solve(product, b, steps, tolerance=1e-7)

    monkeypatch.setattr(natural_gradient, "conjugate_gradient", precise)
    model.train()
    step = th.cat([p.flatten() for p in parameters]).detach() - before
    expected = th.linalg.solve(fisher, gradients[0])
    assert th.linalg.norm(step - expected) < 1e-2 * th.linalg.norm(expected)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"target_kl": 0.01, "step_size": 0.1}, "target_kl or step_size, not both"),
        ({"target_kl": 0}, "target_kl must be a positive number or a schedule, got 0"),
        ({"step_size": -1}, "step_size must be a positive number or a schedule, got -1"),
        ({"step_size": 0.1, "line_search": True}, "line_search=True needs target_kl"),
        ({"max_state_kl": 0}, "max_state_kl must be a positive number or None, got 0"),
        ({"cg_damping": -1}, "cg_damping must be a number of at least 0, got -1"),
        ({"cg_max_steps": 0}, "cg_max_steps must be a whole number of at least 1, got 0"),
        (
            {"line_search_shrinking_factor": 1.0},
            "line_search_shrinking_factor must be a number between 0 and 1, got 1.0",
        ),
        ({"line_search_max_iter": 0}, "line_search_max_iter must be a whole number of at least 1"),
        ({"sub_sampling_factor": 0}, "sub_sampling_factor must be a whole number of at least 1"),
    ],
)
def test_a_bad_parameter_is_named_with_what_is_allowed(kwargs, message):
    with pytest.raises(ValueError, match=message):
        NPG("MlpPolicy", "CartPole-v1", **kwargs)


def test_target_kl_follows_its_schedule():
    record = Record("train/kl_divergence")
    pendulum(target_kl=lambda progress: 0.05 * progress).learn(2560, record, log_interval=1000)
    assert np.mean(record.values[-3:]) < 0.5 * np.mean(record.values[:3])


def test_advantages_of_zero_leave_the_policy_unchanged():
    env = make_gym("CartPole-v1", 2)
    model = NPG("MlpPolicy", env, n_steps=4, seed=0, device="cpu")
    _, callback = model._setup_learn(10**6)
    model.collect_rollouts(model.env, callback)
    model.normalized = lambda advantages: np.zeros_like(advantages)
    before = th.cat([p.flatten() for p in model.actor_parameters]).detach().clone()
    model.train()
    assert th.equal(th.cat([p.flatten() for p in model.actor_parameters]).detach(), before)
    assert model.n_skipped_updates == 1


def test_a_schedule_that_ends_at_zero_skips_no_update():
    record = Record("train/kl_divergence")
    schedule = LinearSchedule(0.04, 0.0, 1.0)
    model = pendulum(target_kl=schedule).learn(10 * 256, record, log_interval=1000)
    wanted = 0.04 * np.linspace(0.9, 0.1, 9)
    np.testing.assert_allclose(record.values[:9], wanted, rtol=0.5)
    assert record.values[9] == 0
    assert model.n_skipped_updates == 0


def test_a_step_size_that_ends_at_zero_skips_no_update():
    model = pendulum(step_size=LinearSchedule(1e-3, 0.0, 1.0)).learn(10 * 256)
    assert model.n_skipped_updates == 0


def test_a_step_after_which_there_is_no_policy_is_shortened():
    """One so long that σ, an exponential, is 0 in floating point."""
    model = pendulum(step_size=1e6, line_search_max_iter=1)
    before = [p.detach().clone() for p in model.actor_parameters]
    model.learn(256)
    assert model.n_skipped_updates == 1
    assert all(th.equal(p, q) for p, q in zip(model.actor_parameters, before, strict=True))
    model = pendulum(step_size=1e6, line_search_max_iter=60)
    model.learn(256)
    assert model.n_skipped_updates == 0
    assert all(th.isfinite(p).all() for p in model.actor_parameters)


def largest_state_kl(model):
    """Train on one batch and compute the largest KL of a state, apart from the class."""
    _, callback = model._setup_learn(10**6)
    model.collect_rollouts(model.env, callback)
    obs = model.to_tensor(model.rollout.flat_obs)
    old = copy.copy(model.distribution(obs))
    model.train()
    return natural_gradient.kl_divergence(old, model.distribution(obs)).max().item()


@pytest.mark.parametrize("chunk_size", [50, 10_000])
def test_no_state_has_a_larger_kl_than_is_allowed(chunk_size):
    free = pendulum(target_kl=0.05)
    unbounded = largest_state_kl(free)
    bounded = pendulum(target_kl=0.05, max_state_kl=unbounded / 2)
    bounded.chunk_size = chunk_size
    found = largest_state_kl(bounded)
    assert unbounded / 2 * 0.64 <= found <= unbounded / 2  # one shrink less would exceed it
    logged = bounded.logger.name_to_value
    assert logged["train/max_state_kl"] == pytest.approx(found, rel=1e-4)
    assert logged["train/line_search_shrinks"] == 2


@pytest.mark.parametrize(
    ("kwargs", "bound"),
    [
        ({}, 0.05),
        ({"target_kl": 0.5}, None),
        ({"step_size": 1.0}, None),
        ({"max_state_kl": 0.01}, 0.01),
        ({"step_size": 1.0, "max_state_kl": 0.01}, 0.01),
    ],
)
def test_states_are_bounded_by_default_where_the_kl_is_the_default(kwargs, bound):
    """A step of a KL of 5 at one state is kept only where no bound is set."""
    model = pendulum(**kwargs)
    accepted = [model.accepts(Consequences(0.01, largest, 1.0)) for largest in (0.009, 0.049, 5.0)]
    assert accepted == [bound is None or largest <= bound for largest in (0.009, 0.049, 5.0)]


def test_the_default_kl_does_not_depend_on_how_learn_is_called():
    """In pieces as in one: a schedule over ``total_timesteps`` would end each piece at 0."""
    record, pieces = Record("train/kl_divergence"), Record("train/kl_divergence")
    whole = pendulum().learn(4 * 256, record, log_interval=1000)
    model = pendulum()
    for _ in range(4):
        model.learn(256, pieces, log_interval=1000, reset_num_timesteps=False)
    assert min(pieces.values) > 0
    assert [p.sum().item() for p in model.actor_parameters] == [
        p.sum().item() for p in whole.actor_parameters
    ]


class Attention(BaseFeaturesExtractor):
    """Its fast kernels can be differentiated once only."""

    def __init__(self, space):
        super().__init__(space, 8)
        self.embedding = th.nn.Linear(1, 8)
        self.layer = th.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, obs):
        return self.layer(self.embedding(obs.unsqueeze(-1))).mean(dim=1)


@pytest.mark.parametrize("chunk_size", [4, 1000])
def test_a_policy_with_attention_is_trained(chunk_size):
    policy_kwargs = {"features_extractor_class": Attention, "net_arch": []}
    model = NPG("MlpPolicy", "CartPole-v1", n_steps=16, seed=0, policy_kwargs=policy_kwargs)
    model.chunk_size = chunk_size
    weight = model.policy.features_extractor.layer.self_attn.in_proj_weight
    before = weight.detach().clone()
    model.learn(16)
    assert not th.equal(weight, before)
    assert model.logger.name_to_value["train/kl_divergence"] > 0


def test_an_interrupt_before_a_step_is_accepted_takes_it_back(monkeypatch):
    """It may be saved then, as by the command line."""
    model = NPG("MlpPolicy", "CartPole-v1", n_steps=64, seed=0).learn(64)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "consequences", interrupted)
    before = natural_gradient.flatten(model.actor_parameters).detach().clone()
    with pytest.raises(KeyboardInterrupt):
        model.learn(64)
    assert th.equal(natural_gradient.flatten(model.actor_parameters), before)
