"""What a policy is made of: nothing that runs between its layers is passed over."""

import copy

import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import prune
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sb3_course import NPG, REINFORCE, BatchActorCritic, OnlineActorCritic
from sb3_course.common.networks.actors import AutogradActor, make_actor
from sb3_course.common.networks.critics import AutogradCritic, make_critic
from sb3_course.common.networks.parameter_groups import split_parameters
from sb3_course.imitation import BC
from tests.common.networks.test_engine import OBS, TORQUES, Pair, close


def changed(change):
    """Return a policy with a change at the two heads, which are what the engine might overlook."""
    policy = ActorCriticPolicy(OBS, TORQUES, lambda _: 1e-3)
    change(policy, policy.action_net)
    change(policy, policy.value_net)
    return policy


def doubled_forward(policy, head):
    head.forward = lambda x: 2 * nn.Linear.forward(head, x)


def doubled_method(policy, head):
    distribution, values = type(policy).get_distribution, type(policy).predict_values
    policy.get_distribution = lambda obs: distribution(policy, 2 * obs)
    policy.predict_values = lambda obs: values(policy, 2 * obs)


class Halved(FlattenExtractor):
    """Features that are not the observation."""

    def forward(self, obs):
        return super().forward(obs) / 2


def other_features(policy, head):
    policy.pi_features_extractor = policy.vf_features_extractor = Halved(policy.observation_space)


def doubled_extractor(policy, head):
    extractor = policy.mlp_extractor
    of_actor, of_critic = extractor.forward_actor, extractor.forward_critic
    extractor.forward_actor = lambda features: of_actor(2 * features)
    extractor.forward_critic = lambda features: of_critic(2 * features)


def another_flatten(policy, head):
    policy.features_extractor.flatten = nn.Sequential(nn.Flatten(), nn.Softsign())


