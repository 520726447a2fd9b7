"""Gymnasium's vector environments behave as ``DummyVecEnv`` does."""

from functools import partial
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course import NPG, make_vec_env
from sb3_course.envs import backend_of

if not hasattr(gym.vector, "AutoresetMode"):
    pytest.skip("Gymnasium 1.0 has no autoreset modes", allow_module_level=True)

from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from sb3_course.envs.gymnasium_vec_env import GymnasiumVecEnv, UnsupportedVectorEnvError

MODES = list(AutoresetMode)


class Talks(gym.Env):
    """Ends by itself after a drawn number of steps, or by its limit; tells something each step."""

    action_space = spaces.Discrete(3)

    def __init__(self, as_dict=False):
        box = spaces.Box(-1, 60, (2,), np.float32)
        self.observation_space = spaces.Dict({"a": box, "b": box}) if as_dict else box

    def _obs(self):
        obs = np.array([self.t, self.until], np.float32)
        return (
            {"a": obs, "b": -obs / 60} if isinstance(self.observation_space, spaces.Dict) else obs
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.until = 0, int(self.np_random.integers(2, 9))
        return self._obs(), {"until": self.until}

    def step(self, action):
        self.t += 1
        ended = self.t >= self.until
        info = {"t": self.t, "nested": {"action": int(action)}}
        if ended:
            info["is_success"] = bool(action == 1)
        return self._obs(), 0.1 * self.t + action, ended, False, info


def talks(as_dict=False):
    return Monitor(gym.wrappers.TimeLimit(Talks(as_dict), 5))


def cartpole():
    return Monitor(gym.make("CartPole-v1", max_episode_steps=30))


def pendulum():
    return Monitor(gym.make("Pendulum-v1", max_episode_steps=7))


def played(venv, steps=60, seed=5):
    """Everything that a VecEnv returns for the same actions."""
    generator = np.random.default_rng(0)
    space = venv.action_space
    if seed is not None:
        venv.seed(seed)
    seen = [(venv.reset(), venv.reset_infos)]
    for _ in range(steps):
        if isinstance(space, spaces.Discrete):
            actions = generator.integers(space.n, size=venv.num_envs)
        else:
            actions = generator.uniform(-1, 1, (venv.num_envs, *space.shape)).astype(np.float32)
        seen.append((*venv.step(actions), [dict(info) for info in venv.reset_infos]))
    venv.close()
    return seen


def assert_same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one.keys() - {"t"} if {"r", "l"} <= one.keys() else one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        np.testing.assert_array_equal(one, other)
        assert getattr(one, "dtype", None) in (None, getattr(other, "dtype", None))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [talks, partial(talks, True), cartpole, pendulum])
def test_a_vector_env_does_what_dummy_vec_env_does(make, mode):
    mine = GymnasiumVecEnv(SyncVectorEnv([make] * 3, autoreset_mode=mode))
    expected = played(DummyVecEnv([make] * 3))
    assert sum(step[2].sum() for step in expected[1:]) > 5  # episodes end in the test
    assert_same(expected, played(mine))


@pytest.mark.parametrize("mode", MODES)
def test_processes_do_the_same(mode):
    mine = GymnasiumVecEnv(AsyncVectorEnv([talks] * 2, autoreset_mode=mode))
    assert_same(played(DummyVecEnv([talks] * 2)), played(mine))


@pytest.mark.parametrize("mode", MODES)
def test_without_monitor_the_episodes_are_added_up(mode):
    def plain():
        return gym.wrappers.TimeLimit(Talks(), 5)

    mine = played(GymnasiumVecEnv(SyncVectorEnv([plain] * 2, autoreset_mode=mode)))
    assert_same(played(DummyVecEnv([talks] * 2)), mine)


