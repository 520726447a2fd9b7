"""The engine against autograd: the same actions, values, losses and steps."""

import copy

import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from sb3_course.common.networks.actors import AutogradActor, EngineActor, make_actor
from sb3_course.common.networks.critics import AutogradCritic, EngineCritic, make_critic
from sb3_course.common.networks.parameter_groups import split_parameters
from sb3_course.common.networks.step import is_fused
from tests.common.networks.helpers import Doubled

OBS, BATCH = spaces.Box(-1, 1, (5,)), 17
TORQUES, CHOICE = spaces.Box(-1, 1, (3,)), spaces.Discrete(4)
ADAM = (th.optim.Adam, {"lr": 1e-2, "eps": 1e-5, "fused": True})
OPTIMIZERS = [
    (th.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1, "fused": True}),
    (th.optim.Adam, {"lr": 1e-2, "weight_decay": 0.5, "fused": True}),
    (th.optim.Adam, {"lr": 1e-2, "amsgrad": True}),
    (th.optim.Adam, {"lr": 1e-2, "maximize": True, "fused": True}),
    (th.optim.RMSprop, {"lr": 1e-3}),
    (th.optim.SGD, {"lr": 1e-2, "momentum": 0.9}),
]
NETWORKS = [
    {},
    {"activation_fn": nn.ReLU, "log_std_init": -1.0},
    {"net_arch": []},
    {"net_arch": {"pi": [8, 7, 6], "vf": [9]}, "ortho_init": False},
]
every_space = pytest.mark.parametrize("space", [TORQUES, CHOICE])


class Pair:
    """Two equal policies, one stepped by the engine and one by autograd."""

    def __init__(self, space, kwargs, cls=ADAM[0], settings=ADAM[1]):
        th.manual_seed(3)
        self.policies = [ActorCriticPolicy(OBS, space, lambda _: 1e-3, **kwargs)]
        self.policies.append(copy.deepcopy(self.policies[0]))
        self.groups = [split_parameters(policy) for policy in self.policies]
        self.optimizers = [[cls(part, **settings) for part in group] for group in self.groups]
        (a, c), (other_a, other_c) = self.groups
        self.actors = [
            make_actor(self.policies[0], a, self.optimizers[0][0]),
            AutogradActor(self.policies[1], other_a, self.optimizers[1][0]),
        ]
        self.critics = [
            make_critic(self.policies[0], c, self.optimizers[0][1]),
            AutogradCritic(self.policies[1], other_c, self.optimizers[1][1]),
        ]
        assert isinstance(self.actors[0], EngineActor)
        assert isinstance(self.critics[0], EngineCritic)
        self.generator = th.Generator().manual_seed(7)

    def numbers(self, *shape):
        return th.randn(*shape, generator=self.generator)

    def step(self, ent_coef=0.0, max_grad_norm=None, n=BATCH):
        """Take one step of each; return what each of them saw."""
        obs, multipliers = self.numbers(n, 5), self.numbers(n)
        seen = []
        for actor, critic in zip(self.actors, self.critics):
            th.manual_seed(11)
            actions = actor.act(obs)
            log_prob, entropy = actor.score()
            values = critic.evaluate(obs).clone()
            losses = (
                critic.descend(multipliers),
                *actor.descend(multipliers, ent_coef, max_grad_norm),
            )
            seen.append((actions, log_prob, entropy, values, *losses))
        return seen

    def distance(self):
        """Return the relative distance between the two policies' parameters."""
        a, b = (nn.utils.parameters_to_vector(policy.parameters()) for policy in self.policies)
        return ((a - b).norm() / b.norm()).item()


def close(one, other, tolerance=1e-5):
    if one is None or other is None:
        return one is other
    one, other = th.as_tensor(one), th.as_tensor(other)
    return th.allclose(one.double(), other.double(), rtol=tolerance, atol=tolerance)


@every_space
@pytest.mark.parametrize(
    ("kwargs", "cls", "settings"),
    [(kwargs, *ADAM) for kwargs in NETWORKS] + [({}, *other) for other in OPTIMIZERS],
)
@pytest.mark.parametrize(("ent_coef", "max_grad_norm"), [(0.0, None), (0.3, 0.05)])
def test_steps_are_those_of_autograd(space, kwargs, cls, settings, ent_coef, max_grad_norm):
    """1e-6 relative after one update, 1e-5 after 20."""
    pair = Pair(space, kwargs, cls, settings)
    before = nn.utils.parameters_to_vector(pair.policies[0].parameters()).clone()
    for one, other in zip(*pair.step(ent_coef, max_grad_norm)):
        assert close(one, other)
    after = nn.utils.parameters_to_vector(pair.policies[0].parameters())
    assert (after - before).norm() > 1e-4
    assert pair.distance() < 1e-6
    for _ in range(19):
        pair.step(ent_coef, max_grad_norm)
    assert pair.distance() < 1e-5


