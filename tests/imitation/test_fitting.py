from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import A2C, DQN

from sb3_course import BC, DAgger
from sb3_course.common.errors import UserError
from sb3_course.imitation import as_expert, demonstrate
from sb3_course.imitation.cs285 import CS285Expert
from sb3_course.imitation.fitting import fit_actions
from tests.contract.helpers import any_env

OBS = spaces.Box(-1, 1, (3,))
ONE = spaces.Box(-1, 1, (2,))


def owner(observation_space=OBS, action_space=ONE):
    return SimpleNamespace(observation_space=observation_space, action_space=action_space)


@pytest.mark.parametrize("given", ["model", "policy", "file", "function"])
def test_dagger_refuses_an_expert_of_other_observations_before_it_trains(given, tmp_path):
    model = A2C("MlpPolicy", any_env(spaces.Box(-1, 1, (4,)), ONE), device="cpu", seed=0)
    expert = {"model": model, "policy": model.policy, "function": as_expert(model)}.get(given)
    if given == "file":
        DAgger("MlpPolicy", model.env, seed=0, n_eval_episodes=0).save(tmp_path / "a.zip")
        expert = tmp_path / "a.zip"
    with pytest.raises(UserError, match="observations are in"):
        DAgger("MlpPolicy", any_env(OBS, ONE), expert, n_eval_episodes=0)


def test_a_discrete_expert_with_more_actions_is_refused():
    model = DQN("MlpPolicy", any_env(OBS, spaces.Discrete(3)), device="cpu", buffer_size=10)
    with pytest.raises(UserError, match=r"Discrete\(3\).*Discrete\(2\)"):
        DAgger("MlpPolicy", any_env(OBS, spaces.Discrete(2)), model)
    with pytest.raises(UserError, match=r"Discrete\(3\).*Discrete\(2\)"):
        demonstrate(model, any_env(OBS, spaces.Discrete(2)))


def test_an_expert_of_the_homework_with_more_actions_is_refused():
    layers = [(np.zeros((3, 4)), np.zeros(4))]
    expert = CS285Expert(np.zeros(3), np.ones(3), layers, "tanh")
    with pytest.raises(UserError, match="its actions are 4 numbers"):
        DAgger("MlpPolicy", any_env(OBS, ONE), expert)
    assert expert.action_size == 4
    DAgger("MlpPolicy", any_env(OBS, spaces.Box(-1, 1, (2, 2))), expert)


IMAGES = spaces.Box(0, 255, (36, 36, 3), np.uint8)


@pytest.mark.parametrize("space", [spaces.Discrete(4), spaces.Dict({"a": OBS}), IMAGES])
def test_an_expert_of_the_homework_takes_rows_of_numbers(space):
    expert = CS285Expert(np.zeros(3), np.ones(3), [(np.zeros((3, 2)), np.zeros(2))], "tanh")
    with pytest.raises(UserError, match="it takes 3 numbers, observations of the environment are"):
        as_expert(expert, action_space=ONE, observation_space=space)
    obs = {"a": np.zeros((2, 3))} if isinstance(space, spaces.Dict) else np.zeros((2, 36, 36, 3))
    with pytest.raises(UserError, match=r"takes observations of shape \(M, 3\), got an array of"):
        expert(obs)


def test_a_data_set_of_another_box_is_refused():
    """A data set of Minari says which actions it holds."""
    scaled = owner(action_space=spaces.Box(-2, 2, (2,)))
    scaled.iterate_episodes = lambda: [
        SimpleNamespace(observations=np.zeros((4, 3)), actions=np.zeros((3, 2)))
    ]
    with pytest.raises(UserError, match=r"demonstrations do not fit.*RescaleAction"):
        BC("MlpPolicy", any_env(OBS, ONE), demonstrations=scaled)
    scaled.action_space = ONE
    assert BC("MlpPolicy", any_env(OBS, ONE), demonstrations=scaled).dataset.size == 3


def test_an_equal_task_is_none_other():
    model = A2C("MlpPolicy", gym.make("Pendulum-v1"), device="cpu")
    assert DAgger("MlpPolicy", "Pendulum-v1", model).expert is model


def test_actions_too_large_for_float32_are_refused():
    with pytest.raises(UserError, match="actions of transition 1 are not finite"):
        fit_actions(np.array([[0.0], [1e300]]), spaces.Box(-1, 1, (1,)))
