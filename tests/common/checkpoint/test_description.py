import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.wrappers import RescaleAction, TimeLimit, TransformReward
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnvWrapper,
    VecFrameStack,
)

import sb3_course
from sb3_course import NPG, loading, make_vec_env
from sb3_course.common.checkpoint import description_of, read_header
from sb3_course.common.checkpoint.description import Description
from tests.own_envs import Scaled

OWN = "tests.own_envs"
WALK = f"{OWN}:Walk-v0"
RESCALED = {"gymnasium.wrappers:RescaleAction": {"min_action": -1.0, "max_action": 1.0}}


class Drawn(gym.Wrapper):
    """A wrapper with arguments, which it does not record."""

    def __init__(self, env, size=3):
        super().__init__(env)


class Alone(gym.Wrapper):
    """A wrapper without arguments."""


class Around(VecEnvWrapper):
    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        return self.venv.step_wait()


def ours(env_id="Pendulum-v1", **settings):
    return lambda: make_vec_env(env_id, 2, seed=0, backend="dummy", **settings)


def gymnasium_s(*wrap, **settings):
    def make():
        env = gym.make("Pendulum-v1", **settings)
        for wrapper in wrap:
            env = wrapper(env)
        return env

    return make


def rescaled(env):
    return RescaleAction(env, -1.0, 1.0)