CHANGES = {
    "forward hook": lambda _, head: head.register_forward_hook(lambda *_: None),
    "forward pre-hook": lambda _, head: head.register_forward_pre_hook(lambda *_: None),
    "backward hook": lambda _, head: head.register_full_backward_hook(lambda *_: None),
    "backward pre-hook": lambda _, head: head.register_full_backward_pre_hook(lambda *_: None),
    "gradient hook": lambda _, head: head.weight.register_hook(lambda g: g / 2),
    "pruning": lambda _, head: prune.random_unstructured(head, "weight", 0.5),
    "forward": doubled_forward,
    "policy's methods": doubled_method,
    "features": other_features,
    "extractor's methods": doubled_extractor,
    "flatten": another_flatten,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_comes_between_the_layers_is_run(change):
    policy = changed(change)
    actor, critic = split_parameters(policy)
    assert type(make_actor(policy, actor, th.optim.Adam(actor))) is AutogradActor
    assert type(make_critic(policy, critic, th.optim.Adam(critic))) is AutogradCritic
    obs = th.linspace(-1, 1, 10).view(2, 5)
    th.manual_seed(0)
    expected = policy.get_distribution(obs).get_actions()
    th.manual_seed(0)
    assert th.equal(make_actor(policy, actor, th.optim.Adam(actor)).sample(obs), expected)


def current(pair):
    return [
        actor.is_current(policy, group)
        for actor, policy, (group, _) in zip(pair.actors, pair.policies, pair.groups, strict=True)
    ]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_actor_is_not_current_once_something_comes_between_the_layers(change):
    pair = Pair(TORQUES, {})
    pair.step()
    assert current(pair)[0]
    change(pair.policies[0], pair.policies[0].action_net)
    assert not current(pair)[0]


def test_an_actor_is_not_current_once_a_module_or_a_parameter_is_another():
    def layer(policy):
        policy.mlp_extractor.policy_net[1] = nn.ReLU()

    def more(policy):
        policy.mlp_extractor.policy_net.append(nn.Dropout())

    def head(policy):
        policy.action_net = nn.Linear(64, 3)

    def weights(policy):
        policy.load_state_dict(copy.deepcopy(policy.state_dict()), assign=True)

    def distribution(policy):
        policy.action_dist = SquashedDiagGaussianDistribution(3)

    for change in (layer, more, head, weights, distribution):
        pair = Pair(TORQUES, {})
        assert all(current(pair))
        for policy in pair.policies:
            change(policy)
        assert not any(current(pair)), change


def test_hooks_of_all_modules_and_of_all_optimizers_are_run():
    policy, calls = ActorCriticPolicy(OBS, TORQUES, lambda _: 1e-3), []
    actor, _ = split_parameters(policy)
    handle = register_module_forward_hook(lambda *_: None)
    try:
        assert type(make_actor(policy, actor, th.optim.Adam(actor))) is AutogradActor
    finally:
        handle.remove()
    handle = register_optimizer_step_pre_hook(lambda *_: calls.append(1))
    try:
        pair = Pair(TORQUES, {})
        pair.step()
        pair.step()
    finally:
        handle.remove()
    assert len(calls) == 8  # two steps of two optimizers of two policies


def tied(policy):
    policy.mlp_extractor.value_net[0].weight = policy.mlp_extractor.policy_net[0].weight


def same_network(policy):
    policy.mlp_extractor.value_net = policy.mlp_extractor.policy_net


@pytest.mark.parametrize("tie", [tied, same_network])
def test_a_critic_with_layers_of_the_actor_leaves_them_alone(tie):
    policy = ActorCriticPolicy(OBS, TORQUES, lambda _: 1e-3)
    tie(policy)
    _, group = split_parameters(policy)
    shared = policy.mlp_extractor.policy_net[0].weight
    before, head = shared.clone(), policy.value_net.weight.clone()
    critic = make_critic(policy, group, th.optim.Adam(group))
    assert type(critic) is AutogradCritic
    critic.fit(th.ones(4, 5), th.ones(4), slice(None))
    assert th.equal(shared, before)
    assert not th.equal(policy.value_net.weight, head)


def test_deviations_that_are_not_trained_take_the_autograd_path():
    policy = ActorCriticPolicy(OBS, TORQUES, lambda _: 1e-3)
    log_std = policy.log_std.detach().clone()
    del policy.log_std
    policy.register_buffer("log_std", log_std)
    actor, _ = split_parameters(policy)
    assert type(make_actor(policy, actor, th.optim.Adam(actor))) is AutogradActor


def test_an_optimizer_may_be_replaced():
    pair = Pair(TORQUES, {})
    pair.step()
    for i, (actor, critic) in enumerate(zip(pair.actors, pair.critics)):
        actor.optimizer, critic.optimizer = (th.optim.SGD(part, 0.1) for part in pair.groups[i])
    before = [p.clone() for p in pair.groups[0][0]]
    pair.step()
    for old, new in zip(before, pair.groups[0][0]):
        assert close(new, old - 0.1 * new.grad)
    assert pair.distance() < 1e-6


class Once(BaseCallback):
    """Change something at a step."""

    def __init__(self, change, step=3):
        super().__init__()
        self.change, self.step = change, step

    def _on_step(self):
        if self.n_calls == self.step:
            self.change(self.model)
        return True


def online():
    return OnlineActorCritic("MlpPolicy", "Pendulum-v1", seed=0)


def batches(cls):
    return lambda: cls("MlpPolicy", "Pendulum-v1", n_steps=5, seed=0)


def clone():
    demonstrations = {"obs": th.rand(16, 3).numpy(), "acts": th.rand(16, 1).numpy()}
    return BC("MlpPolicy", "Pendulum-v1", demonstrations, batch_size=4, seed=0)


MODELS = {"online": online, "BC": clone}
MODELS |= {cls.__name__: batches(cls) for cls in (NPG, REINFORCE, BatchActorCritic)}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def trains(model, layer):
    """Return whether the weights of a layer and what the optimizers hold are the policy's."""
    optimizers = [model.policy.optimizer, getattr(model, "critic_optimizer", None)]
    held = {p for o in optimizers if o for group in o.param_groups for p in group["params"]}
    return bool((layer.weight != 0.01).any()) and held <= set(model.policy.parameters())


def new_layer(model, inputs, outputs):
    layer = nn.Linear(inputs, outputs, device=model.device)
    nn.init.constant_(layer.weight, 0.01)
    return layer


@pytest.mark.parametrize("when", ["before", "during"])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        pytest.param(make, head, id=f"{name}-{head}")
        for name, make in MODELS.items()
        for head in ("action_net", "value_net")
        if (name, head) != ("BC", "value_net")  # which nothing trains
    ],
)
def test_a_head_that_is_replaced_is_trained(make, when, name):
    model = make()
    layer = new_layer(model, 64, 1)
    if when == "before":
        setattr(model.policy, name, layer)
        model.learn(40)
    else:
        model.learn(40, Once(lambda model: setattr(model.policy, name, layer)))
    assert trains(model, layer)


