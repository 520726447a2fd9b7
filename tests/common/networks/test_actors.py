import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from sb3_course.common.networks.actors import make_actor
from tests.common.networks.helpers import Doubled

VECTOR, MATRIX = spaces.Box(-1, 1, (5,)), spaces.Box(-1, 1, (2, 3))
TORQUES, CHOICE = spaces.Box(-1, 1, (3,)), spaces.Discrete(4)


def sampler(policy):
    parameters = list(policy.parameters())
    return make_actor(policy, parameters, th.optim.Adam(parameters)).sample


@pytest.mark.parametrize(
    ("kind", "observations", "actions", "kwargs"),
    [
        (ActorCriticPolicy, VECTOR, TORQUES, {}),
        (ActorCriticPolicy, VECTOR, TORQUES, {"activation_fn": nn.ELU, "log_std_init": -2}),
        (ActorCriticPolicy, VECTOR, TORQUES, {"net_arch": []}),
        (ActorCriticPolicy, MATRIX, TORQUES, {}),
        (ActorCriticPolicy, VECTOR, CHOICE, {}),
        (ActorCriticPolicy, VECTOR, CHOICE, {"activation_fn": nn.ReLU}),
        (ActorCriticPolicy, VECTOR, spaces.MultiBinary(3), {}),
        (Doubled, VECTOR, TORQUES, {}),
    ],
)
def test_actions_are_those_that_the_policy_samples_bit_for_bit(kind, observations, actions, kwargs):
    policy = kind(observations, actions, lambda _: 1e-3, **kwargs)
    obs = th.rand(17, *observations.shape)
    with th.no_grad():
        th.manual_seed(0)
        expected = [policy.get_distribution(obs).get_actions() for _ in range(3)]
        th.manual_seed(0)
        sample = sampler(policy)
        assert all(th.equal(sample(obs), e) for e in expected)


def test_a_policy_with_hooks_is_called_through_its_methods():
    policy = ActorCriticPolicy(VECTOR, TORQUES, lambda _: 1e-3)
    obs, calls = th.rand(17, 5), []
    policy.action_net.register_forward_hook(lambda *_: calls.append("actor"))
    sampler(policy)(obs)
    assert calls == ["actor"]
