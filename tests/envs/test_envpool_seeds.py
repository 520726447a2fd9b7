"""Seeds of EnvPoolVecEnv."""

import pickle

import numpy as np
import pytest

from sb3_course.envs import EnvPoolVecEnv
from tests.worlds import observations, random_actions, rollout

pytest.importorskip("envpool")
pytest.importorskip("mujoco")


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Hopper-v4"])
def test_equal_seeds_give_equal_bits_whatever_the_threads(env_id: str) -> None:
    runs = []
    for seed, threads in ((3, 1), (3, 2), (3, 4), (4, 1)):
        venv = EnvPoolVecEnv(env_id, 4, seed=seed, num_threads=threads)
        runs.append(rollout(venv, random_actions(venv, 60)))
    for other in runs[1:3]:
        for ours, theirs in zip(runs[0], other, strict=True):
            for a, b in zip(ours[:3], theirs[:3], strict=True):
                np.testing.assert_array_equal(a, b)
    assert not np.array_equal(observations(runs[0]), observations(runs[3]))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Hopper-v4"])
def test_environment_i_does_not_depend_on_n_envs(env_id: str) -> None:
    few, many = EnvPoolVecEnv(env_id, 2, seed=5), EnvPoolVecEnv(env_id, 8, seed=5)
    a = observations(rollout(few, random_actions(few, 60)))
    b = observations(rollout(many, random_actions(many, 60)))
    np.testing.assert_array_equal(a, b[:, :2])
    alone = EnvPoolVecEnv(env_id, 1, seed=6)  # environment 1 of the others
    actions = random_actions(few, 60)[:, 1:]
    np.testing.assert_array_equal(observations(rollout(alone, actions))[:, 0], a[:, 1])


def test_seeds_wait_for_reset_and_are_used_up() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 2, seed=0)
    first, second = venv.reset(), venv.reset()
    assert not np.array_equal(first, second)
    assert venv._seeds == [None, None]
    assert venv.seed(0) == [0, 1]
    again = venv.step(np.zeros(2))[0]
    assert not np.array_equal(again, first)  # not before the reset
    np.testing.assert_array_equal(venv.reset(), first)
    np.testing.assert_array_equal(venv.reset(), second)


def test_without_a_seed_numpys_global_generator_decides() -> None:
    def first_obs(global_seed: int) -> np.ndarray:
        np.random.seed(global_seed)
        return EnvPoolVecEnv("CartPole-v1", 2).reset()

    np.testing.assert_array_equal(first_obs(0), first_obs(0))
    assert not np.array_equal(first_obs(0), first_obs(1))


@pytest.mark.parametrize("seed", [2**31 - 1, 2**32 - 2, 0])
def test_any_seed_that_sb3_draws_is_taken(seed: int) -> None:
    obs = EnvPoolVecEnv("CartPole-v1", 3, seed=seed).reset()
    assert len(np.unique(obs, axis=0)) == 3
    np.testing.assert_array_equal(EnvPoolVecEnv("CartPole-v1", 1, seed=seed + 2).reset()[0], obs[2])


def test_pickle_keeps_seeds_that_wait() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 2, seed=7, num_threads=1, max_episode_steps=9)
    copy = pickle.loads(pickle.dumps(venv))
    assert copy.max_episode_steps == 9
    actions = random_actions(venv, 20)
    a, b = rollout(venv, actions), rollout(copy, actions)
    np.testing.assert_array_equal(observations(a), observations(b))
    running = pickle.loads(pickle.dumps(venv))  # its seeds are used up
    assert not np.array_equal(running.reset(), a[0][0])
