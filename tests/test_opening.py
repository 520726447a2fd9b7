"""A file is opened for whom it is trusted by, in the environment that it names."""

import gymnasium as gym

import sb3_course
from sb3_course import opening
from sb3_course.common import checkpoint
from sb3_course.envs.config import EnvConfig


def test_an_id_with_its_module_stands_for_the_one_that_gymnasium_knows(tmp_path):
    """Gymnasium's spec drops the module; the settings hold for both ways to write the id."""
    env = gym.make("tests.own_envs:Walk-v0", goal=0.0, max_episode_steps=4)
    sb3_course.NPG("MlpPolicy", env, device="cpu", seed=0).save(tmp_path / "m.zip")
    assert checkpoint.read_header(tmp_path / "m.zip")["env"] == "Walk-v0"
    found = opening.environment_of(tmp_path / "m.zip", "tests.own_envs:Walk-v0", trust=False)
    assert found == EnvConfig("tests.own_envs:Walk-v0", {"goal": 0.0}, time_limit=4)
    other = opening.environment_of(tmp_path / "m.zip", "tests.own_envs:Other-v0", trust=False)
    assert other == EnvConfig("tests.own_envs:Other-v0")
