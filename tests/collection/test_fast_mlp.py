import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from sb3_course.collection import fast_mlp

VECTOR, MATRIX = spaces.Box(-1, 1, (5,)), spaces.Box(-1, 1, (2, 3))
TORQUES, CHOICE = spaces.Box(-1, 1, (3,)), spaces.Discrete(4)


class Doubled(ActorCriticPolicy):
    """A policy with methods of its own, which have to be called."""

    def get_distribution(self, obs):
        return super().get_distribution(2 * obs)

    def predict_values(self, obs):
        return super().predict_values(2 * obs)


every_policy = pytest.mark.parametrize(
    ("kind", "observations", "actions", "kwargs", "plain"),
    [
        (ActorCriticPolicy, VECTOR, TORQUES, {}, True),
        (ActorCriticPolicy, VECTOR, TORQUES, {"activation_fn": nn.ReLU, "log_std_init": -2}, True),
        (ActorCriticPolicy, VECTOR, TORQUES, {"net_arch": []}, True),
        (ActorCriticPolicy, MATRIX, TORQUES, {}, False),
        (ActorCriticPolicy, VECTOR, CHOICE, {}, False),
        (Doubled, VECTOR, TORQUES, {}, False),
    ],
)


@every_policy
def test_actions_are_those_that_the_policy_samples_bit_for_bit(
    kind, observations, actions, kwargs, plain
):
    th.manual_seed(1)
    policy = kind(observations, actions, lambda _: 1e-3, **kwargs)
    assert fast_mlp._is_gaussian_mlp(policy) == plain
    obs = th.rand(17, *observations.shape)
    with th.no_grad():
        th.manual_seed(0)
        expected = [policy.get_distribution(obs).get_actions() for _ in range(3)]
        for make in (fast_mlp.make_sampler, fast_mlp.make_actor):
            th.manual_seed(0)
            sample = make(policy)
            for e in expected:
                got = sample(obs)
                assert th.equal(got if make is fast_mlp.make_sampler else got[0], e)


@every_policy
def test_log_probabilities_entropy_and_their_gradients_are_the_policys(
    kind, observations, actions, kwargs, plain
):
    th.manual_seed(1)
    policy = kind(observations, actions, lambda _: 1e-3, **kwargs)
    obs = th.rand(17, *observations.shape)
    sampled, score = fast_mlp.make_actor(policy)(obs)
    assert not sampled.requires_grad
    distribution = policy.get_distribution(obs)
    expected = distribution.log_prob(sampled), distribution.entropy().mean()
    scored = fast_mlp.make_scorer(policy)(obs, sampled)
    for one, other in [*zip(score(), expected), *zip(scored, expected)]:
        assert th.allclose(one, other, atol=1e-5)
        got, wanted = (
            th.autograd.grad(
                x.sum(), list(policy.parameters()), allow_unused=True, retain_graph=True
            )
            for x in (one, other)
        )
        for g, w in zip(got, wanted):
            assert (g is None) == (w is None)
            assert g is None or th.allclose(g, w, atol=1e-4)


@every_policy
def test_values_are_the_policys_bit_for_bit(kind, observations, actions, kwargs, plain):
    th.manual_seed(1)
    policy = kind(observations, actions, lambda _: 1e-3, **kwargs)
    obs = th.rand(17, *observations.shape)
    assert th.equal(fast_mlp.make_critic(policy)(obs), policy.predict_values(obs).flatten())


def test_a_policy_with_hooks_is_called_through_its_methods():
    policy = ActorCriticPolicy(VECTOR, TORQUES, lambda _: 1e-3)
    obs, calls = th.rand(17, 5), []
    policy.action_net.register_forward_hook(lambda *_: calls.append("actor"))
    policy.value_net.register_forward_hook(lambda *_: calls.append("critic"))
    fast_mlp.make_sampler(policy)(obs)
    fast_mlp.make_actor(policy)(obs)
    fast_mlp.make_critic(policy)(obs)
    assert calls == ["actor", "actor", "critic"]
