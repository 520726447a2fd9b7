"""Every algorithm learns and predicts in every space that SB3's policies take."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from tests.contract.helpers import (
    ACTIONS,
    OBSERVATIONS,
    any_env,
    copy_parameters,
    equal_tensors,
    every_class,
    every_variant,
    small_model,
)
from tests.worlds import RandomSpaces


def assert_learns_and_predicts(model, total_timesteps):
    before = copy_parameters(model)
    model.learn(total_timesteps)
    assert not equal_tensors(before, copy_parameters(model))
    action, _ = model.predict(model.observation_space.sample())
    assert model.action_space.contains(np.asarray(action, dtype=model.action_space.dtype))


@every_variant
@pytest.mark.parametrize("actions", ACTIONS)
def test_every_action_space(algorithm, kwargs, actions):
    model = small_model(algorithm, any_env(action_space=ACTIONS[actions]), **kwargs)
    assert_learns_and_predicts(model, 100)


@every_variant
@pytest.mark.parametrize("observations", OBSERVATIONS)
def test_every_observation_space(algorithm, kwargs, observations):
    space = OBSERVATIONS[observations]
    policy = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    for actions in ("box", "discrete"):
        env = any_env(space, ACTIONS[actions])
        assert_learns_and_predicts(small_model(algorithm, env, policy, **kwargs), 60)


class SaysMore(RandomSpaces):
    """Returns a key that its space does not have, as for debugging."""

    def reset(self, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        return obs | {"debug": "at the start"}, info

    def step(self, action):
        obs, *rest = super().step(action)
        return (obs | {"debug": np.nan}, *rest)


@every_class
def test_keys_of_observations_that_the_space_does_not_have_are_left_out(algorithm):
    env = SaysMore(OBSERVATIONS["dict"], ACTIONS["discrete"])
    assert_learns_and_predicts(small_model(algorithm, env, "MultiInputPolicy"), 60)


@every_variant
@pytest.mark.parametrize("share", [True, False])
def test_images_train_the_actors_features_extractor(algorithm, kwargs, share):
    images = spaces.Box(0, 255, (36, 36, 1), dtype=np.uint8)
    policy_kwargs = {"share_features_extractor": share, "features_extractor_kwargs": {}}
    policy_kwargs["features_extractor_kwargs"]["features_dim"] = 8
    env = any_env(images)
    model = small_model(algorithm, env, "CnnPolicy", policy_kwargs=policy_kwargs, **kwargs)
    model.learn(20)
    before = copy_parameters(model)
    model.learn(40, reset_num_timesteps=False)
    moved = {k for k, v in copy_parameters(model).items() if not th.equal(v, before[k])}
    assert "features_extractor.cnn.0.weight" in moved
