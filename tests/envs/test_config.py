import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.atari_wrappers import ClipRewardEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course.envs.config import MOST_FRAMES, EnvConfig, EnvConfigError, find_wrapper

HERE = __name__


class Adds(gym.RewardWrapper):
    """Adds to the reward."""

    def __init__(self, env, amount=1):
        super().__init__(env)
        self.amount = amount

    def reward(self, reward):
        return reward + self.amount


class Times(gym.RewardWrapper):
    """Doubles the reward."""

    def reward(self, reward):
        return 2 * reward


def doubled(env):
    return Times(env)


def no_env(env):
    return 3


def leaves(env):
    sys.exit("made to leave")


class Sized(gym.Env):
    """Takes arguments."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, size=1, spaces_of=None):
        if size < 1:
            raise ValueError("size must be positive")
        self.observation_space = spaces.Box(-1, 1, (size,)) if spaces_of is None else spaces_of

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, False, False, {}


def reward_of(config):
    env = config.make()
    env.reset(seed=0)
    return env.step(0)[1]


def test_wrappers_are_put_on_from_the_inside_to_the_outside():
    adds, times = {f"{HERE}:Adds": {"amount": 3}}, f"{HERE}:Times"
    assert reward_of(EnvConfig(Sized, wrappers=(adds, times))) == 8
    assert reward_of(EnvConfig(Sized, wrappers=(times, adds))) == 5
    assert reward_of(EnvConfig(Sized, wrappers=(Times, doubled, {f"{HERE}:Adds": None}))) == 5
    assert reward_of(EnvConfig(Sized, wrappers=times)) == 2
    assert reward_of(EnvConfig(Sized, wrappers=Times)) == 2


def test_a_further_wrapper_goes_below_all_others():
    env = EnvConfig(Sized, wrappers=(Adds, Times)).make(inside=ClipRewardEnv)
    chain = [type(env), type(env.env), type(env.env.env), type(env.unwrapped)]
    assert chain == [Times, Adds, ClipRewardEnv, Sized]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("RescaleAction", gym.wrappers.RescaleAction),
        ("gymnasium.wrappers:RescaleAction", gym.wrappers.RescaleAction),
        ("ClipRewardEnv", ClipRewardEnv),
        (f"{HERE}:Adds", Adds),
    ],
)
def test_names_of_wrappers(name, found):
    assert find_wrapper(name) is found


@pytest.mark.parametrize(
    ("wrapper", "expected"),
    [
        ("RescaleActio", "did you mean 'RescaleAction'"),
        ("gymnasium.wrappers.RescaleAction", "did you mean 'gymnasium.wrappers:RescaleAction'"),
        ("gymnasium.wrappers:Nothing", "cannot import 'gymnasium.wrappers:Nothing': AttributeErr"),
        ("no_module:W", "cannot import 'no_module:W': ModuleNotFoundError"),
        (f"{HERE}:HERE", "is no wrapper but a str"),
        (f"{HERE}:no_env", "returns a int, no gym.Env"),
        (f"{HERE}:leaves", "SystemExit: made to leave"),
        ({f"{HERE}:Adds": {"amoun": 1}}, "unexpected keyword argument 'amoun'"),
        ({"RescaleAction": {"min_action": -1, "max_action": 1}}, "given {'RescaleAction'"),
    ],
)
def test_a_wrapper_that_is_refused_is_named_with_its_place(wrapper, expected):
    with pytest.raises(EnvConfigError) as caught:
        EnvConfig("CartPole-v1", wrappers=(Adds, wrapper)).make()
    assert caught.value.key == ("wrappers", 1)
    assert caught.value.message.startswith(f"given {wrapper!r}; ") or "returns" in expected
    assert expected in caught.value.message


@pytest.mark.parametrize("wrapper", [3, None, {}, {"a:B": 1}, {"a:B": {}, "c:D": {}}, {1: {}}])
def test_what_is_no_wrapper_is_refused_at_once(wrapper):
    with pytest.raises(EnvConfigError, match=r"^wrappers.1: given .*allowed: module:Class") as it:
        EnvConfig("CartPole-v1", wrappers=(Adds, wrapper))
    assert pickle.loads(pickle.dumps(it.value)).key == ("wrappers", 1)


@pytest.mark.parametrize("kwargs", [[1], "size", 3])
def test_arguments_that_are_no_mapping_are_refused(kwargs):
    with pytest.raises(EnvConfigError, match=r"^kwargs: given .*; allowed: \{argument: value\}"):
        EnvConfig("CartPole-v1", kwargs)


def test_a_module_that_exits_is_told(tmp_path, monkeypatch):
    (tmp_path / "exits_on_import.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="cannot import 'exits_on_import:W': SystemExit: 0"):
        find_wrapper("exits_on_import:W")


@pytest.mark.parametrize(
    ("kwargs", "key", "expected"),
    [
        ({"size": 0}, "size", "given 0; size must be positive"),
        ({"size": 2, "sizes": 2}, "sizes", "unexpected keyword argument 'sizes'"),
    ],
)
def test_an_argument_that_is_refused_is_named(kwargs, key, expected):
    with pytest.raises(EnvConfigError) as caught:
        EnvConfig(Sized, kwargs).make()
    assert caught.value.key == ("kwargs", key)
    assert expected in caught.value.message


def test_an_environment_that_fails_without_arguments_says_why_itself():
    with pytest.raises(gym.error.NameNotFound):
        EnvConfig("CartPol-v1", {"size": 1}).make()


def with_limit():
    return gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1", max_episode_steps=2))


def asked():
    env = gym.make("CartPole-v1")
    return env if env.spec else None


@pytest.mark.parametrize("make", [Sized, "CartPole-v1", with_limit, asked])
def test_a_time_limit_replaces_the_registered_one(make):
    env = EnvConfig(make, time_limit=3).make()
    env.reset(seed=0)
    assert [env.step(i % 2)[3] for i in range(3)] == [False, False, True]
    assert env.spec is None or env.spec.max_episode_steps == 3


def test_frames_are_stacked_in_a_dict_of_boxes_but_not_of_other_spaces():
    boxes = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Box(-1, 1, (3,))})
    venv = DummyVecEnv([lambda: Sized(spaces_of=boxes)])
    stacked = EnvConfig(Sized, frame_stack=4).stack(venv)
    assert stacked.observation_space["b"].shape == (12,)
    other = DummyVecEnv([lambda: Sized(spaces_of=spaces.Dict({"a": spaces.Discrete(3)}))])
    with pytest.raises(EnvConfigError, match="VecFrameStack refuses the observation space") as it:
        EnvConfig(Sized, frame_stack=4).stack(other)
    assert it.value.key == ("frame_stack",)
    assert EnvConfig(Sized).stack(other) is other


@pytest.mark.parametrize(
    "settings",
    [{"frame_stack": n} for n in (0, -1, 1.5, True, MOST_FRAMES + 1)]
    + [{"time_limit": n} for n in (0, "5", 2**31)],
)
def test_numbers_out_of_range_are_refused(settings):
    with pytest.raises(EnvConfigError, match="allowed: whole numbers from 1 to"):
        EnvConfig("CartPole-v1", **settings)


def test_plain_data_holds_what_differs_and_gives_the_same_back():
    config = EnvConfig(
        "Ant-v4",
        {"use_contact_forces": True},
        ({"a:B": {"c": 1}}, "d:E"),
        frame_stack=4,
        time_limit=9,
    )
    assert config.data("Ant-v4") == {
        "kwargs": {"use_contact_forces": True},
        "wrappers": [{"a:B": {"c": 1}}, "d:E"],
        "frame_stack": 4,
        "time_limit": 9,
    }
    assert EnvConfig.from_data("Ant-v4", config.data("Ant-v4")) == config
    assert EnvConfig.from_data("Ant", config.data("Ant")) == config
    assert EnvConfig("Ant-v4").data("Ant-v4") == {}
    assert EnvConfig("Ant-v4").data("Ant") == {"id": "Ant-v4"}


@pytest.mark.parametrize(
    "data", [{"id": 3}, {"kwargs": [1]}, {"wrappers": "a:B"}, {"wrapper": []}, {"frame_stack": 0}]
)
def test_malformed_data_is_refused(data):
    with pytest.raises(EnvConfigError):
        EnvConfig.from_data("CartPole-v1", data)


def test_it_imports_neither_torch_nor_gymnasium():
    code = "import sys, sb3_course.envs.config; print({'torch', 'gymnasium'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_observations_stay_those_of_the_environment():
    one, other = gym.make("CartPole-v1"), EnvConfig("CartPole-v1").make()
    np.testing.assert_array_equal(one.reset(seed=4)[0], other.reset(seed=4)[0])
