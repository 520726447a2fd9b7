"""A policy's weights, optimizer or all of it are replaced: what is there now is what counts."""

from itertools import product

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from sb3_course import BC, NPG, REINFORCE, load
from tests.contract.helpers import CLASSES, VARIANTS, any_env, every_class, small_model
from tests.imitation.test_bc import samples

IMAGES = spaces.Box(0, 255, (3, 36, 36), dtype=np.uint8)


def in_other_order(model):
    """Store weights as transposed ones, such as those from another framework."""
    with th.no_grad():
        for layer in model.policy.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.data = layer.weight.data.T.contiguous().T
    assert not all(p.is_contiguous() for p in model.policy.parameters())


def weights(model):
    return [parameter.detach().clone() for parameter in model.policy.parameters()]


def close(some, others):
    return max((a - b).abs().max().item() for a, b in zip(some, others, strict=True)) < 1e-5


@every_class
def test_weights_that_are_not_contiguous_are_trained_as_others_are(algorithm, tmp_path):
    found = []
    for prepare in (lambda model: None, in_other_order):
        model = small_model(algorithm, "CartPole-v1", seed=0)
        prepare(model)
        model.learn(200).save(tmp_path / "model")
        again = load(tmp_path / "model", env=model.get_env())
        again.learn(200, reset_num_timesteps=False)
        found.append([*weights(model), *weights(again)])
    assert close(*found)


def test_images_may_have_their_channels_last():
    found = []
    for layout in (th.contiguous_format, th.channels_last):
        model = small_model(REINFORCE, any_env(IMAGES), "CnnPolicy", seed=0)
        model.policy.to(memory_format=layout)
        found.append(weights(model.learn(30)))
    assert close(*found)


def test_an_imitator_may_have_weights_in_another_order():
    env = any_env()
    found = []
    for prepare in (lambda model: None, in_other_order):
        model = BC("MlpPolicy", env, samples(env), batch_size=16, seed=0)
        prepare(model)
        found.append(weights(model.learn(400)))
    assert close(*found)


def always(action, policy):
    with th.no_grad():
        policy.action_net.weight.zero_()
        policy.action_net.bias.copy_(th.eye(2)[action] * 100)
    return policy


class Replace(BaseCallback):
    """Puts another policy in the place of the model's before the second batch."""

    def __init__(self, policy):
        super().__init__()
        self.policy, self.n_batches, self.actions = policy, 0, []

    def _on_rollout_start(self):
        self.n_batches += 1
        if self.n_batches == 2:
            self.model.policy = self.policy

    def _on_step(self):
        if self.n_batches == 2:
            self.actions.append(self.locals["actions"])
        return self.n_batches < 3


@every_class
def test_a_policy_that_replaces_the_models_is_the_one_that_acts(algorithm):
    model, other = (small_model(algorithm, "CartPole-v1", seed=0) for _ in range(2))
    values = other.predict_values(np.ones((1, 4), np.float32))
    replace = Replace(always(0, other.policy))
    model.learn(400, replace)
    assert (np.concatenate(replace.actions) == 0).all()
    model = small_model(algorithm, "CartPole-v1", seed=1)
    model.predict_values(np.ones((1, 4), np.float32))
    model.policy = small_model(algorithm, "CartPole-v1", seed=0).policy
    np.testing.assert_array_equal(model.predict_values(np.ones((1, 4), np.float32)), values)


@every_class
def test_an_optimizer_in_sb3s_place_is_told_to_be_unused(algorithm):
    model = small_model(algorithm, "CartPole-v1")
    model.policy.optimizer = th.optim.SGD(model.policy.parameters(), lr=0.0)
    with pytest.warns(UserWarning, match=r"policy.optimizer is not used: replace model.actor_opt"):
        model.learn(30)
    model.actor_optimizer = th.optim.SGD(model.actor_parameters, lr=0.1)
    model.learn(30)  # no warning, which would be an error here


LOGGED = [(REINFORCE, {"baseline": b, "log_grad_variance": True}) for b in (None, "value")]


@pytest.mark.parametrize("with_critic", [False, True])
@pytest.mark.parametrize(("algorithm", "kwargs"), [*VARIANTS, *LOGGED])
def test_a_frozen_actor_stays_and_the_critic_is_fitted(algorithm, kwargs, with_critic):
    model = small_model(algorithm, "CartPole-v1", **kwargs)
    frozen = [*model.actor_parameters, *(model.critic_parameters if with_critic else [])]
    for parameter in frozen:
        parameter.requires_grad_(False)
    before = weights(model)
    model.learn(80)
    pairs = zip(before, model.policy.parameters(), strict=True)
    moved = {id(now) for was, now in pairs if not th.equal(was, now)}
    has_critic = kwargs.get("baseline", "value") == "value"
    assert bool(moved) == (has_critic and not with_critic)
    assert moved <= {*map(id, model.critic_parameters)}
    if "log_grad_variance" in kwargs:
        assert model.logger.name_to_value["train/grad_variance"] == 0


def frozen_layer(model):
    for parameter in model.policy.mlp_extractor.policy_net[0].parameters():
        parameter.requires_grad_(False)
    return th.optim.Adam(model.actor_parameters, lr=1e-3)


OTHERS = {
    "frozen": frozen_layer,
    "groups": lambda m: th.optim.Adam([{"params": [p]} for p in m.actor_parameters], lr=1e-3),
    "as in SB3": lambda m: th.optim.Adam(m.policy.parameters(), lr=1e-3),
    "SGD": lambda m: th.optim.SGD(m.actor_parameters, lr=1e-3),
    "Adamax": lambda m: th.optim.Adamax(m.actor_parameters, lr=1e-3),  # whose options are Adam's
}


