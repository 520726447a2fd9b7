"""The engine's Fisher-vector product against the one by autograd, and against a matrix."""

import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from sb3_course.common.networks.fisher import engine_fisher_vector_product
from sb3_course.common.networks.parameter_groups import split_parameters
from sb3_course.estimators.natural_gradient import fisher_vector_product

OBS = spaces.Box(-1, 1, (5,))
every_policy = pytest.mark.parametrize(
    ("space", "kwargs"),
    [
        (spaces.Box(-1, 1, (3,)), {"log_std_init": -0.7}),
        (spaces.Box(-1, 1, (3,)), {"net_arch": [], "log_std_init": 0.5}),
        (spaces.Box(-1, 1, (1,)), {"activation_fn": nn.ReLU, "net_arch": [9, 8, 7]}),
        (spaces.Discrete(4), {"ortho_init": False}),
        (spaces.Discrete(2), {"activation_fn": nn.ReLU}),
    ],
)


def policy_and_parameters(space, kwargs):
    th.manual_seed(0)
    policy = ActorCriticPolicy(OBS, space, lambda _: 1e-3, **kwargs)
    return policy, split_parameters(policy)[0]


def obs_chunks(obs, size):
    return lambda: iter(obs.split(size))


@every_policy
@pytest.mark.parametrize("size", [40, 15])
def test_products_are_those_of_autograd(space, kwargs, size):
    policy, parameters = policy_and_parameters(space, kwargs)
    obs = th.randn(40, 5)
    product = engine_fisher_vector_product(policy, parameters, obs_chunks(obs, size), 0.3)
    expected = fisher_vector_product(policy.get_distribution(obs), parameters, damping=0.3)
    for _ in range(3):  # the memory of a product is used again by the next
        v = th.randn(sum(p.numel() for p in parameters))
        one, other = product(v.clone()), expected(v)
        assert (one - other).norm() / other.norm() < 1e-6


def test_a_product_leaves_its_vector_and_the_gradients_unchanged():
    policy, parameters = policy_and_parameters(spaces.Box(-1, 1, (3,)), {})
    v = th.randn(sum(p.numel() for p in parameters))
    before = v.clone()
    engine_fisher_vector_product(policy, parameters, obs_chunks(th.randn(4, 5), 4), 0.1)(v)
    assert th.equal(v, before)
    assert all(p.grad is None for p in parameters)


def test_frozen_parameters_and_other_distributions_are_left_to_autograd():
    policy, parameters = policy_and_parameters(spaces.Box(-1, 1, (3,)), {})
    policy.log_std.requires_grad_(False)
    assert engine_fisher_vector_product(policy, parameters, list, 0.1) is None
    policy, parameters = policy_and_parameters(spaces.MultiBinary(2), {})
    assert engine_fisher_vector_product(policy, parameters, list, 0.1) is None
