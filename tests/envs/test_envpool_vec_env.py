"""EnvPool behind SB3's VecEnv: resets, accounting, seeds, spaces, wrappers and errors."""

import pickle
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    is_vecenv_wrapped,
)

from sb3_course.envs import EnvPoolVecEnv

pytest.importorskip("envpool")
pytest.importorskip("mujoco")


def random_actions(venv: EnvPoolVecEnv, n_steps: int, n_envs: int = 8, seed: int = 0) -> np.ndarray:
    """A table of shape (n_steps, num_envs, ...), the same for environment i whatever num_envs."""
    venv.action_space.seed(seed)
    table = [[venv.action_space.sample() for _ in range(n_envs)] for _ in range(n_steps)]
    return np.array(table)[:, : venv.num_envs]


def rollout(venv: Any, actions: np.ndarray, reset: bool = True) -> list[tuple[Any, ...]]:
    """What the steps return; the first entry holds what reset returned."""
    seen = [(venv.reset(), None, None, None)] if reset else []
    return seen + [venv.step(a) for a in actions]


def observations(steps: list[tuple[Any, ...]]) -> np.ndarray:
    return np.array([step[0] for step in steps])


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


# ---------------------------------------------------------------------------- resets and limits


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


# ----------------------------------------------------------------------------------- accounting


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Hopper-v4"])
def test_episodes_equal_a_sum_by_hand(env_id: str) -> None:
    venv = EnvPoolVecEnv(env_id, 4, seed=0)
    sums, lengths, found = [0.0] * 4, [0] * 4, 0
    start = time.time()
    for _, rewards, dones, infos in rollout(venv, random_actions(venv, 120))[1:]:
        for i in range(4):
            sums[i] += float(rewards[i])
            lengths[i] += 1
            assert dones[i] == ("episode" in infos[i])
            if dones[i]:
                episode = infos[i]["episode"]
                assert episode["r"] == round(sums[i], 6)
                assert episode["l"] == lengths[i]
                assert 0 <= episode["t"] <= time.time() - start + 60
                assert [type(episode[key]) for key in "rlt"] == [float, int, float]
                sums[i], lengths[i], found = 0.0, 0, found + 1
    assert found >= 8


def test_reset_forgets_the_running_episode() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 1, seed=0)
    rollout(venv, np.ones((5, 1)))
    ends = [step[3][0]["episode"]["l"] for step in rollout(venv, np.ones((15, 1)))[1:] if step[2]]
    assert 8 <= ends[0] <= 11  # pushing one way from the start takes so many steps


# ---------------------------------------------------------------------------------------- arrays


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


# ----------------------------------------------------------------------------------------- seeds


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


# ---------------------------------------------------------------------------------------- spaces


@pytest.mark.parametrize(
    "env_id",
    [
        "CartPole-v1",
        "Acrobot-v1",
        "MountainCarContinuous-v0",
        "FrozenLake-v1",
        "HalfCheetah-v4",
        "Hopper-v4",
        "Walker2d-v4",
        "Ant-v4",
        "Humanoid-v4",
    ],
)
def test_spaces_equal_gymnasiums(env_id: str) -> None:
    venv, env = EnvPoolVecEnv(env_id), gym.make(env_id)
    assert venv.observation_space == env.observation_space
    assert venv.action_space == env.action_space


def test_spaces_without_gymnasium_are_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise gym.error.DependencyNotInstalled("Box2D")

    expected = gym.make("HalfCheetah-v4").action_space
    monkeypatch.setattr(gym, "make", fail)
    lander = EnvPoolVecEnv("LunarLander-v3", 2, seed=0)
    assert lander.observation_space == spaces.Box(-np.inf, np.inf, (8,), np.float32)
    assert lander.action_space == spaces.Discrete(4)
    assert lander.max_episode_steps == 1000
    assert lander.get_attr("spec") == [None, None]
    steps = rollout(lander, random_actions(lander, 150))
    assert any(step[2].any() for step in steps[1:])
    assert all(lander.observation_space.contains(row) for step in steps for row in step[0])
    assert EnvPoolVecEnv("HalfCheetah-v4").action_space == expected  # float32


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


