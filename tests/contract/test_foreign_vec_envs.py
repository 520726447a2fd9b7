"""Vector environments of other libraries: dones, rewards and infos of other kinds."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper

import sb3_course
from sb3_course import DAgger
from sb3_course.common.evaluation import evaluate, evaluation_envs

KINDS = [np.uint8, np.int64, np.float32, object]


class Foreign(VecEnvWrapper):
    """Gives dones, rewards and the flag of a time limit in another kind, as SuperSuit does."""

    def __init__(self, venv, kind):
        super().__init__(venv)
        self.kind = kind

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        obs, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "TimeLimit.truncated" in info:
                info["TimeLimit.truncated"] = np.uint8(info["TimeLimit.truncated"])
        return obs, rewards.astype(np.int64), dones.astype(self.kind), infos


def envs(kind=None):
    """CartPole with a time limit of 20 steps, so that both ends of an episode occur."""
    made = DummyVecEnv([lambda: gym.make("CartPole-v1", max_episode_steps=20)] * 2)
    return made if kind is None else Foreign(made, kind)


def train(algorithm, env):
    size = {} if algorithm is sb3_course.OnlineActorCritic else {"n_steps": 32}
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **size).learn(200)
    return model.get_parameters()["policy"]


@pytest.mark.parametrize("name", sb3_course.ALGORITHMS)
def test_the_kind_of_dones_changes_nothing(name):
    algorithm = getattr(sb3_course, name)
    expected = train(algorithm, envs())
    for kind in KINDS:
        learned = train(algorithm, envs(kind))
        assert all(th.equal(learned[key], expected[key]) for key in expected), kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_return_of_dagger_is_that_of_the_episodes(kind):
    def balance(obs):
        return (obs[:, 2] + obs[:, 3] > 0).astype(int)

    model = DAgger(
        "MlpPolicy", envs(kind), balance, n_steps=40, gradient_steps=2, n_eval_episodes=0, seed=0
    ).learn(80)
    assert model.rounds[0]["rollout/ep_rew_mean"] == 20  # the expert reaches the limit


def test_evaluation_takes_them_too():
    model = sb3_course.NPG("MlpPolicy", envs(), n_steps=32, seed=0)
    plain = evaluate(model, evaluation_envs("CartPole-v1", 3), 0)
    foreign = evaluate(model, Foreign(evaluation_envs("CartPole-v1", 3), np.uint8), 0)
    assert np.array_equal(plain[0], foreign[0]) and np.array_equal(plain[1], foreign[1])


def test_tuple_observations_are_refused_in_words():
    class Tuples(Foreign):
        def step_wait(self):
            obs, *rest = super().step_wait()
            return (obs,), *rest

    model = sb3_course.NPG("MlpPolicy", Tuples(envs(), bool), n_steps=32)
    with pytest.raises(TypeError, match="Tuple observations are not supported"):
        model.learn(64)
