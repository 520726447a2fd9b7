import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

import sb3_course
from sb3_course import BC, NPG, OnlineActorCritic
from sb3_course.common.networks.parameter_groups import split_parameters
from tests.contract.test_other_peoples_code import demonstrations

IMAGES = spaces.Box(0, 255, (1, 36, 36), dtype="uint8")


def parameter_names(policy):
    """Return the names of the actor's parameters and of the critic's."""
    by_id = {id(p): name for name, p in policy.named_parameters()}
    return [{by_id[id(p)] for p in part} for part in split_parameters(policy)]


def test_each_layer_of_an_mlp_policy_is_the_actors_or_the_critics():
    actor, critic = parameter_names(
        ActorCriticPolicy(spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,)), lambda _: 0, [4])
    )
    assert actor == {
        "log_std",
        "mlp_extractor.policy_net.0.weight",
        "mlp_extractor.policy_net.0.bias",
        "action_net.weight",
        "action_net.bias",
    }
    assert critic == {
        "mlp_extractor.value_net.0.weight",
        "mlp_extractor.value_net.0.bias",
        "value_net.weight",
        "value_net.bias",
    }


@pytest.mark.parametrize("share", [True, False])
def test_a_shared_extractor_is_the_actors(share):
    policy = ActorCriticCnnPolicy(
        IMAGES,
        spaces.Discrete(2),
        lambda _: 0,
        share_features_extractor=share,
        features_extractor_kwargs={"features_dim": 4},
    )
    actor, critic = parameter_names(policy)
    assert any(name.startswith("features_extractor.") for name in actor)
    assert any(name.startswith("vf_features_extractor.") for name in critic) == (not share)


def test_what_depends_on_a_parameter_decides_whose_it_is_not_its_name():
    class Tempered(ActorCriticPolicy):
        def _build(self, lr_schedule):
            super()._build(lr_schedule)
            self.temperature = nn.Parameter(th.ones(()))
            self.unused = nn.Parameter(th.ones(()))

        def _get_action_dist_from_latent(self, latent_pi):
            return self.action_dist.proba_distribution(
                action_logits=self.action_net(latent_pi) / self.temperature
            )

    actor, critic = parameter_names(
        Tempered(spaces.Box(-1, 1, (2,)), spaces.Discrete(2), lambda _: 0, [4])
    )
    assert "temperature" in actor
    assert "unused" not in actor | critic


POSITIVE = spaces.Box(0.1, 10, (3,))
MASKED = spaces.Dict({"x": spaces.Box(-1, 1, (3,)), "mask": spaces.MultiBinary(2)})
INDEX = spaces.Box(1, 3, (1,), dtype="int64")


class Log(BaseFeaturesExtractor):
    """Defined at positive observations only."""

    def __init__(self, space):
        super().__init__(space, 3)

    def forward(self, obs):
        return th.log(obs)


class IndexFromOne(BaseFeaturesExtractor):
    """Defined at 1, 2 and 3 only."""

    def __init__(self, space):
        super().__init__(space, 4)
        self.table = nn.Embedding(3, 4)

    def forward(self, obs):
        return self.table(obs.long()[:, 0] - 1)


class Masked(MultiInputActorCriticPolicy):
    """Undefined where no action is allowed."""

    def get_distribution(self, obs):
        logits = super().get_distribution(obs).distribution.logits
        return self.action_dist.proba_distribution(logits.masked_fill(obs["mask"] == 0, -th.inf))

    def forward(self, obs, deterministic=False):
        distribution = self.get_distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.predict_values(obs), distribution.log_prob(actions)


class MaskedTask(gym.Env):
    observation_space, action_space = MASKED, spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._observe(), {}

    def step(self, action):
        self.t += 1
        return self._observe(), float(action), self.t == 5, False, {}

    def _observe(self):
        mask = np.array([[0, 1], [1, 0], [1, 1]], dtype=np.int8)[self.np_random.integers(3)]
        return {"x": self.np_random.uniform(-1, 1, 3).astype(np.float32), "mask": mask}


