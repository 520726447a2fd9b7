import subprocess
import sys

import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from torch import nn

from sb3_course.common.networks.parameter_groups import split_parameters
from sb3_course.estimators.trajectory_gradients import TrajectoryGradients, _chunks

GENERATOR = th.Generator().manual_seed(0)
LENGTHS = [4, 1, 7, 3]
TRAJECTORY = th.repeat_interleave(th.arange(4), th.tensor(LENGTHS))
ACTIONS = {
    "box": (spaces.Box(-1, 1, (2,)), th.randn(15, 2, generator=GENERATOR)),
    "discrete": (spaces.Discrete(3), th.arange(15) % 3),
    "multidiscrete": (spaces.MultiDiscrete([2, 3]), th.stack([th.arange(15) % 2] * 2, 1)),
    "multibinary": (spaces.MultiBinary(2), (th.arange(30) % 2).reshape(15, 2).float()),
}
OBSERVATIONS = {
    "box": (spaces.Box(-1, 1, (3,)), th.randn(15, 3, generator=GENERATOR)),
    "discrete": (spaces.Discrete(4), th.arange(15) % 4),
    "dict": (
        spaces.Dict({"a": spaces.Box(-1, 1, (3,)), "b": spaces.Discrete(2)}),
        {"a": th.randn(15, 3, generator=GENERATOR), "b": th.arange(15) % 2},
    ),
}


def one_by_one(policy, parameters, obs, actions, weights):
    """Compute the same by plain autograd, one trajectory and weight at a time."""
    rows, start = [], 0
    for length in LENGTHS:
        part = slice(start, start + length)
        start += length
        piece = {k: v[part] for k, v in obs.items()} if isinstance(obs, dict) else obs[part]
        log_prob = policy.get_distribution(piece).log_prob(actions[part])
        for w in range(weights.shape[1]):
            gradients = th.autograd.grad(
                (log_prob * weights[part, w]).sum(), parameters, retain_graph=True
            )
            rows.append(th.cat([g.flatten() for g in gradients]))
    return th.stack(rows).reshape(len(LENGTHS), weights.shape[1], -1)


def test_a_parameter_that_no_probability_depends_on_has_none():
    """Also where torch.func is not used, since it mixes up the weights of PReLU."""
    (obs_space, obs), (action_space, actions) = OBSERVATIONS["box"], ACTIONS["discrete"]
    for activation in (nn.Tanh, nn.PReLU):
        policy = ActorCriticPolicy(
            obs_space, action_space, lambda _: 0.0, activation_fn=activation
        ).requires_grad_(False)
        unused = nn.Parameter(th.ones(3))
        policy.register_parameter("unused", unused)
        gradients = TrajectoryGradients(
            policy, [unused], obs, actions, th.ones(15, 1), TRAJECTORY
        ).whole()
        assert th.equal(gradients, th.zeros(4, 1, 3))


@pytest.mark.parametrize("chunk", [1, 9, 1000])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_gradients_are_those_of_plain_autograd(observation, action, chunk):
    (obs_space, obs), (action_space, actions) = OBSERVATIONS[observation], ACTIONS[action]
    kind = MultiInputActorCriticPolicy if observation == "dict" else ActorCriticPolicy
    th.manual_seed(0)
    policy = kind(obs_space, action_space, lambda _: 1e-3)
    parameters, _ = split_parameters(policy)
    weights = th.randn(15, 2)
    expected = one_by_one(policy, parameters, obs, actions, weights)
    got = TrajectoryGradients(policy, parameters, obs, actions, weights, TRAJECTORY, chunk).whole()
    assert th.allclose(got, expected, atol=1e-5)
    assert policy.observation_space is obs_space
    assert policy.get_distribution(obs).log_prob(actions).shape == (15,)  # still usable


class Recurrent(BaseFeaturesExtractor):
    """Reads an observation number by number, for which ``vmap`` has no rule."""

    def __init__(self, space):
        super().__init__(space, 4)
        self.cell = nn.GRU(1, 4, batch_first=True)

    def forward(self, obs):
        return self.cell(obs.unsqueeze(-1))[1][0]


