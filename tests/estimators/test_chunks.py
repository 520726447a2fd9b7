import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy

from sb3_course import BatchActorCritic
from sb3_course.estimators.chunks import (
    CHUNK_BYTES,
    chunk_bytes,
    chunks,
    graph_bytes,
    transitions_per_chunk,
)
from tests.contract.helpers import OBSERVATIONS, any_env, small_model

VECTOR, ACTION = spaces.Box(-1, 1, (10,)), spaces.Box(-1, 1, (2,))


def mlp(*widths):
    return ActorCriticPolicy(VECTOR, ACTION, lambda _: 1e-3, net_arch=list(widths))


@pytest.mark.parametrize(("n", "size"), [(0, 3), (1, 3), (3, 3), (7, 3), (7, 100)])
def test_chunks_cover_each_row_once(n, size):
    parts = list(chunks(n, size))
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert all(0 < part.stop - part.start <= size for part in parts)


def test_a_graph_keeps_the_outputs_of_the_layers():
    """A unit more in each of two layers: two floats more."""
    difference = graph_bytes(mlp(65, 33)) - graph_bytes(mlp(64, 32))
    assert difference == 4 * 2
    assert graph_bytes(mlp(64, 32)) >= 4 * (10 + 64 + 32)


def test_the_wider_of_actor_and_critic_counts():
    narrow, wide = {"pi": [8], "vf": [8]}, {"pi": [8], "vf": [1000]}
    policies = [
        ActorCriticPolicy(VECTOR, ACTION, lambda _: 1e-3, net_arch=arch) for arch in (narrow, wide)
    ]
    assert graph_bytes(policies[1]) > graph_bytes(policies[0]) + 3000


def test_an_image_counts_as_floats_and_its_chunk_is_small():
    space = spaces.Box(0, 255, (4, 84, 84), dtype=np.uint8)
    policy = ActorCriticCnnPolicy(space, spaces.Discrete(6), lambda _: 1e-3)
    kept = graph_bytes(policy)
    assert kept > 4 * 4 * 84 * 84
    assert transitions_per_chunk(policy) == CHUNK_BYTES["cpu"] // kept < 100


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "xpu"])
def test_the_chunks_of_a_gpu_are_larger(device):
    assert chunk_bytes(th.device(device)) > 4 * chunk_bytes(th.device("cpu"))


def test_batches_of_small_policies_are_one_chunk():
    """The largest batch of the shipped grids: 8 environments, 250 steps and an episode of 1,000."""
    policy = ActorCriticPolicy(spaces.Box(-1, 1, (27,)), spaces.Box(-1, 1, (8,)), lambda _: 1e-3)
    assert transitions_per_chunk(policy) > 8 * 1250


def test_measuring_leaves_policy_and_random_numbers_as_they_were():
    policy = mlp(4)
    policy.log_std.requires_grad_(False)
    policy.set_training_mode(True)
    before, state = vars(policy.action_dist).copy(), th.get_rng_state()
    graph_bytes(policy)
    assert vars(policy.action_dist) == before and policy.training
    assert not policy.log_std.requires_grad and policy.action_net.weight.requires_grad
    assert th.equal(th.get_rng_state(), state)


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_every_observation_space_is_measured(observation):
    env = any_env(OBSERVATIONS[observation])
    policy = "MultiInputPolicy" if observation == "dict" else "MlpPolicy"
    assert small_model(BatchActorCritic, env, policy).chunk_size > 1000