PENDULUM = "Pendulum-v1"
KINDS = {
    "plain": (ours(), PENDULUM, {}, []),
    "arguments": (ours(env_kwargs={"g": 1.0}), PENDULUM, {"kwargs": {"g": 1.0}}, []),
    "NumPy's numbers": (
        ours(env_kwargs={"g": np.float32(1.0)}),
        PENDULUM,
        {"kwargs": {"g": 1.0}},
        [],
    ),
    "limit": (ours(time_limit=7), PENDULUM, {"time_limit": 7}, []),
    "frames": (ours(frame_stack=3), PENDULUM, {"frame_stack": 3}, []),
    "frames around": (lambda: VecFrameStack(ours()(), 3), PENDULUM, {"frame_stack": 3}, []),
    "wrappers": (ours(wrappers=[RESCALED]), PENDULUM, {"wrappers": [RESCALED]}, []),
    "class as a wrapper": (ours(wrappers=Scaled), PENDULUM, {"wrappers": [f"{OWN}:Scaled"]}, []),
    "wrapper_class": (
        ours(wrapper_class=RescaleAction, wrapper_kwargs={"min_action": -1.0, "max_action": 1.0}),
        PENDULUM,
        {
            "wrappers": [
                {
                    "gymnasium.wrappers.transform_action:RescaleAction": dict(
                        RESCALED["gymnasium.wrappers:RescaleAction"]
                    )
                }
            ]
        },
        [],
    ),
    "module": (ours(WALK), WALK, {}, []),
    "a function": (
        ours(gymnasium_s(g=1.0)),
        PENDULUM,
        {"kwargs": {"g": 1.0}},
        [],
    ),
    "SB3's": (
        lambda: sb3_make_vec_env(PENDULUM, 2, env_kwargs={"g": 1.0}),
        PENDULUM,
        {"kwargs": {"g": 1.0}},
        [],
    ),
    "Gymnasium's": (
        gymnasium_s(g=1.0, max_episode_steps=30),
        PENDULUM,
        {"kwargs": {"g": 1.0}, "time_limit": 30},
        [],
    ),
    "a limit around": (
        gymnasium_s(lambda env: TimeLimit(env, 9)),
        PENDULUM,
        {"time_limit": 9},
        [],
    ),
    "a recorded wrapper": (
        gymnasium_s(rescaled),
        PENDULUM,
        {
            "wrappers": [
                {
                    "gymnasium.wrappers.transform_action:RescaleAction": {
                        "min_action": -1.0,
                        "max_action": 1.0,
                    }
                }
            ]
        },
        [],
    ),
    "a wrapper of the environment alone": (
        gymnasium_s(Alone),
        PENDULUM,
        {"wrappers": [f"{__name__}:Alone"]},
        [],
    ),
    "a wrapper with arguments": (gymnasium_s(Drawn), PENDULUM, {}, ["the wrapper Drawn"]),
    "a function as a wrapper": (
        ours(wrappers=lambda env: env),
        PENDULUM,
        {},
        ["a wrapper that no file can name, <lambda>"],
    ),
    "no limit": (gymnasium_s(max_episode_steps=-1), PENDULUM, {}, ["no time limit"]),
    "an object": (
        lambda: DummyVecEnv([lambda: gym.make("FrozenLake-v1", desc=np.array([list("SG")]))]),
        "FrozenLake-v1",
        {},
        ["an argument desc of type ndarray"],
    ),
    "around all": (lambda: Around(ours()()), PENDULUM, {}, ["a Around around its environments"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_says_what_its_environment_is_built_from(kind, tmp_path):
    make, env, settings, unknown = KINDS[kind]
    model = NPG("MlpPolicy", make(), device="cpu")
    found = description_of(model)
    assert (found.env, found.settings) == (env, settings)
    assert len(found.unknown) == len(unknown)
    assert all(map(str.startswith, found.unknown, unknown))
    model.save(tmp_path / "m")
    header = read_header(tmp_path / "m.zip")
    assert header.get("env_settings", {}) == settings
    assert header.get("env_unknown", []) == found.unknown


def test_processes_survive_being_asked(tmp_path):
    """A spec with a lambda in it cannot be sent, and whoever tries has ended."""
    doubled = gymnasium_s(lambda env: TransformReward(env, lambda reward: 2 * reward), g=1.0)
    for make, settings, unknown in [
        (gymnasium_s(g=1.0), {"kwargs": {"g": 1.0}}, []),
        (
            doubled,
            {"kwargs": {"g": 1.0}},
            ["the wrapper TransformReward, whose arguments are not known"],
        ),
    ]:
        venv = SubprocVecEnv([make] * 2, start_method="fork")
        model = NPG("MlpPolicy", venv, n_steps=4, device="cpu").learn(8)
        expected = Description(PENDULUM, settings, unknown)
        assert description_of(model) == expected
        model.save(tmp_path / "m")
        assert model.learn(8, reset_num_timesteps=False).num_timesteps == 16
        venv.close()  # as RL Zoo does before it saves
        assert description_of(model) == expected
        model.save(tmp_path / "m")
        assert description_of(NPG.load(tmp_path / "m")) == expected


def test_another_environment_brings_its_own_description(tmp_path):
    NPG("MlpPolicy", ours(env_kwargs={"g": 1.0})(), device="cpu").save(tmp_path / "m")
    model = sb3_course.load(tmp_path / "m", env=ours(env_kwargs={"g": 20.0})(), device="cpu")
    assert description_of(model).settings == {"kwargs": {"g": 20.0}}
    model.set_env(ours()())
    assert description_of(model).settings == {}
    model = sb3_course.load(tmp_path / "m", device="cpu")
    assert description_of(model).settings == {"kwargs": {"g": 1.0}}
    model.save(tmp_path / "again")
    assert read_header(tmp_path / "again.zip")["env_settings"] == {"kwargs": {"g": 1.0}}


class Nameless(gym.Env):
    """Without a spec, as an environment that nobody has registered."""

    high = np.array([1, 1, 8], np.float32)
    observation_space, action_space = spaces.Box(-high, high), spaces.Box(-2, 2, (1,))

    def reset(self, **kwargs):
        super().reset(**kwargs)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        return np.zeros(3, np.float32), 0.0, False, True, {}


class Told(Nameless):
    """It can tell what it is once it has been reset."""

    def reset(self, **kwargs):
        self.position = 0
        return super().reset(**kwargs)

    def __str__(self):
        return f"at {self.position}"


class Shaped(Nameless):
    def __init__(self, bonus):
        self.bonus = bonus


def test_a_process_that_is_asked_goes_on(tmp_path):
    gym.register("Shaped-v0", Shaped)
    try:
        for make, env, unknown in [
            (Told, None, []),
            (
                lambda: gym.make("Shaped-v0", bonus=lambda reward: 2 * reward),
                "Shaped-v0",
                ["an argument bonus of type NotImplementedType"],
            ),
        ]:
            venv = SubprocVecEnv([lambda make=make: Monitor(make())] * 2, start_method="fork")
            model = NPG("MlpPolicy", venv, n_steps=4, device="cpu").learn(8)
            model.save(tmp_path / "model")
            assert model.learn(8, reset_num_timesteps=False).num_timesteps == 16
            found = description_of(model)
            assert (found.env, found.unknown) == (env, unknown)
            venv.close()
    finally:
        del gym.registry["Shaped-v0"]


def test_another_environment_without_a_name_is_not_that_of_the_training_before(tmp_path):
    model = NPG("MlpPolicy", DummyVecEnv([gymnasium_s()]), n_steps=4, device="cpu").learn(4)
    model.set_env(DummyVecEnv([Nameless]))
    assert description_of(model).env is None
    model.learn(4).save(tmp_path / "model")
    assert read_header(tmp_path / "model.zip")["env"] is None


def test_training_that_went_on_in_an_environment_without_an_id_is_told(tmp_path):
    NPG("MlpPolicy", gymnasium_s()(), n_steps=4, device="cpu").learn(4).save(tmp_path / "first")
    model = NPG.load(tmp_path / "first", env=DummyVecEnv([Nameless]))
    assert not description_of(model).unknown
    for _ in range(2):
        model.learn(4).save(tmp_path / "second")
        header = read_header(tmp_path / "second.zip")
        assert header["env"] == read_header(tmp_path / "first.zip")["env"]
        assert header["env_unknown"] == ["a continuation in an environment without an id"]
        model = NPG.load(tmp_path / "second", env=DummyVecEnv([Nameless]))


def test_models_of_sb3_say_so_as_well(tmp_path):
    model = A2C("MlpPolicy", gymnasium_s(g=1.0)(), device="cpu")
    loading.save(model, tmp_path / "m.zip")
    assert read_header(tmp_path / "m.zip")["env_settings"] == {"kwargs": {"g": 1.0}}


@pytest.mark.parametrize("error", [NotImplementedError, KeyError, RuntimeError])
def test_a_vecenv_that_tells_nothing_costs_no_model(error, tmp_path):
    class Silent(Around):
        def get_attr(self, attr_name, indices=None):
            if attr_name == "render_mode":
                return [None] * self.num_envs
            raise error(attr_name)

    class Base(Silent):
        """A VecEnv of its own, not a wrapper around one of SB3's."""

        unwrapped = property(lambda self: self)

    model = NPG("MlpPolicy", Base(ours("CartPole-v1")()), n_steps=8, device="cpu")
    model.learn(16).save(tmp_path / "model")
    assert NPG.load(tmp_path / "model").num_timesteps == 16


@pytest.mark.parametrize("value", [th.zeros(3), np.zeros(3), pd.Series([0, 0])])
def test_an_argument_that_has_no_single_truth_costs_no_model(value, tmp_path):
    gym.register("Told-v0", lambda data: gym.make("CartPole-v1"), kwargs={"data": value})
    try:
        env = gym.make("Told-v0", data=value + 1)
        NPG("MlpPolicy", env, n_steps=8, device="cpu").save(tmp_path / "model")
    finally:
        del gym.registry["Told-v0"]
    assert NPG.load(tmp_path / "model").num_timesteps == 0
