"""Arrays that EnvPoolVecEnv returns and takes."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import A2C

from sb3_course.envs import EnvPoolVecEnv
from tests.worlds import random_actions, rollout

pytest.importorskip("envpool")
pytest.importorskip("mujoco")


@pytest.mark.parametrize("env_id", ["CartPole-v1", "HalfCheetah-v4", "FrozenLake-v1"])
def test_returned_arrays_are_the_callers(env_id: str) -> None:
    venv = EnvPoolVecEnv(env_id, 4, seed=0)
    steps = rollout(venv, random_actions(venv, 40))
    kept = [tuple(np.copy(part) for part in step[:3] if part is not None) for step in steps]
    rollout(venv, random_actions(venv, 40), reset=False)
    for step, copies in zip(steps, kept, strict=True):
        for part, copied in zip(step[:3], copies, strict=False):
            np.testing.assert_array_equal(part, copied)
    space = venv.observation_space
    assert steps[0][0].shape == (4, *space.shape)
    assert steps[0][0].dtype == space.dtype
    assert all(space.contains(row) for step in steps for row in step[0])
    assert (steps[1][1].dtype, steps[1][1].shape) == (np.float32, (4,))
    assert (steps[1][2].dtype, steps[1][2].shape) == (bool, (4,))
    steps[1][0][:] = 0  # and may be written to


def test_terminal_observation_outlives_the_next_steps() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 1, seed=0)
    steps = rollout(venv, np.ones((15, 1)))[1:]
    last = next(infos[0] for _, _, dones, infos in steps if dones[0])
    before = last["terminal_observation"].copy()
    rollout(venv, np.ones((15, 1)))
    np.testing.assert_array_equal(last["terminal_observation"], before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_caller_may_overwrite_its_actions_while_the_environments_step(dtype: type) -> None:
    results = []
    for overwrite in (False, True):
        venv = EnvPoolVecEnv("HalfCheetah-v4", 8, seed=0)
        venv.reset()
        for actions in random_actions(venv, 10).astype(dtype):
            venv.step_async(actions)
            if overwrite:
                actions[:] = 0
            obs = venv.step_wait()[0]
        results.append(obs)
    np.testing.assert_array_equal(results[0], results[1])


def test_step_async_sends_and_step_wait_receives() -> None:
    class Recorder:
        def __init__(self, pool: Any) -> None:
            self.pool, self.calls = pool, []

        def _send(self, arrays: list[np.ndarray]) -> None:
            self.calls.append("send")
            self.pool._send(arrays)

        def _recv(self) -> list[np.ndarray]:
            self.calls.append("recv")
            return self.pool._recv()

    venv = EnvPoolVecEnv("CartPole-v1", 2, seed=0)
    venv.reset()
    venv._pool = Recorder(venv._pool)
    venv.step_async(np.zeros(2))
    assert venv._pool.calls == ["send"]
    venv.step_wait()
    assert venv._pool.calls == ["send", "recv"]


def test_results_come_in_environment_order() -> None:
    venv = EnvPoolVecEnv("HalfCheetah-v4", 16, seed=0, num_threads=4)
    venv.reset()
    pool, seen = venv._pool, []

    class Spy:
        _send, _reset = staticmethod(pool._send), staticmethod(pool._reset)

        @staticmethod
        def _recv() -> list[np.ndarray]:
            state = pool._recv()
            seen.append(state[venv._at_env_id].copy())
            return state

    venv._pool = Spy()
    rollout(venv, random_actions(venv, 50, n_envs=16), reset=False)
    np.testing.assert_array_equal(seen, np.tile(np.arange(16), (50, 1)))


def test_dict_observations() -> None:
    venv = EnvPoolVecEnv("Parking-v0", 3, seed=0, max_episode_steps=5)
    assert isinstance(venv.observation_space, spaces.Dict)
    steps = rollout(venv, random_actions(venv, 6))
    for obs, _, dones, infos in steps[1:]:
        assert obs.keys() == venv.observation_space.spaces.keys()
        for key, part in obs.items():
            assert part.shape == (3, *venv.observation_space[key].shape)
            assert part.dtype == venv.observation_space[key].dtype
        for i in np.flatnonzero(dones):
            last = infos[i]["terminal_observation"]
            assert last.keys() == obs.keys()
            assert not np.array_equal(last["observation"], obs["observation"][i])
    assert steps[5][2].all()
    A2C("MultiInputPolicy", venv, n_steps=4).learn(24)