@every_model
def test_weights_that_are_assigned_during_training_are_trained(make):
    def assign(model):
        model.policy.load_state_dict(copy.deepcopy(model.policy.state_dict()), assign=True)
        with th.no_grad():
            model.policy.action_net.weight.fill_(0.01)

    model = make().learn(40, Once(assign))
    assert trains(model, model.policy.action_net)


def test_a_distribution_that_is_replaced_between_two_trainings_acts():
    model = batches(NPG)().learn(5)
    model.policy.action_dist = SquashedDiagGaussianDistribution(1)
    assert abs(model.learn(400, Once(lambda _: None)).rollout.actions).max() <= 1
    model.ent_coef = 0.1
    model.policy.action_dist = SquashedDiagGaussianDistribution(1)
    with pytest.raises(ValueError, match="ent_coef must be 0 with a squashed Gaussian"):
        model.learn(5)


@pytest.mark.parametrize("make", [online, clone], ids=["online", "BC"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_during_training_is_followed(make, change):
    def actor(model):
        return model._actor if isinstance(model, BC) else model._made[0]

    def at_the_actor(model):
        assert type(actor(model)) is not AutogradActor
        change(model.policy, model.policy.action_net)

    seen = []
    callbacks = [Once(at_the_actor), Once(lambda model: seen.append(type(actor(model))), 5)]
    make().learn(40, callbacks)
    assert seen == [AutogradActor]


@pytest.mark.parametrize("make", [online, clone], ids=["online", "BC"])
def test_an_optimizer_that_is_replaced_during_training_takes_the_next_step(make):
    def freeze(model):
        model.actor_optimizer = model.policy.optimizer = th.optim.SGD(model._actor_group, 0.0)
        model.lr_schedule = lambda _: 0.0
        kept.append(model.policy.action_net.weight.clone())

    kept = []
    model = make().learn(40, Once(freeze))
    assert th.equal(model.policy.action_net.weight, kept[0])


@pytest.mark.parametrize("make", [online, clone], ids=["online", "BC"])
def test_a_copy_made_during_training_is_trained_apart(make):
    copies = []
    model = make().learn(40, Once(lambda model: copies.append(copy.deepcopy(model))))
    weight, copied = model.policy.action_net.weight, copies[0].policy.action_net.weight
    before, trained = copied.clone(), weight.clone()
    copies[0].learn(40)
    assert not th.equal(copied, before)
    assert th.equal(weight, trained)


def test_moments_that_are_reset_start_anew():
    """In place, one by one, or with the optimizer's whole state."""

    def clear(optimizer):
        optimizer.state.clear()

    def forget(optimizer):
        for state in optimizer.state.values():
            state["exp_avg"] = th.zeros_like(state["exp_avg"])

    for reset in (clear, forget):
        pair = Pair(TORQUES, {})
        for _ in range(3):
            pair.step()
        for optimizers in pair.optimizers:
            for optimizer in optimizers:
                reset(optimizer)
        for _ in range(2):
            pair.step()
        assert pair.distance() < 1e-6, reset


def test_tensors_that_are_replaced_after_the_forward_pass_take_its_step():
    pair = Pair(TORQUES, {})
    pair.step()
    obs, targets = pair.numbers(4, 5), pair.numbers(4)
    for critic in pair.critics:
        critic.evaluate(obs)
    weight = pair.policies[0].value_net.weight
    weight.data = weight.data.clone()
    for critic in pair.critics:
        critic.descend(targets)
    assert pair.distance() < 1e-6