@every_space
def test_actions_are_the_policys_bit_for_bit(space):
    pair = Pair(space, {})
    for obs in pair.numbers(5, BATCH, 5):
        th.manual_seed(0)
        expected = pair.policies[1].get_distribution(obs).get_actions()
        th.manual_seed(0)
        assert th.equal(pair.actors[0].act(obs), expected)
        assert th.equal(pair.critics[0](obs), pair.policies[1].predict_values(obs).flatten())


def test_batches_may_change_their_size_and_values_outlive_the_next_pass():
    pair = Pair(TORQUES, {})
    values = pair.critics[0].evaluate(pair.numbers(3, 5))
    kept = values.clone()
    for n in (3, 8, 1, 8):
        pair.step(n=n)
    assert th.equal(values, kept)
    assert pair.distance() < 1e-5


@pytest.mark.parametrize("rows", [slice(None), th.tensor([5, 3, 0, 7, 7, 2, 1])])
@pytest.mark.parametrize("chunk_size", [None, 3, 1])
def test_a_fit_by_chunks_is_the_fit_of_the_whole(rows, chunk_size):
    pair = Pair(TORQUES, {})
    obs, targets = pair.numbers(8, 5), pair.numbers(8)
    for _ in range(3):
        whole = (pair.critics[1](obs[rows]) - targets[rows]).square().mean().item()
        losses = [critic.fit(obs, targets, rows, chunk_size) for critic in pair.critics]
        assert losses == pytest.approx([whole, whole], rel=1e-5)
        assert pair.distance() < 1e-6


def test_clones_are_trained_by_ones_where_no_multipliers_are_given():
    pair = Pair(TORQUES, {})
    obs, actions = pair.numbers(BATCH, 5), pair.numbers(BATCH, 3)
    for actor in pair.actors:
        actor.evaluate(obs, actions)
    one, other = (actor.descend(ent_coef=1e-3)[0] for actor in pair.actors)
    distribution = pair.policies[1].get_distribution(obs)
    assert close(one, other)
    assert pair.distance() < 1e-6
    assert distribution.log_prob(actions).mean() > -one - 1e-2


def test_frozen_layers_stay_as_they_are_and_go_on_where_they_stopped():
    """Freeze from the start, freeze later, unfreeze, as autograd with the same optimizer does."""
    pair = Pair(TORQUES, {})
    for step in range(30):
        for policy in pair.policies:
            policy.action_net.requires_grad_(step >= 5)
            policy.mlp_extractor.value_net[0].requires_grad_(not 10 <= step < 15)
            policy.log_std.requires_grad_(not 20 <= step < 25)
        before = pair.policies[0].action_net.weight.clone()
        pair.step(max_grad_norm=0.5)
        assert th.equal(pair.policies[0].action_net.weight, before) == (step < 5)
        assert pair.distance() < 1e-5


def test_all_frozen_is_no_step():
    pair = Pair(CHOICE, {})
    before = nn.utils.parameters_to_vector(pair.policies[0].parameters()).clone()
    for policy in pair.policies:
        policy.requires_grad_(False)
    pair.step()
    assert th.equal(nn.utils.parameters_to_vector(pair.policies[0].parameters()), before)


def test_states_and_weights_that_are_loaded_in_between_are_used():
    """As a callback that goes back to its best model does."""
    pair = Pair(TORQUES, {})
    pair.step()
    weights = copy.deepcopy(pair.policies[0].state_dict())
    states = [copy.deepcopy(o.state_dict()) for o in pair.optimizers[0]]
    for _ in range(5):
        pair.step()
    for policy, optimizers in zip(pair.policies, pair.optimizers):
        policy.load_state_dict(weights)
        for optimizer, state in zip(optimizers, states):
            optimizer.load_state_dict(copy.deepcopy(state))
    for _ in range(5):
        pair.step()
        assert pair.distance() < 1e-5
    counts = {
        float(s["step"]) for o in pair.optimizers[0] for s in o.state_dict()["state"].values()
    }
    assert counts == {6.0}