@pytest.mark.parametrize(
    ("algorithm", "kind"),  # NPG's actor takes no step of an optimizer, and so has no moments
    [pair for pair in product(CLASSES, OTHERS) if pair != (NPG, "Adamax")],
)
def test_a_model_with_another_optimizer_can_be_loaded_and_goes_on(algorithm, kind, tmp_path):
    """Its state cannot be that of the optimizer which the class makes; the weights are there."""
    model = small_model(algorithm, "CartPole-v1", seed=0)
    model.actor_optimizer = OTHERS[kind](model)
    model.learn(60).save(tmp_path / "model")
    with pytest.warns(UserWarning, match="actor_optimizer stays as it is.* put it there again"):
        again = load(tmp_path / "model", env=model.get_env())
    assert all(map(th.equal, weights(again), weights(model)))
    again.learn(60, reset_num_timesteps=False)
    with pytest.warns(UserWarning, match="actor_optimizer stays as it is"):
        again.set_parameters(model.get_parameters())
    again.learn(60)


def test_an_imitator_with_another_optimizer_can_be_loaded(tmp_path):
    env = any_env()
    model = BC("MlpPolicy", env, samples(env), batch_size=16, seed=0)
    model.policy.optimizer = th.optim.SGD(model.policy.parameters(), lr=1e-3)
    model.learn(100).save(tmp_path / "model")
    with pytest.warns(UserWarning, match=r"policy.optimizer stays as it is"):
        again = load(tmp_path / "model", env=env)
    again.learn(100)


def test_another_optimizer_of_the_same_kind_takes_its_state(tmp_path):
    model = small_model(REINFORCE, "CartPole-v1", seed=0).learn(60)
    other = small_model(REINFORCE, "CartPole-v1", seed=1)
    other.set_parameters(model.get_parameters())  # without a warning, which would be an error
    states = [m.actor_optimizer.state_dict()["state"][0]["exp_avg"] for m in (model, other)]
    assert th.equal(*states) and states[0].any()


@pytest.mark.parametrize("steps", [None, 7])
@every_class
def test_a_step_moves_its_own_parameters_alone(algorithm, steps):
    """Also with optimizers that hold all of them, and gradients that the other step has left."""
    found = []
    for all_of_them in (False, True):
        model = small_model(algorithm, "CartPole-v1", seed=0)
        groups = [model.actor_parameters, model.critic_parameters]
        if all_of_them:
            groups = [list(model.policy.parameters())] * 2
        model.actor_optimizer = th.optim.SGD(groups[0], lr=0.05)
        model.critic_optimizer = th.optim.SGD(groups[1], lr=0.05)
        if steps is not None:  # by autograd, chunk by chunk
            model.chunk_size = steps
        found.append(weights(model.learn(100)))
    assert all(map(th.equal, *found))


def with_another_layer(policy):
    added = nn.Linear(64, 64)
    policy.mlp_extractor.policy_net = nn.Sequential(*policy.mlp_extractor.policy_net, added)
    return added


@every_class
def test_a_layer_that_is_added_is_trained(algorithm):
    model = small_model(algorithm, "CartPole-v1", seed=0)
    model.learn(60)
    added = with_another_layer(model.policy)
    before = added.weight.detach().clone()
    model.learn(60)
    assert not th.equal(added.weight, before)


@every_class
def test_what_is_added_leaves_optimizers_as_they_are(algorithm):
    """Those of the user, and moments; parameters that nothing depends on are trained by none."""
    model = small_model(algorithm, "CartPole-v1", seed=0)
    own = model.actor_optimizer = th.optim.SGD(model.actor_parameters, lr=1e-3)
    critics = model.critic_optimizer
    model.learn(60)
    model.policy.head = nn.Linear(2, 2)
    model.learn(60, reset_num_timesteps=False)
    assert (model.actor_optimizer, model.critic_optimizer) == (own, critics)
    assert len(critics.param_groups) == 1
    added = with_another_layer(model.policy)
    before = added.weight.detach().clone()
    model.learn(60, reset_num_timesteps=False)
    assert model.actor_optimizer is own
    assert not th.equal(added.weight, before)


def test_a_layer_that_is_added_to_an_imitator_is_trained():
    env = any_env()
    model = BC("MlpPolicy", env, samples(env), batch_size=16, seed=0).learn(32)
    added = with_another_layer(model.policy)
    before = added.weight.detach().clone()
    model.learn(32)
    assert not th.equal(added.weight, before)


class Looks(BaseCallback):
    """Evaluates a gradient at some states in each step."""

    def __init__(self, n):
        super().__init__()
        self.n = n

    def _on_step(self):
        obs, actions = th.zeros(self.n, 4), th.zeros(self.n, dtype=th.int64)
        self.model.policy_gradient(obs, actions, th.ones(self.n))
        return True


@pytest.mark.parametrize("n", [2, 3])  # as many as there are environments, and more
@every_class
def test_a_callback_may_look_at_a_gradient(algorithm, n):
    found = [
        weights(small_model(algorithm, "CartPole-v1", seed=0).learn(100, callback))
        for callback in (None, Looks(n))
    ]
    assert all(map(th.equal, *found))


class WithoutValues(ActorCriticPolicy):
    """Policy without a critic."""

    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        self.value_net = nn.Identity()
        self.mlp_extractor.value_net = nn.Identity()

    def predict_values(self, obs):
        return th.zeros(len(obs), 1)


def test_a_policy_needs_no_critic_where_none_is_used(tmp_path):
    env = make_vec_env("CartPole-v1", 2)
    model = REINFORCE(WithoutValues, env, baseline=None, n_steps=20).learn(100)
    model.save(tmp_path / "model")
    load(tmp_path / "model", env=env).learn(40)
