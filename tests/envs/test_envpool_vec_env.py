"""Steps, resets, limits and episodes of EnvPoolVecEnv."""

import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sb3_course.envs import EnvPoolVecEnv
from tests.worlds import random_actions, rollout

pytest.importorskip("envpool")
pytest.importorskip("mujoco")


class CartPoleTwin:
    """Gymnasium's CartPole, put where EnvPool's starts, then stepped on its own."""

    def __init__(self) -> None:
        self.env = gym.make("CartPole-v1").unwrapped
        self.env.reset(seed=0)

    def start(self, obs: np.ndarray) -> None:
        self.env.reset()
        self.env.state = tuple(obs.astype(float))

    def step(self, action: int) -> tuple[np.ndarray, bool]:
        obs, _, terminated, _, _ = self.env.step(int(action))
        return obs, terminated


def test_resets_within_the_step_and_drops_no_action() -> None:
    venv, twins = EnvPoolVecEnv("CartPole-v1", 3, seed=0), [CartPoleTwin() for _ in range(3)]
    obs = venv.reset()
    for twin, first in zip(twins, obs, strict=True):
        twin.start(first)
    ended = 0
    for actions in random_actions(venv, 150):
        obs, rewards, dones, infos = venv.step(actions)
        np.testing.assert_array_equal(rewards, np.ones(3, dtype=np.float32))
        for i, twin in enumerate(twins):
            expected, terminated = twin.step(actions[i])
            assert dones[i] == terminated
            got = infos[i]["terminal_observation"] if terminated else obs[i]
            np.testing.assert_allclose(got, expected, atol=1e-5)
            if terminated:
                ended += 1
                assert np.abs(obs[i]).max() <= 0.05  # where CartPole starts
                assert infos[i]["TimeLimit.truncated"] is False
                twin.start(obs[i])
            else:
                assert infos[i] == {}
    assert ended >= 10


@pytest.mark.parametrize("limit_minus_natural_end", [-1, 0, 1])
def test_truncated_only_where_the_limit_alone_ended_it(limit_minus_natural_end: int) -> None:
    def first_end(**kwargs: Any) -> tuple[int, dict[str, Any]]:
        venv = EnvPoolVecEnv("CartPole-v1", 1, seed=1, **kwargs)
        for t, step in enumerate(rollout(venv, np.ones((20, 1)))[1:], start=1):
            if step[2][0]:
                return t, step[3][0]
        raise AssertionError("pushing one way must end within 20 steps")

    natural, info = first_end()
    assert info["TimeLimit.truncated"] is False
    end, info = first_end(max_episode_steps=natural + limit_minus_natural_end)
    assert end == natural + min(limit_minus_natural_end, 0)
    assert info["TimeLimit.truncated"] is (limit_minus_natural_end < 0)
    assert info["episode"]["l"] == end


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "HalfCheetah-v4", "Acrobot-v1", "MountainCar-v0"]
)
def test_truncates_at_gymnasiums_limit(env_id: str) -> None:
    venv = EnvPoolVecEnv(env_id, 2)
    limit = gym.spec(env_id).max_episode_steps
    assert venv.max_episode_steps == limit
    assert venv.get_attr("spec")[0].max_episode_steps == limit


def test_truncation_repeats_in_every_episode() -> None:
    venv = EnvPoolVecEnv("MountainCar-v0", 2, seed=0)
    steps = rollout(venv, np.ones((401, 2)))[1:]
    ends = [t for t, step in enumerate(steps, start=1) if step[2].any()]
    assert ends == [200, 400]
    for t in ends:
        for info in steps[t - 1][3]:
            assert info["TimeLimit.truncated"] is True
            assert info["episode"]["l"] == 200
            assert info["episode"]["r"] == -200.0


def test_no_limit_where_gymnasium_has_none() -> None:
    assert EnvPoolVecEnv("CliffWalking-v1").max_episode_steps is None
    venv = EnvPoolVecEnv("CliffWalking-v1", 2, seed=0)
    assert not any(step[2].any() for step in rollout(venv, np.zeros((30, 2)))[1:])


def test_the_limit_can_be_left_out() -> None:
    if gym.__version__ < "1":
        pytest.skip("this Gymnasium cannot leave it out")
    venv = EnvPoolVecEnv("MountainCar-v0", 1, seed=0, max_episode_steps=-1)
    assert venv.max_episode_steps is None
    assert not any(step[2].any() for step in rollout(venv, np.ones((250, 1)))[1:])