class RandomTask(gym.Env):
    """Observations are samples of the space."""

    action_space = spaces.Discrete(2)

    def __init__(self, space):
        self.observation_space = space
        space.seed(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        return self.observation_space.sample(), float(action), self.t == 5, False, {}


class ByTask(BaseFeaturesExtractor):
    """The first number of an observation chooses the head."""

    def __init__(self, space):
        super().__init__(space, 4)
        self.heads = nn.ModuleList(nn.Linear(space.shape[0], 4) for _ in range(30))

    def forward(self, obs):
        return th.stack([self.heads[int(row[0])](row) for row in obs])


@pytest.mark.parametrize("share", [True, False])
def test_what_no_example_reaches_goes_with_the_rest_of_its_module(share):
    space = spaces.Box(0, 29, (2,))
    policy = ActorCriticPolicy(
        space,
        spaces.Discrete(2),
        lambda _: 0,
        [],
        features_extractor_class=ByTask,
        share_features_extractor=share,
    )
    actor, critic = parameter_names(policy)
    everything = {name for name, _ in policy.named_parameters()}
    assert actor | critic == everything and not actor & critic
    of_critic = {n for n in everything if n.startswith(("vf_features_extractor", "value_net"))}
    assert critic == of_critic and (len(of_critic) == 2) == share


def test_an_error_of_a_policy_that_is_defined_nowhere_is_raised():
    class Broken(BaseFeaturesExtractor):
        def __init__(self, space):
            super().__init__(space, 3)

        def forward(self, obs):
            raise ZeroDivisionError("my own fault")

    with pytest.raises(ZeroDivisionError, match="my own fault"):
        NPG("MlpPolicy", "CartPole-v1", policy_kwargs={"features_extractor_class": Broken})


VARIANTS = [
    *((getattr(sb3_course, name), {}) for name in sb3_course.ALGORITHMS),
    (sb3_course.REINFORCE, {"baseline": "optimal"}),
    (sb3_course.ISPG, {"baseline": "optimal", "n_batches": 2}),
    (sb3_course.ISPG, {"balance_heuristic": True, "n_batches": 2}),
    (sb3_course.NPG, {"line_search": True}),
]
every_variant = pytest.mark.parametrize(("algorithm", "kwargs"), VARIANTS)


def make(algorithm, env_id="CartPole-v1", **kwargs):
    size = {} if algorithm is OnlineActorCritic else {"n_steps": 32}
    env = make_vec_env(env_id, 2, seed=0)
    return algorithm("MlpPolicy", env, seed=0, device="cpu", **size, **kwargs)


@every_variant
@pytest.mark.parametrize(
    ("space", "extractor"), [(POSITIVE, Log), (INDEX, IndexFromOne), (None, ByTask)]
)
def test_policies_that_are_defined_at_observations_of_the_space_only(
    algorithm, kwargs, space, extractor
):
    space = spaces.Box(0, 2.9, (2,)) if space is None else space
    size = {} if algorithm is OnlineActorCritic else {"n_steps": 16}
    policy_kwargs = {"features_extractor_class": extractor, "net_arch": [4]}
    env = make_vec_env(lambda: RandomTask(space), 2, seed=0)
    model = algorithm(
        "MlpPolicy", env, seed=0, device="cpu", policy_kwargs=policy_kwargs, **size, **kwargs
    )
    names = moved(model, 64)
    assert any("policy_net" in name for name in names)
    if extractor is not Log:
        part = (
            {"table.weight"} if extractor is IndexFromOne else {f"heads.{i}.bias" for i in range(3)}
        )
        assert part <= {name.partition(".")[2] for name in names}


@every_variant
def test_policies_that_mask_actions(algorithm, kwargs):
    size = {} if algorithm is OnlineActorCritic else {"n_steps": 16}
    env = make_vec_env(MaskedTask, 2, seed=0)
    model = algorithm(Masked, env, seed=0, device="cpu", **size, **kwargs)
    assert any("policy_net" in name for name in moved(model, 64))


def moved(model, steps=400):
    """Names of the parameters that learning changes."""
    before = {name: p.detach().clone() for name, p in model.policy.named_parameters()}
    model.learn(steps, reset_num_timesteps=False)
    return {n for n, p in model.policy.named_parameters() if not th.equal(p, before[n])}


@every_variant
@pytest.mark.parametrize("frozen", ["mlp_extractor.policy_net.0", "action_net", "value_net"])
def test_a_frozen_layer_stays_and_the_rest_learns(algorithm, kwargs, frozen):
    model = make(algorithm, **kwargs)
    names = {n for n, _ in model.policy.named_parameters()}
    uses_critic = kwargs.get("baseline", "value") == "value"
    learning = names if uses_critic else {n for n in names if "value" not in n}
    layer = model.policy.get_submodule(frozen).requires_grad_(False)
    those = {n for n in names if n.startswith(frozen)}
    assert moved(model) == learning - those
    layer.requires_grad_(True)
    assert those & learning <= moved(model)
    layer.requires_grad_(False)  # after steps that left gradients and moments
    assert not those & moved(model)


@every_variant
def test_a_frozen_deviation(algorithm, kwargs):
    model = make(algorithm, "Pendulum-v1", **kwargs)
    model.policy.log_std.requires_grad_(False)
    changed = moved(model)
    assert "log_std" not in changed and "action_net.weight" in changed


class ConstantDeviation(ActorCriticPolicy):
    """A Gaussian policy whose deviation is no parameter."""

    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        constant = self.log_std.detach().clone()
        del self.log_std
        self.register_buffer("log_std", constant)
        kwargs = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(self.parameters(), **kwargs)


@every_variant
def test_a_policy_with_a_constant_deviation(algorithm, kwargs):
    size = {} if algorithm is OnlineActorCritic else {"n_steps": 32}
    env = make_vec_env("Pendulum-v1", 2, seed=0)
    model = algorithm(ConstantDeviation, env, seed=0, device="cpu", **size, **kwargs)
    assert "action_net.weight" in moved(model)


class FrozenAtFirst(ActorCriticPolicy):
    """Its first layers are frozen when it is made, as for fine-tuning."""

    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        self.mlp_extractor.policy_net.requires_grad_(False)


@every_variant
def test_layers_frozen_at_construction_are_trained_once_they_are_unfrozen(algorithm, kwargs):
    size = {} if algorithm is OnlineActorCritic else {"n_steps": 32}
    env = make_vec_env("CartPole-v1", 2, seed=0)
    model = algorithm(FrozenAtFirst, env, seed=0, device="cpu", **size, **kwargs)
    assert not {n for n in moved(model) if "policy_net" in n}
    model.policy.mlp_extractor.policy_net.requires_grad_(True)
    assert {n for n in moved(model) if "policy_net" in n}


def test_behavioral_cloning_with_a_frozen_layer():
    model = BC("MlpPolicy", "CartPole-v1", demonstrations(), seed=0, device="cpu")
    assert isinstance(model.policy.action_net, nn.Linear)
    model.policy.action_net.requires_grad_(False)
    changed = moved(model, 1000)
    assert changed == {n for n in changed if "policy_net" in n} != set()