def test_vector_wrappers_change_the_episodes_too():
    vector = SyncVectorEnv([talks] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    mine = played(GymnasiumVecEnv(gym.wrappers.vector.TransformReward(vector, lambda r: 2 * r)))
    for step, expected in zip(mine[1:], played(DummyVecEnv([talks] * 2))[1:], strict=True):
        np.testing.assert_allclose(step[1], 2 * expected[1])
        for info, other in zip(step[3], expected[3], strict=True):
            if "episode" in other:
                assert info["episode"]["r"] == pytest.approx(2 * other["episode"]["r"])


class ResetsAll(gym.vector.VectorEnv):
    """Resets with the next step, and knows no mask."""

    metadata: ClassVar = {"autoreset_mode": AutoresetMode.NEXT_STEP}
    render_mode = None

    def __init__(self, num_envs, **_):
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(0, 1, (1,), np.float64)
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = spaces.Box(0, 1, (num_envs, 1), np.float64)
        self.action_space = spaces.MultiDiscrete([2] * num_envs)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(size=(self.num_envs, 1)), {}

    def step(self, actions):
        ended = np.ones(self.num_envs, dtype=bool)
        return np.zeros((self.num_envs, 1)), ended * 1.0, ended, ~ended, {}


def test_what_cannot_reset_one_environment_is_refused():
    with pytest.raises(UnsupportedVectorEnvError, match="knows no reset_mask"):
        GymnasiumVecEnv(ResetsAll(2))
    single = GymnasiumVecEnv(ResetsAll(1))
    single.seed(3)
    first = single.reset()
    obs, rewards, dones, infos = single.step(np.array([0]))
    assert dones.all()
    assert rewards.dtype == np.float32
    assert infos[0]["terminal_observation"] == 0
    assert 0 < obs[0, 0] != first[0, 0]
    assert infos[0]["episode"]["l"] == 1
    assert not infos[0]["TimeLimit.truncated"]


class OwnBuffers(ResetsAll):
    """Returns its buffers, which a reset overwrites; time limits of 3, 4, ... steps."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        which = (options or {}).get("reset_mask", np.ones(self.num_envs, dtype=bool))
        if options is None or "reset_mask" not in options:
            n = self.num_envs
            self.obs, self.t = np.zeros((n, 1)), np.zeros(n, dtype=int)
            self.rewards, self.ended, self.limit = np.zeros(n), np.zeros((2, n), bool), None
        self.obs[which] = self.np_random.uniform(size=(which.sum(), 1))
        self.t[which], self.rewards[which], self.ended[:, which] = 0, 0.0, False
        return self.obs, {}

    def step(self, actions):
        self.t += 1
        self.rewards[:] = 1.0
        self.ended[1] = self.t >= 3 + np.arange(self.num_envs)
        return self.obs, self.rewards, *self.ended, {"t": self.t}


def test_buffers_that_a_reset_overwrites_are_read_before():
    venv = GymnasiumVecEnv(OwnBuffers(2))
    venv.reset()
    outcomes = [venv.step(np.zeros(2, dtype=int)) for _ in range(4)]
    assert [rewards.tolist() for _, rewards, _, _ in outcomes] == [[1, 1]] * 4
    assert [dones.tolist() for _, _, dones, _ in outcomes[2:]] == [[True, False], [False, True]]
    assert [infos[i]["TimeLimit.truncated"] for i, (*_, infos) in enumerate(outcomes[2:])] == [
        True,
        True,
    ]
    assert [infos[i]["t"] for i, (*_, infos) in enumerate(outcomes[2:])] == [3, 4]


class Diverges(OwnBuffers):
    """The observation of the second environment is NaN in the step in which the first one ends."""

    def step(self, actions):
        self.obs[1] = np.nan if self.t[0] == 2 else self.obs[1]
        return super().step(actions)


def test_an_observation_that_is_no_number_is_no_fault_of_the_resets():
    venv = GymnasiumVecEnv(Diverges(2))
    venv.reset()
    for _ in range(3):
        obs, _, dones, _ = venv.step(np.zeros(2, dtype=int))
    assert dones.tolist() == [True, False]
    assert np.isnan(obs).tolist() == [[False], [True]]


def test_without_a_seed_every_training_has_other_episodes():
    """Also where a reset shows first whether the wrapped environments can be reset one by one."""
    make = partial(gym.make_vec, "CartPole-v1", 3, vectorization_mode="sync")
    wrapped = [gym.wrappers.vector.RecordEpisodeStatistics(make()) for _ in range(2)]
    for one, other in (wrapped, [OwnBuffers(2), OwnBuffers(2)]):
        first, second = GymnasiumVecEnv(one).reset(), GymnasiumVecEnv(other).reset()
        assert not np.array_equal(first, second)


def test_make_vec_env_falls_back_to_what_can_be_reset(capsys):
    """CartPole's own vector environment resets with the next step, all or none."""
    venv = make_vec_env("CartPole-v1", 3, seed=5, backend="gymnasium", time_limit=30)
    assert "in a SyncVectorEnv" in capsys.readouterr().out
    assert backend_of(venv) == "gymnasium"
    dummy = make_vec_env("CartPole-v1", 3, seed=5, backend="dummy", time_limit=30)
    assert_same(played(dummy, seed=None), played(venv, seed=None))


class SameStep(ResetsAll):
    """Resets all environments within each step."""

    metadata: ClassVar = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def last(self, obs):
        final = np.full(self.num_envs, None)
        for i in range(self.num_envs):
            final[i] = obs[i]
        return {"final_obs": final}

    def step(self, actions):
        obs, rewards, ended, truncated, _ = super().step(actions)
        return self.reset()[0], rewards, ended, truncated, self.last(obs)


@pytest.fixture
def own_vector():
    gym.register("OwnVector-v0", Talks, vector_entry_point=SameStep)
    yield "OwnVector-v0"
    del gym.registry["OwnVector-v0"]


def test_a_registered_vector_environment_is_taken(own_vector, capsys):
    venv = make_vec_env(own_vector, 2, backend="gymnasium")
    assert type(venv.vector_env.unwrapped) is SameStep
    venv.reset()
    obs, _, _, infos = venv.step(np.zeros(2, dtype=int))
    assert (obs > 0).all()
    assert [info["terminal_observation"] for info in infos] == [0, 0]
    assert capsys.readouterr().out == ""


def test_last_observations_may_be_one_array_but_not_be_missing(monkeypatch):
    venv = GymnasiumVecEnv(SameStep(2))
    monkeypatch.setattr(SameStep, "last", lambda self, obs: {"final_obs": np.array([[1], [2]])})
    venv.reset()
    infos = venv.step(np.zeros(2, dtype=int))[3]
    assert [info["terminal_observation"].tolist() for info in infos] == [[1], [2]]
    monkeypatch.setattr(SameStep, "last", lambda self, obs: {})
    with pytest.raises(KeyError, match="its infos have no 'final_obs'"):
        venv.step(np.zeros(2, dtype=int))


def test_wrappers_and_frames_come_on_top():
    settings = {
        "wrappers": ["gymnasium.wrappers:FlattenObservation"],
        "frame_stack": 2,
        "time_limit": 9,
    }
    mine = make_vec_env("CartPole-v1", 2, 3, "gymnasium", **settings)
    dummy = make_vec_env("CartPole-v1", 2, 3, "dummy", **settings)
    assert mine.observation_space.shape == (8,)
    assert_same(played(dummy, seed=None), played(mine, seed=None))


@pytest.mark.parametrize("algorithm", [NPG, PPO])
def test_algorithms_learn_alike(algorithm):
    returns = []
    for backend in ("dummy", "gymnasium"):
        env = make_vec_env("CartPole-v1", 2, 0, backend, verbose=0)
        model = algorithm("MlpPolicy", env, n_steps=64, seed=0, device="cpu").learn(256)
        returns.append([episode["r"] for episode in model.ep_info_buffer])
        parameters = model.policy.parameters_to_vector()
        returns.append(parameters.tolist())
    assert returns[:2] == returns[2:]


def test_a_vector_env_is_taken_by_an_algorithm_and_by_evaluate_policy(tmp_path):
    model = NPG("MlpPolicy", SyncVectorEnv([cartpole] * 2), n_steps=32, seed=0, device="cpu")
    model.learn(128)
    model.set_env(SyncVectorEnv([cartpole] * 2))
    model.learn(64)
    normalized = VecNormalize(GymnasiumVecEnv(SyncVectorEnv([cartpole] * 2)))
    NPG("MlpPolicy", normalized, n_steps=32, seed=0, device="cpu").learn(64).save(tmp_path / "m")
    loaded = NPG.load(tmp_path / "m", env=SyncVectorEnv([cartpole] * 2))
    assert isinstance(loaded.get_env(), VecNormalize)
    assert isinstance(loaded.get_env().unwrapped, GymnasiumVecEnv)
    loaded.learn(64)
    mean, _ = evaluate_policy(model, GymnasiumVecEnv(SyncVectorEnv([cartpole] * 2)), 4)
    assert mean > 1


def test_attributes_and_methods_reach_the_environments():
    venv = GymnasiumVecEnv(SyncVectorEnv([talks] * 3))
    venv.reset()
    assert venv.get_attr("t", [0, 2]) == [0, 0]
    assert venv.env_is_wrapped(gym.wrappers.TimeLimit) == [True] * 3
    assert venv.env_is_wrapped(gym.wrappers.ClipReward, [1]) == [False]
    assert venv.env_method("_obs", indices=0)[0].shape == (2,)
    assert [spec is None for spec in venv.get_attr("spec")] == [True] * 3
    venv.set_options({"a": 1})
    venv.reset()
    venv.set_options([{"a": 1}, {}, {}])
    with pytest.raises(NotImplementedError, match="share their reset options"):
        venv.reset()