class Deciding(BaseFeaturesExtractor):
    """Decides by what it sees, which ``vmap`` does not allow."""

    def __init__(self, space):
        super().__init__(space, 4)
        self.layers = nn.ModuleList(nn.Linear(3, 4) for _ in range(2))

    def forward(self, obs):
        return self.layers[int(obs.sum().item() > 1e9)](obs)


class Log(BaseFeaturesExtractor):
    """Not defined at the zeros of a padding."""

    def __init__(self, space):
        super().__init__(space, 3)

    def forward(self, obs):
        return th.log(obs)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize(
    "policy_kwargs",
    [
        {"activation_fn": nn.PReLU},
        {"features_extractor_class": Recurrent},
        {"features_extractor_class": Deciding},
        {"features_extractor_class": Log},
    ],
    ids=str,
)
def test_gradients_of_other_peoples_networks(policy_kwargs, width):
    th.manual_seed(0)
    obs_space, obs = spaces.Box(0.1, 10, (3,)), th.rand(15, 3, generator=GENERATOR) + 0.1
    action_space, actions = ACTIONS["box"]
    policy = ActorCriticPolicy(obs_space, action_space, lambda _: 1e-3, **policy_kwargs)
    parameters = [p for p in split_parameters(policy)[0] if _reached(policy, p, obs, actions)]
    weights = th.randn(15, width)
    expected = one_by_one(policy, parameters, obs, actions, weights)
    got = TrajectoryGradients(policy, parameters, obs, actions, weights, TRAJECTORY).whole()
    assert got.isfinite().all() and th.allclose(got, expected, atol=1e-5)


def test_a_parameter_that_no_state_uses_has_the_gradient_0():
    th.manual_seed(0)
    obs = th.rand(15, 3, generator=GENERATOR)
    policy = ActorCriticPolicy(
        spaces.Box(0, 1, (3,)), ACTIONS["box"][0], lambda _: 1e-3, features_extractor_class=Deciding
    )
    unused = list(policy.features_extractor.layers[1].parameters())
    weights, actions = th.ones(15, 1), ACTIONS["box"][1]
    got = TrajectoryGradients(policy, unused, obs, actions, weights, TRAJECTORY).whole()
    assert got.shape == (len(LENGTHS), 1, 16) and not got.any()


def _reached(policy, parameter, obs, actions):
    log_prob = policy.get_distribution(obs).log_prob(actions).sum()
    return th.autograd.grad(log_prob, parameter, allow_unused=True)[0] is not None


@pytest.mark.parametrize("share", [True, False])
def test_a_features_extractor_keeps_its_parameters(share):
    th.manual_seed(0)
    policy = ActorCriticCnnPolicy(
        spaces.Box(0, 255, (1, 36, 36), dtype="uint8"),
        spaces.Discrete(3),
        lambda _: 1e-3,
        share_features_extractor=share,
        features_extractor_kwargs={"features_dim": 4},
    )
    parameters, _ = split_parameters(policy)
    before = [*map(id, policy.parameters())]
    obs = th.randint(0, 255, (15, 1, 36, 36), dtype=th.uint8)
    batch = (obs, ACTIONS["discrete"][1], th.randn(15, 2))
    for _ in range(2):
        got = TrajectoryGradients(policy, parameters, *batch, TRAJECTORY).whole()
        assert th.allclose(got, one_by_one(policy, parameters, *batch), atol=1e-4)
        assert [*map(id, policy.parameters())] == before


def test_images_that_are_not_divided_by_255():
    th.manual_seed(0)
    policy = ActorCriticCnnPolicy(
        spaces.Box(0, 255, (1, 36, 36), dtype="uint8"),
        spaces.Discrete(3),
        lambda _: 1e-3,
        features_extractor_kwargs={"features_dim": 4},
        normalize_images=False,
    )
    parameters, _ = split_parameters(policy)
    obs = th.randint(0, 255, (15, 1, 36, 36), dtype=th.uint8)
    batch = (obs, ACTIONS["discrete"][1], th.randn(15, 2))
    expected = one_by_one(policy, parameters, *batch)
    assert th.allclose(
        TrajectoryGradients(policy, parameters, *batch, TRAJECTORY).whole(),
        expected,
        rtol=1e-4,
        atol=1e-2,
    )
    assert expected.abs().max() > 10  # a difference of 255 times would show