# ------------------------------------------------------------------------ wrappers and algorithms


def test_vec_normalize_is_that_of_the_raw_values() -> None:
    raw = EnvPoolVecEnv("Hopper-v4", 4, seed=0)
    wrapped = VecNormalize(EnvPoolVecEnv("Hopper-v4", 4, seed=0), clip_obs=1e6)
    statistics = RunningMeanStd(shape=(11,))
    actions = random_actions(raw, 60)
    for ours, theirs in zip(rollout(raw, actions), rollout(wrapped, actions), strict=True):
        statistics.update(ours[0])
        scale = np.sqrt(statistics.var + wrapped.epsilon)
        np.testing.assert_allclose(theirs[0], (ours[0] - statistics.mean) / scale, rtol=1e-5)
        for mine, normal in zip(ours[3] or [], theirs[3] or [], strict=True):
            if mine:
                last = (mine["terminal_observation"] - statistics.mean) / scale
                np.testing.assert_allclose(normal["terminal_observation"], last, rtol=1e-5)
                assert normal["episode"]["r"] == mine["episode"]["r"]  # raw rewards
    np.testing.assert_array_equal(wrapped.get_original_obs(), ours[0])
    np.testing.assert_array_equal(wrapped.get_original_reward(), ours[1])


def test_vec_monitor_counts_the_same_once() -> None:
    raw = EnvPoolVecEnv("Hopper-v4", 4, seed=0)
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
        wrapped = VecMonitor(EnvPoolVecEnv("Hopper-v4", 4, seed=0))
    actions, count = random_actions(raw, 80), 0
    for ours, theirs in zip(rollout(raw, actions)[1:], rollout(wrapped, actions)[1:], strict=True):
        for mine, other in zip(ours[3], theirs[3], strict=True):
            assert mine.keys() == other.keys()
            if mine:
                count += 1
                assert other["episode"]["r"] == pytest.approx(mine["episode"]["r"], rel=1e-5)
                assert other["episode"]["l"] == mine["episode"]["l"]
    assert wrapped.episode_count == count > 0
    assert is_vecenv_wrapped(wrapped, VecMonitor)


def test_vec_frame_stack_starts_anew_with_each_episode() -> None:
    raw = EnvPoolVecEnv("CartPole-v1", 2, seed=0)
    wrapped = VecFrameStack(EnvPoolVecEnv("CartPole-v1", 2, seed=0), n_stack=2)
    actions, before, ended = random_actions(raw, 60), np.zeros((2, 4)), 0
    for ours, theirs in zip(rollout(raw, actions), rollout(wrapped, actions), strict=True):
        obs, _, dones, infos = ours
        for i in range(2):
            new_episode = dones is None or dones[i]
            older = np.zeros(4) if new_episode else before[i]
            np.testing.assert_array_equal(theirs[0][i], np.concatenate([older, obs[i]]))
            if dones is not None and dones[i]:
                ended += 1
                last = np.concatenate([before[i], infos[i]["terminal_observation"]])
                np.testing.assert_array_equal(theirs[3][i]["terminal_observation"], last)
        before = obs
    assert ended > 0


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Hopper-v4"])
def test_a2c_learns_evaluates_and_loads_on_gymnasium(env_id: str, tmp_path: Path) -> None:
    venv = EnvPoolVecEnv(env_id, 4)
    model = A2C("MlpPolicy", venv, seed=0, device="cpu").learn(1000)
    assert len(model.ep_info_buffer) > 0
    assert model.ep_info_buffer[0].keys() == {"r", "l", "t"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        returns, lengths = evaluate_policy(model, venv, 6, return_episode_rewards=True)
    assert len(returns) == len(lengths) == 6
    if env_id == "CartPole-v1":
        assert returns == lengths
    model.save(tmp_path / "model")
    loaded = A2C.load(tmp_path / "model", env=gym.make(env_id), device="cpu")
    obs = venv.reset()
    expected, _ = model.predict(obs, deterministic=True)
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], expected)