@pytest.mark.parametrize("moment", ["step", "reset"])
def test_an_interrupt_leaves_it_usable(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is raised when EnvPool has returned, or while the infos are written."""

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    venv = EnvPoolVecEnv("CartPole-v1", 2, seed=0)
    venv.reset()
    if moment == "step":
        monkeypatch.setattr(venv, "_observation", interrupt)
    else:
        monkeypatch.setattr("sb3_course.envs.envpool_vec_env._rows", interrupt)
    with pytest.raises(KeyboardInterrupt):
        rollout(venv, np.ones((20, 2)), reset=False)
    monkeypatch.undo()
    assert np.abs(venv.reset()).max() <= 0.05
    assert venv.step(np.ones(2))[3] == [{}, {}]


def test_reset_drops_a_step_in_flight() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 2, seed=0)
    venv.reset()
    venv.step_async(np.zeros(2))
    assert np.abs(venv.reset()).max() <= 0.05
    _, _, _, infos = venv.step(np.ones(2))
    assert infos == [{}, {}]
    assert venv._lengths.tolist() == [1, 1]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Hopper-v4"])
def test_episodes_equal_a_sum_by_hand(env_id: str) -> None:
    start = time.time()
    venv = EnvPoolVecEnv(env_id, 4, seed=0)
    sums, lengths, seconds = [0.0] * 4, [0] * 4, [0.0]
    for _, rewards, dones, infos in rollout(venv, random_actions(venv, 120))[1:]:
        for i in range(4):
            sums[i] += float(rewards[i])
            lengths[i] += 1
            assert dones[i] == ("episode" in infos[i])
            if dones[i]:
                episode = infos[i]["episode"]
                assert episode["r"] == round(sums[i], 6)
                assert episode["l"] == lengths[i]
                assert [type(episode[key]) for key in "rlt"] == [float, int, float]
                sums[i], lengths[i] = 0.0, 0
                seconds.append(episode["t"])
    assert len(seconds) > 8
    assert seconds == sorted(seconds) and 0 < seconds[-1] <= time.time() - start


def test_reset_forgets_the_running_episode() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 1, seed=0)
    rollout(venv, np.ones((5, 1)))
    ends = [step[3][0]["episode"]["l"] for step in rollout(venv, np.ones((15, 1)))[1:] if step[2]]
    assert 8 <= ends[0] <= 11  # pushing one way from the start takes so many steps


def test_close_twice_then_nothing_works() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 2, seed=0)
    venv.reset()
    venv.step_async(np.zeros(2))
    venv.close()
    venv.close()
    for call in (venv.reset, lambda: venv.step(np.zeros(2))):
        with pytest.raises(RuntimeError, match="closed"):
            call()


@pytest.mark.parametrize(
    ("env_id", "actions", "message"),
    [
        ("CartPole-v1", np.zeros(3), r"shape \(2,\), got \(3,\)"),
        ("CartPole-v1", np.zeros((2, 1)), r"shape \(2,\), got \(2, 1\)"),
        ("CartPole-v1", np.array([0, 2]), "got 0 to 2"),
        ("CartPole-v1", np.array([-1, 0]), "got -1 to 0"),
        ("HalfCheetah-v4", np.zeros((2, 5)), r"shape \(2, 6\), got \(2, 5\)"),
        ("HalfCheetah-v4", np.zeros(6), r"shape \(2, 6\), got \(6,\)"),
    ],
)
def test_bad_actions(env_id: str, actions: np.ndarray, message: str) -> None:
    venv = EnvPoolVecEnv(env_id, 2, seed=0)
    venv.reset()
    with pytest.raises(ValueError, match=message):
        venv.step(actions)
    venv.step(np.zeros(venv._action_shape))  # still usable


def test_steps_out_of_order() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 2)
    with pytest.raises(RuntimeError, match=r"reset\(\) before the first step"):
        venv.step(np.zeros(2))
    venv.reset()
    with pytest.raises(RuntimeError, match="step_async"):
        venv.step_wait()
    venv.step_async(np.zeros(2))
    with pytest.raises(RuntimeError, match="in progress"):
        venv.step_async(np.zeros(2))
    venv.step_wait()