def test_tensors_that_are_replaced_are_taken_up_again():
    """As ``policy.to(device)`` does, or an assignment to ``parameter.data``."""
    pair = Pair(TORQUES, {})
    for _ in range(4):
        for policy in pair.policies:
            for parameter in policy.parameters():
                parameter.data = parameter.data.clone() + 0.01
        pair.step()
        assert pair.distance() < 1e-5


@pytest.mark.parametrize("patched", ["hook", "method"])
def test_an_optimizer_whose_step_is_watched_is_called(patched):
    pair, calls = Pair(TORQUES, {}), []
    optimizer = pair.optimizers[0][0]
    if patched == "hook":
        optimizer.register_step_post_hook(lambda *_: calls.append(1))
    else:
        step = optimizer.step
        optimizer.step = lambda: calls.append(1) or step()
    pair.step()
    pair.step()
    assert calls == [1, 1]
    assert pair.distance() < 1e-5


def test_learning_rates_and_gradients_are_those_of_the_optimizer():
    pair = Pair(TORQUES, {})
    for rate in (1e-2, 1e-3, 0.0):
        for optimizers in pair.optimizers:
            optimizers[0].param_groups[0]["lr"] = rate
        pair.step()
    assert pair.distance() < 1e-5
    for p, q in zip(pair.groups[0][0], pair.groups[1][0]):
        assert close(p.grad, q.grad)


def test_a_loss_or_gradient_that_is_not_finite_changes_nothing():
    pair = Pair(TORQUES, {})
    obs, before = (
        pair.numbers(BATCH, 5),
        nn.utils.parameters_to_vector(pair.policies[0].parameters()).clone(),
    )
    for actor, critic in zip(pair.actors, pair.critics):
        actor.act(obs)
        actor.score()
        critic.evaluate(obs)
        with pytest.raises(FloatingPointError, match="a loss is"):
            actor.descend(th.full((BATCH,), float("inf")))
        with pytest.raises(FloatingPointError, match="a loss is"):
            critic.descend(th.full((BATCH,), float("nan")))
    (log_std,) = (p for p in pair.groups[0][0] if p.shape == (3,) and p is pair.policies[0].log_std)
    assert th.equal(nn.utils.parameters_to_vector(pair.policies[0].parameters()), before)
    assert log_std.isfinite().all()


@pytest.mark.parametrize(
    "policy",
    [
        Doubled(OBS, TORQUES, lambda _: 1e-3),
        ActorCriticPolicy(OBS, TORQUES, lambda _: 1e-3, activation_fn=nn.ELU),
        ActorCriticPolicy(spaces.Box(-1, 1, (2, 3)), TORQUES, lambda _: 1e-3),
        ActorCriticPolicy(spaces.Discrete(3), TORQUES, lambda _: 1e-3),
    ],
    ids=["methods", "elu", "matrix", "one-hot"],
)
def test_what_the_engine_does_not_know_takes_the_autograd_path(policy):
    actor, critic = split_parameters(policy)
    optimizer = th.optim.Adam(actor)
    assert type(make_actor(policy, actor, optimizer)) is AutogradActor
    assert type(make_critic(policy, critic, optimizer)) is AutogradCritic


def test_multi_discrete_actions_take_the_autograd_path_and_their_critic_the_engine():
    policy = ActorCriticPolicy(OBS, spaces.MultiDiscrete([2, 3]), lambda _: 1e-3)
    actor, critic = split_parameters(policy)
    optimizer = th.optim.Adam(actor)
    assert type(make_actor(policy, actor, optimizer)) is AutogradActor
    assert type(make_critic(policy, critic, optimizer)) is EngineCritic


def test_decoupled_weight_decay_of_adam_is_that_of_autograd():
    settings = {"lr": 1e-2, "weight_decay": 0.5, "fused": True, "decoupled_weight_decay": True}
    try:
        th.optim.Adam([th.zeros(1)], **settings)
    except TypeError:
        pytest.skip("this torch has no such option")
    pair = Pair(TORQUES, {}, th.optim.Adam, settings)
    for _ in range(20):
        pair.step()
    assert pair.distance() < 1e-5


def test_an_option_that_is_not_known_leaves_the_step_to_the_optimizer():
    optimizer = th.optim.Adam([nn.Parameter(th.zeros(1))], fused=True)
    assert is_fused(optimizer)
    optimizer.param_groups[0]["new"] = True
    assert not is_fused(optimizer)