def test_a2c_with_one_seed_learns_one_policy() -> None:
    parameters = []
    for _ in range(2):
        model = A2C("MlpPolicy", EnvPoolVecEnv("CartPole-v1", 4), seed=1, device="cpu").learn(200)
        parameters.append(model.policy.state_dict()["action_net.weight"].numpy())
    np.testing.assert_array_equal(parameters[0], parameters[1])


# ------------------------------------------------------------------------ attributes and lifetime


def test_attributes() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 3)
    assert venv.render_mode is None
    assert venv.get_attr("render_mode") == [None] * 3
    assert venv.get_attr("spec", indices=1)[0].id == "CartPole-v1"
    assert venv.get_attr("action_space", indices=[0, 2]) == [venv.action_space] * 2
    assert venv.has_attr("observation_space")
    assert not venv.has_attr("gravity")
    assert venv.env_is_wrapped(Monitor) == [True] * 3
    assert venv.env_is_wrapped(gym.wrappers.TimeLimit, indices=[0]) == [False]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda venv: venv.get_attr("gravity"), AttributeError),
        (lambda venv: venv.set_attr("gravity", 1.0), NotImplementedError),
        (lambda venv: venv.env_method("seed", 1), NotImplementedError),
        (lambda venv: venv.render(), NotImplementedError),
        (lambda venv: venv.get_images(), NotImplementedError),
        (lambda venv: venv.set_options({"low": 0.0}), NotImplementedError),
    ],
)
def test_what_envpool_cannot_do_names_the_backend_that_can(
    call: Callable[[EnvPoolVecEnv], Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match='backend="dummy"'):
        call(EnvPoolVecEnv("CartPole-v1"))


def test_no_options_are_no_error() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", seed=0)
    venv.set_options()
    np.testing.assert_array_equal(venv.reset(), EnvPoolVecEnv("CartPole-v1", seed=0).reset())


def test_close_twice_then_nothing_works() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 2, seed=0)
    venv.reset()
    venv.step_async(np.zeros(2))
    venv.close()
    venv.close()
    for call in (venv.reset, lambda: venv.step(np.zeros(2))):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_pickle_keeps_seeds_that_wait() -> None:
    venv = EnvPoolVecEnv("CartPole-v1", 2, seed=7, num_threads=1, max_episode_steps=9)
    copy = pickle.loads(pickle.dumps(venv))
    assert copy.max_episode_steps == 9
    actions = random_actions(venv, 20)
    a, b = rollout(venv, actions), rollout(copy, actions)
    np.testing.assert_array_equal(observations(a), observations(b))
    running = pickle.loads(pickle.dumps(venv))  # its seeds are used up
    assert not np.array_equal(running.reset(), a[0][0])


# ---------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"env_id": "HalfChetah-v4"}, r"'HalfChetah-v4'; near matches: .*HalfCheetah-v4"),
        ({"env_id": "HalfChetah-v4"}, 'backend="dummy"'),
        ({"env_id": "NoSuchThing"}, "does not have 'NoSuchThing'"),
        ({"env_id": "Blackjack-v1"}, "observation space .* does not fit"),
        ({"env_id": "IntersectionMultiAgent-v0"}, "more than one player"),
        ({"env_id": "FrankaKitchen-v1"}, "nested Dict"),
        ({"n_envs": 0}, "n_envs must be at least 1, got 0"),
        ({"num_threads": 0}, "num_threads must be at least 1"),
        ({"batch_size": 1, "n_envs": 2}, "synchronous"),
        ({"num_envs": 2}, "say n_envs"),
        ({"env_seed": [1]}, "seed"),
        ({"max_num_players": 2}, "single-player"),
        ({"render_mode": "rgb_array"}, "does not render"),
        ({"nonsense": 1}, "does not take env_kwargs"),
        ({"reward_threshold": 1.0}, "Gymnasium's CartPole-v1 does not take"),
    ],
)
def test_bad_construction(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EnvPoolVecEnv(**{"env_id": "CartPole-v1", **kwargs})


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
    with pytest.raises(RuntimeError, match="in flight"):
        venv.step_async(np.zeros(2))
    venv.step_wait()
