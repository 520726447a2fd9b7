"""The environments of DAgger's evaluations are those of its training, or there are none."""

import sys
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import (
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
    RecordVideo,
    TransformReward,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnvWrapper, VecMonitor, VecNormalize

from sb3_course import DAgger
from sb3_course.imitation.rounds.evaluation import evaluation_envs_like
from tests.imitation.helpers import balance

ROUND = {"n_steps": 20, "gradient_steps": 5, "n_eval_episodes": 2, "seed": 0, "device": "cpu"}


class Shifted(VecEnvWrapper):
    """Changes values, and no space."""

    def reset(self):
        return self.venv.reset() + 1

    def step_wait(self):
        obs, *rest = self.venv.step_wait()
        return obs + 1, *rest


class Levels(VecEnvWrapper):
    """Turns Pendulum's torque into one of three."""

    def __init__(self, venv):
        super().__init__(venv, action_space=spaces.Discrete(3))

    def reset(self):
        return self.venv.reset()

    def step_async(self, actions):
        self.venv.step_async(np.linspace(-2, 2, 3, dtype=np.float32)[actions][:, None])

    def step_wait(self):
        return self.venv.step_wait()


def vectorized(env_id="CartPole-v1", wrap=None):
    return make_vec_env(env_id, 2, wrapper_class=wrap)


@pytest.mark.parametrize(
    "wrap", [NormalizeReward, lambda env: TransformReward(env, lambda reward: 100 * reward)]
)
def test_returns_are_those_below_the_wrappers(wrap):
    model = DAgger("MlpPolicy", wrap(gym.make("CartPole-v1")), balance, **ROUND).learn(20)
    last = model.rounds[-1]
    assert last["eval/mean_reward"] == last["eval/mean_ep_length"] > 0


@pytest.mark.parametrize(
    ("env", "named"),
    [
        (lambda: vectorized(wrap=NormalizeObservation), "NormalizeObservation"),
        (lambda: Shifted(vectorized()), "Shifted"),
        (lambda: VecNormalize(Shifted(vectorized())), "Shifted"),
        (lambda: Levels(vectorized("Pendulum-v1")), "Levels"),
    ],
)
def test_says_what_cannot_be_made_again(env, named):
    with pytest.warns(UserWarning, match=f"make its environment again with {named} to evaluate"):
        assert evaluation_envs_like(env(), 2) is None


def test_what_looks_on_is_not_made_again(tmp_path, monkeypatch):
    """Videos of evaluations would replace those of the training, and windows open for each."""
    monkeypatch.setitem(sys.modules, "moviepy", ModuleType("moviepy"))  # which would write them
    made = gym.make("CartPole-v1", render_mode="rgb_array")
    made = RecordEpisodeStatistics(RecordVideo(made, str(tmp_path / "videos"), lambda n: True))
    model = DAgger("MlpPolicy", TransformReward(made, lambda r: 2 * r), balance, **ROUND)
    envs = evaluation_envs_like(model.get_env(), 2)
    for env in envs.envs:
        assert "RecordVideo" not in str(env) and "TransformReward" in str(env)
        assert env.render_mode == "rgb_array"
    human = make_vec_env(lambda: Monitor(gym.make("CartPole-v1", render_mode="human")), 1)
    assert evaluation_envs_like(human, 2).get_attr("render_mode") == [None, None]


@pytest.mark.parametrize("wrap", [lambda v: v, VecMonitor, VecNormalize])
def test_makes_the_others_again(wrap):
    envs = evaluation_envs_like(wrap(vectorized()), 3)
    assert envs.num_envs == 3
    envs.close()
