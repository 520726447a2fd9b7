"""Custom policies, features extractors and optimizers are the ones that learn."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from sb3_course import BC, NPG, DAgger
from tests.contract.helpers import (
    copy_parameters,
    equal_tensors,
    every_class,
    every_variant,
    small_model,
    takes,
)
from tests.worlds import RandomSpaces


class NoisyExtractor(FlattenExtractor):
    """Batch normalization and dropout, which behave differently in training mode."""

    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.extra = nn.Sequential(nn.BatchNorm1d(4, momentum=0.0), nn.Dropout(0.1))

    def forward(self, observations):
        return self.extra(super().forward(observations))


class Squashed(ActorCriticPolicy):
    """A Gaussian whose samples go through tanh, as in SAC."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.action_dist = SquashedDiagGaussianDistribution(self.action_space.shape[0])
        self._squash_output = True


NARROW = spaces.Box(np.array([[1, -2], [0, 5]], "f4"), np.array([[3, 6], [0.5, 7]], "f4"))


@every_variant
def test_a_squashed_gaussian_is_trained(algorithm, kwargs):
    model = small_model(algorithm, "Pendulum-v1", Squashed, **kwargs)
    before, torques = copy_parameters(model), []

    class Look(BaseCallback):
        def _on_step(self):
            torques.append(self.locals["clipped_actions"])
            assert np.allclose(torques[-1], 2 * self.locals["actions"], atol=1e-6)
            return True

    model.learn(450, Look())
    assert not equal_tensors(before, copy_parameters(model))
    assert np.abs(torques).max() > 1  # of at most 2
    obs = model.env.reset()
    assert np.abs(model.predict(obs)[0]).max() <= 2


class NarrowBox(RandomSpaces):
    def __init__(self):
        super().__init__(spaces.Box(-1, 1, (3,), np.float32), NARROW)


@pytest.mark.parametrize("beyond", [0.0, 0.3, 1e-6])
@pytest.mark.parametrize("algorithm", [BC, DAgger])
def test_a_squashed_gaussian_learns_an_experts_actions(algorithm, beyond):
    """In [-1, 1], as it samples them, whatever the bounds of the environment are."""
    parts = np.array([[0.75, 0.5], [0.25, 0.6]] if not beyond else [[1 + beyond] * 2] * 2)
    given = NARROW.low + parts * (NARROW.high - NARROW.low)
    wanted = np.minimum(given, NARROW.high)  # nothing is farther than the bound

    def expert(obs):
        return np.broadcast_to(given, (len(obs), 2, 2))

    obs = np.random.default_rng(0).uniform(-1, 1, (1000, 3)).astype(np.float32)
    kwargs = {"seed": 0, "device": "cpu", "learning_rate": 3e-3}
    demonstrations = {"obs": obs, "acts": expert(obs)}
    if algorithm is BC:
        model = BC(Squashed, NarrowBox(), demonstrations, **kwargs).learn(100_000)
    else:
        rounds = {"n_steps": 100, "gradient_steps": 1000, "n_eval_episodes": 0}
        model = DAgger(Squashed, NarrowBox(), expert, **rounds, **kwargs).learn(100)
    actions, _ = model.predict(obs[:10])
    assert np.abs((actions - wanted) / (NARROW.high - NARROW.low)).max() < 0.05


@every_class
def test_the_entropy_of_a_squashed_gaussian_is_no_bonus(algorithm):
    with pytest.raises(ValueError, match="ent_coef must be 0 with a squashed Gaussian"):
        small_model(algorithm, "Pendulum-v1", Squashed, ent_coef=0.1)


def policy_that_overrides(*names):
    """Make a policy class with methods of its own, which do what SB3's do."""

    def method(name):
        return lambda self, *args, **kwargs: getattr(ActorCriticPolicy, name)(self, *args, **kwargs)

    return type("Own", (ActorCriticPolicy,), {name: method(name) for name in names})


@every_class
@pytest.mark.parametrize("name", ["forward", "evaluate_actions", "extract_features"])
def test_a_method_of_a_policy_that_is_not_called_is_named(algorithm, name):
    with pytest.warns(UserWarning, match=f"Own overrides {name}, which nothing here calls"):
        small_model(algorithm, "CartPole-v1", policy_that_overrides(name))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "names", [("get_distribution", "forward"), ("predict_values",), ("_build_mlp_extractor",)]
)
def test_other_methods_of_a_policy_may_be_overridden(names):
    small_model(NPG, "CartPole-v1", policy_that_overrides(*names))


@every_variant
def test_an_extractor_with_batch_normalization_and_dropout_is_trained(algorithm, kwargs):
    env = make_vec_env("CartPole-v1", 2)
    policy_kwargs = {"features_extractor_class": NoisyExtractor}
    model = small_model(algorithm, env, policy_kwargs=policy_kwargs, **kwargs)
    before = copy_parameters(model)
    after = copy_parameters(model.learn(60))
    assert not th.equal(
        before["features_extractor.extra.0.weight"], after["features_extractor.extra.0.weight"]
    )
    assert all(th.isfinite(value).all() for value in after.values())


@every_class
def test_schedules_set_both_learning_rates(algorithm):
    schedules = {"learning_rate": lambda progress: progress}
    if takes(algorithm, "critic_learning_rate"):
        schedules["critic_learning_rate"] = lambda progress: 2 * progress
    model = small_model(algorithm, "CartPole-v1", **schedules).learn(200, log_interval=1)
    progress = model._current_progress_remaining
    assert model.actor_optimizer.param_groups[0]["lr"] == progress
    assert model.critic_optimizer.param_groups[0]["lr"] == len(schedules) * progress


@every_class
@pytest.mark.parametrize("learned", [False, True])
def test_a_policy_that_replaces_the_models_own_is_the_one_that_learns(algorithm, learned):
    model, other = (small_model(algorithm, "CartPole-v1") for _ in range(2))
    if learned:
        model.learn(50)
    model.policy = other.policy
    before = copy_parameters(other)
    model.learn(100)
    assert not equal_tensors(before, copy_parameters(other))


@every_class
def test_a_critic_may_be_a_single_linear_layer(algorithm):
    policy_kwargs = {"net_arch": {"pi": [8], "vf": []}, "activation_fn": nn.ReLU}
    model = small_model(algorithm, "CartPole-v1", policy_kwargs=policy_kwargs)
    before = copy_parameters(model)
    model.learn(50)
    assert sum(p.numel() for p in model.critic_parameters) == 5
    assert not th.equal(before["value_net.weight"], model.policy.value_net.weight)