class ReadsItsSpace(ActorCriticPolicy):
    """Divides observations by the bounds of its space."""

    def get_distribution(self, obs):
        return super().get_distribution(obs / th.as_tensor(self.observation_space.high))


class PreprocessesByItself(ActorCriticPolicy):
    """Takes bytes, also where it gets floats."""

    def get_distribution(self, obs):
        return super().get_distribution(obs.float() / 255 - 0.5)


@pytest.mark.parametrize(
    ("kind", "space"),
    [
        (ReadsItsSpace, spaces.Box(-5, 5, (3,))),
        (PreprocessesByItself, spaces.Box(0, 255, (36, 36, 3), "uint8")),
    ],
)
def test_a_policy_may_do_what_it_likes_with_observations_and_their_space(kind, space):
    space.seed(0)
    th.manual_seed(0)
    policy = kind(space, spaces.Discrete(3), lambda _: 1e-3, net_arch=[4])
    obs = th.stack([th.as_tensor(space.sample()) for _ in range(15)])
    actions, weights = th.arange(15) % 3, th.randn(15, 2)
    parameters, _ = split_parameters(policy)
    expected = one_by_one(policy, parameters, obs, actions, weights)
    got = TrajectoryGradients(policy, parameters, obs, actions, weights, TRAJECTORY).whole()
    assert th.allclose(got, expected, atol=1e-5)


class Noisy(FlattenExtractor):
    """Draws random numbers whenever it is called."""

    def forward(self, observations):
        return super().forward(observations) + 0 * th.rand_like(observations)


def test_a_features_extractor_may_draw_random_numbers():
    (obs_space, obs), (action_space, actions) = OBSERVATIONS["box"], ACTIONS["box"]
    policy = ActorCriticPolicy(
        obs_space, action_space, lambda _: 1e-3, features_extractor_class=Noisy
    )
    parameters, _ = split_parameters(policy)
    batch = (obs, actions, th.randn(15, 2))
    got = TrajectoryGradients(policy, parameters, *batch, TRAJECTORY).whole()
    assert th.allclose(got, one_by_one(policy, parameters, *batch), atol=1e-5)


def test_multipliers_of_double_precision():
    policy = ActorCriticPolicy(*(OBSERVATIONS["box"][0], ACTIONS["box"][0]), lambda _: 1e-3)
    parameters, _ = split_parameters(policy)
    obs, actions = OBSERVATIONS["box"][1], ACTIONS["box"][1]
    weights = th.randn(15, 2)
    single = TrajectoryGradients(policy, parameters, obs, actions, weights, TRAJECTORY).whole()
    double = TrajectoryGradients(
        policy, parameters, obs, actions, weights.double(), TRAJECTORY
    ).whole()
    assert double.dtype == th.float32
    assert th.equal(single, double)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 100))
def test_chunks_are_within_their_bound_and_few(lengths, bound):
    """Padded to its longest trajectory a chunk is within the bound, and one more would not be."""
    chunks = _chunks(lengths, bound)
    assert sorted(i for chunk in chunks for i in chunk) == list(range(len(lengths)))
    for chunk in chunks:
        longest = max(lengths[i] for i in chunk)
        assert len(chunk) == 1 or longest * len(chunk) <= bound
        if chunk is not chunks[-1]:
            assert longest * (len(chunk) + 1) > bound


def test_chunks_hold_trajectories_of_similar_length():
    assert _chunks([1, 9, 2, 8], 18) == [[1, 3], [2, 0]]


MEMORY = """
import resource, torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from sb3_course.common.networks.parameter_groups import split_parameters
from sb3_course.estimators.trajectory_gradients import TrajectoryGradients
th.set_num_threads(1)
policy = ActorCriticPolicy(spaces.Box(-1, 1, (17,)), spaces.Box(-1, 1, (6,)), lambda _: 1e-3)
parameters, _ = split_parameters(policy)
def run(n, length):
    m = n * length
    TrajectoryGradients(policy, parameters, th.randn(m, 17), th.randn(m, 6), th.randn(m, 2),
                        th.arange(n).repeat_interleave(length)).whole()
run(2, 10)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
run(64, 1000)
print(peak() - before)
"""


def test_memory_is_bounded():
    """64 trajectories of 1,000 steps and a 64x64 policy, in a process of its own: under 200 MB."""
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 200, f"{run.stdout} MB"
