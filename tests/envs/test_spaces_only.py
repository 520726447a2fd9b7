import numpy as np
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course.envs.spaces_only import SpacesOnlyEnv

OBS = spaces.Box(-1, 1, (3,), np.float32)
ACT = spaces.Box(-2, 2, (2,), np.float32)


def test_an_algorithm_is_built_on_the_spaces_alone():
    model = SAC("MlpPolicy", SpacesOnlyEnv(OBS, ACT), buffer_size=10, device="cpu")
    assert model.observation_space == OBS
    assert model.action_space == ACT
    assert model.predict(np.zeros(3, np.float32))[0].shape == (2,)


def test_a_vector_of_them_has_the_spaces_and_no_spec():
    venv = DummyVecEnv([lambda: SpacesOnlyEnv(OBS, ACT)] * 2)
    assert venv.num_envs == 2
    assert (venv.observation_space, venv.action_space) == (OBS, ACT)
    assert venv.get_attr("spec") == [None, None]
