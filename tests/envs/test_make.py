"""One function for every backend."""

import os
import signal
import subprocess
import sys
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecFrameStack,
    VecNormalize,
)

from sb3_course import NPG, load
from sb3_course.envs import EnvConfig, EnvPoolVecEnv, backend_of, make_vec_env
from sb3_course.envs._envpool_spec import UnsupportedEnvError
from sb3_course.envs.config import EnvConfigError
from sb3_course.envs.make import config_of
from tests.worlds import RandomSpaces


def make_cartpole(**kwargs: object) -> gym.Env:
    return gym.make("CartPole-v1", **kwargs)


def skip_without_envpool(backend: str) -> None:
    if backend in ("envpool", "auto"):
        pytest.importorskip("envpool")


@pytest.mark.parametrize(
    ("backend", "cls"),
    [("envpool", EnvPoolVecEnv), ("dummy", DummyVecEnv), ("subproc", SubprocVecEnv)],
)
def test_backend_decides_the_class_and_takes_the_seed(backend: str, cls: type) -> None:
    skip_without_envpool(backend)
    venv = make_vec_env("CartPole-v1", n_envs=1, seed=5, backend=backend)
    try:
        assert type(venv) is cls
        assert backend_of(VecFrameStack(venv, 2)) == backend
        obs = venv.reset()
    finally:
        venv.close()
    other = "envpool" if backend == "envpool" else "dummy"
    wider = make_vec_env("CartPole-v1", n_envs=2, seed=4, backend=other)
    np.testing.assert_array_equal(obs[0], wider.reset()[1])  # environment i gets seed + i
    assert not np.array_equal(obs[0], wider.reset()[1])


@pytest.mark.parametrize("backend", ["envpool", "dummy"])
def test_every_backend_reports_episodes_alike(backend: str) -> None:
    skip_without_envpool(backend)
    venv = make_vec_env("CartPole-v1", n_envs=1, seed=0, backend=backend)
    venv.reset()
    steps, dones = 0, np.zeros(1, dtype=bool)
    while not dones[0]:
        _, rewards, dones, infos = venv.step(np.ones(1, dtype=np.int64))
        steps += 1
    assert infos[0]["episode"]["r"] == infos[0]["episode"]["l"] == steps
    assert infos[0]["episode"].keys() == {"r", "l", "t"}
    assert infos[0]["TimeLimit.truncated"] is False
    assert infos[0]["terminal_observation"].shape == (4,)
    assert rewards.dtype == np.float32
    assert dones.dtype == bool


@pytest.mark.parametrize(
    ("env_id", "env_kwargs", "expected", "reason"),
    [
        ("CartPole-v1", None, "envpool", "EnvPool has it"),
        ("LunarLander-v3", None, "envpool", "EnvPool has it"),
        ("OnlyGymnasium-v0", None, "dummy", "does not have 'OnlyGymnasium-v0'"),
        ("Blackjack-v1", None, "dummy", "does not fit"),
        ("Pendulum-v1", None, "dummy", "clipped"),
        ("HumanoidStandup-v4", None, "dummy", "contact forces"),
        ("CartPole-v1", {"sutton_barto_reward": True}, "dummy", "sutton_barto_reward"),
        ("CartPole-v1", {"render_mode": "rgb_array"}, "dummy", "does not render"),
        (make_cartpole, None, "dummy", "make_cartpole"),
    ],
)
def test_auto_takes_envpool_where_it_can_and_says_why(
    env_id: str,
    env_kwargs: dict | None,
    expected: str,
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skip_without_envpool("auto")
    if env_kwargs == {"sutton_barto_reward": True} and gym.__version__ < "1":
        pytest.skip("this Gymnasium's CartPole has no such option")
    if env_id == "HumanoidStandup-v4":
        pytest.importorskip("mujoco")
    if env_id == "OnlyGymnasium-v0":
        spec = gym.envs.registration.EnvSpec(env_id, entry_point=make_cartpole)
        monkeypatch.setitem(gym.registry, env_id, spec)
    venv = make_vec_env(env_id, backend="auto", env_kwargs=env_kwargs)
    assert backend_of(venv) == expected
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert f"'{expected}'" in said
    assert reason in said


def test_auto_falls_back_without_envpool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    assert backend_of(make_vec_env("CartPole-v1")) == "dummy"
    assert "not installed" in capsys.readouterr().out
    make_vec_env("CartPole-v1", verbose=0)
    assert capsys.readouterr().out == ""


def test_an_unknown_environment_is_told_with_where_ones_own_would_be() -> None:
    with pytest.raises(UnsupportedEnvError, match="your own names its module: my_module:MyEnv-v0"):
        make_vec_env("MyEnv-v0")


def test_envpool_without_envpool_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(ImportError, match=r"pip install 'sb3-course\[envpool\]'"):
        make_vec_env("CartPole-v1", backend="envpool")


def test_importing_the_package_imports_no_simulator() -> None:
    code = (
        "import sys, sb3_course.envs;"
        "print([m for m in ('envpool', 'mujoco', 'gymnasium.envs.mujoco') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_boxes_of_a_dict_are_normalized() -> None:
    parts = {"box": spaces.Box(-1, 1, (2,)), "kind": spaces.Discrete(3)}
    mixed, boxes = spaces.Dict(parts), spaces.Dict({"box": parts["box"]})
    for space, expected in ((mixed, ["box"]), (boxes, ["box"])):
        make = partial(RandomSpaces, space, spaces.Discrete(2))
        venv = make_vec_env(make, 2, backend="dummy", normalize=True)
        assert venv.norm_obs_keys == expected
        assert set(venv.obs_rms) == {"box"}


@pytest.mark.parametrize("backend", ["envpool", "dummy"])
@pytest.mark.parametrize("normalize", [True, {"gamma": 0.9, "norm_reward": False}])
def test_normalize(backend: str, normalize: bool | dict) -> None:
    skip_without_envpool(backend)
    venv = make_vec_env("CartPole-v1", 3, seed=0, backend=backend, normalize=normalize)
    assert isinstance(venv, VecNormalize)
    assert venv.gamma == (0.99 if normalize is True else 0.9)
    assert venv.norm_reward is (normalize is True)
    assert backend_of(venv) == backend
    assert venv.reset().shape == (3, 4)


@pytest.mark.parametrize("backend", ["envpool", "dummy"])
def test_env_kwargs_reach_the_environment(backend: str) -> None:
    skip_without_envpool(backend)
    venv = make_vec_env("CartPole-v1", backend=backend, env_kwargs={"max_episode_steps": 3})
    venv.reset()
    dones = [venv.step(np.array([t % 2]))[2][0] for t in range(3)]
    assert dones == [False, False, True]


def test_callables_go_through_stable_baselines3() -> None:
    venv = make_vec_env(make_cartpole, 2, backend="dummy", env_kwargs={"max_episode_steps": 7})
    assert venv.get_attr("spec")[0].max_episode_steps == 7


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"backend": "jax"}, "auto, envpool, dummy, subproc, gymnasium"),
        ({"n_envs": 0}, "n_envs must be a whole number of at least 1, got 0"),
        ({"n_envs": 1.5}, "n_envs must be a whole number of at least 1, got 1.5"),
        ({"n_envs": "3"}, "n_envs must be a whole number of at least 1, got '3'"),
        ({"n_envs": True}, "n_envs must be a whole number of at least 1, got True"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"seed": 1.5, "backend": "envpool"}, "seed must be a whole number of at least 0, got 1.5"),
        ({"env_id": make_cartpole, "backend": "envpool"}, "an environment id, not a callable"),
    ],
)
def test_bad_input(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_vec_env(**{"env_id": "CartPole-v1", **kwargs})


@pytest.mark.parametrize("backend", ["dummy", "envpool", "gymnasium"])
def test_numbers_of_numpy_are_numbers(backend: str) -> None:
    numbers = {"n_envs": 2, "seed": 3, "time_limit": 30}
    made, same = (
        make_vec_env(
            "CartPole-v1", **{name: kind(n) for name, n in numbers.items()}, backend=backend
        )
        for kind in (np.int64, int)
    )
    np.testing.assert_array_equal(made.reset(), same.reset())
    assert config_of(made) == config_of(same)


def test_backend_of_knows_only_these_backends() -> None:
    class Other(DummyVecEnv):
        @property
        def unwrapped(self) -> object:
            return object()

    with pytest.raises(ValueError, match="not one of make_vec_env's backends"):
        backend_of(Other([make_cartpole]))


class Doubled(gym.RewardWrapper):
    def __init__(self, env, times=2.0):
        super().__init__(env)
        self.times = times

    def reward(self, reward):
        return self.times * float(reward)


@pytest.mark.parametrize("backend", ["auto", "dummy", "subproc"])
def test_a_wrapper_is_put_around_each_environment_as_sb3_does(backend, tmp_path):
    venv = make_vec_env(
        "CartPole-v1",
        2,
        seed=3,
        backend=backend,
        wrapper_class=Doubled,
        wrapper_kwargs={"times": 3.0},
        monitor_dir=str(tmp_path / "logs"),
    )
    try:
        assert backend_of(venv) == ("dummy" if backend == "auto" else backend)
        np.testing.assert_array_equal(
            venv.reset(), make_vec_env("CartPole-v1", 2, seed=3, backend="dummy").reset()
        )
        assert venv.step(np.zeros(2, dtype=np.int64))[1].tolist() == [3, 3]
        assert len(list((tmp_path / "logs").glob("*.monitor.csv"))) == 2
    finally:
        venv.close()


def test_the_class_and_its_arguments_are_those_of_sb3():
    venv = make_vec_env(
        make_cartpole,
        vec_env_cls=SubprocVecEnv,
        vec_env_kwargs={"start_method": "spawn"},
        env_kwargs={"max_episode_steps": 5},
        start_index=4,
    )
    assert type(venv) is SubprocVecEnv
    venv.close()


class OtherProcesses(SubprocVecEnv):
    pass


@pytest.mark.parametrize("start_method", [None, "spawn"])
@pytest.mark.parametrize("cls", [SubprocVecEnv, OtherProcesses])
def test_processes_of_environments_leave_ctrl_c_to_the_one_that_trains(cls, start_method):
    """A terminal sends it to all of them, and a batch that has begun is finished."""
    SubprocVecEnv([make_cartpole]).close()  # a server of processes may run already
    venv = make_vec_env(
        "CartPole-v1", 2, vec_env_cls=cls, vec_env_kwargs={"start_method": start_method}
    )
    venv.reset()
    for process in venv.processes:
        os.kill(process.pid, signal.SIGINT)
    assert venv.step(np.zeros(2, dtype=int))[1].tolist() == [1, 1]
    venv.close()
    assert [process.exitcode for process in venv.processes] == [0, 0]


def test_an_environment_of_this_process_leaves_ctrl_c_as_it_is():
    before = signal.getsignal(signal.SIGINT)
    make_vec_env("CartPole-v1", 2, backend="dummy").close()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"wrapper": Doubled}, "no argument 'wrapper'; of SB3's it takes .*wrapper_class"),
        ({"backend": "envpool", "wrapper_class": Doubled}, "'envpool' .* for wrapper_class"),
        ({"backend": "envpool", "monitor_dir": "logs"}, "'envpool' .* for monitor_dir"),
        ({"backend": "dummy", "vec_env_cls": SubprocVecEnv}, "vec_env_cls and backend 'dummy'"),
        ({"wrapper_kwargs": {"times": 3}}, "wrapper_kwargs are of a wrapper_class"),
    ],
)
def test_arguments_of_sb3_that_do_not_fit_are_refused(kwargs, message):
    with pytest.raises(TypeError, match=message):
        make_vec_env("CartPole-v1", **kwargs)


DOUBLED = {f"{__name__}:Doubled": {"times": 3.0}}


@pytest.mark.parametrize("backend", ["auto", "dummy", "subproc"])
def test_named_wrappers_are_put_around_the_monitor(backend, capsys):
    venv = make_vec_env(
        "CartPole-v1", 2, seed=3, backend=backend, wrappers=[DOUBLED, "Autoreset"], time_limit=4
    )
    try:
        assert backend_of(venv) == ("dummy" if backend == "auto" else backend)
        venv.reset()
        steps = [venv.step(np.zeros(2, dtype=np.int64)) for _ in range(4)]
        assert all(step[1].tolist() == [3, 3] for step in steps)
        assert [info["episode"]["r"] for info in steps[-1][3]] == [4, 4]  # the environment's own
        assert [info["TimeLimit.truncated"] for info in steps[-1][3]] == [True, True]
        assert all(venv.env_is_wrapped(gym.wrappers.Autoreset))
    finally:
        venv.close()
    if backend == "auto":
        assert "wrappers could be put around" in capsys.readouterr().out


def test_envpool_takes_the_arguments_that_it_knows():
    skip_without_envpool("envpool")
    pytest.importorskip("mujoco")

    def reward(**settings):
        venv = make_vec_env("HalfCheetah-v4", 1, seed=0, backend="envpool", **settings)
        venv.reset()
        value = venv.step(np.ones((1, 6), dtype=np.float32))[1][0]
        venv.close()
        return value

    plain = reward()
    assert reward(env_kwargs={"ctrl_cost_weight": 1.1}) == pytest.approx(plain - 6.0, abs=1e-4)
    with pytest.raises(ValueError, match="it has no nonsense"):
        reward(env_kwargs={"nonsense": 1})
    with pytest.raises(ValueError, match="it has them with values of other types"):
        reward(env_kwargs={"ctrl_cost_weight": "much"})
    with pytest.raises(ValueError, match="xml_file from a folder of its own"):
        reward(env_kwargs={"xml_file": "my_cheetah.xml"})


@pytest.mark.parametrize("backend", ["envpool", "dummy", "gymnasium"])
def test_frames_and_a_time_limit_are_the_same_on_every_backend(backend):
    skip_without_envpool(backend)
    if backend == "gymnasium" and not hasattr(gym.vector, "AutoresetMode"):
        pytest.skip("Gymnasium 1.0 has no autoreset modes")
    venv = make_vec_env(
        "MountainCar-v0", 2, 0, backend, frame_stack=3, time_limit=5, normalize=True, verbose=0
    )
    assert backend_of(venv) == backend
    assert venv.observation_space.shape == (6,)
    first = venv.reset()
    for _ in range(5):
        _, _, dones, infos = venv.step(np.zeros(2, dtype=np.int64))
    assert dones.all()
    raw = venv.get_original_obs()
    assert (raw[:, :4] == 0).all()  # of the next episode there is one frame
    assert (raw[:, 4:] != 0).any()
    assert infos[0]["terminal_observation"].shape == first[0].shape
    assert infos[0]["episode"]["l"] == 5
    assert infos[0]["TimeLimit.truncated"]
    venv.close()


def test_a_whole_description_needs_no_further_settings():
    config = EnvConfig("CartPole-v1", time_limit=7)
    assert make_vec_env(config, backend="dummy").get_attr("spec")[0].max_episode_steps == 7
    with pytest.raises(TypeError, match="has its own settings"):
        make_vec_env(config, backend="dummy", frame_stack=2)


@pytest.mark.parametrize("backend", ["auto", "dummy", "subproc", "gymnasium"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"wrappers": ["no_module:W"]}, "wrappers.0: given 'no_module:W'; cannot import"),
        ({"env_kwargs": {"nonsense": 1}}, "kwargs.nonsense: given 1; TypeError"),
        ({"frame_stack": 0}, "frame_stack: given 0; allowed"),
    ],
)
def test_a_setting_that_is_refused_is_named_by_every_backend(backend, settings, message):
    if backend == "gymnasium" and not hasattr(gym.vector, "AutoresetMode"):
        pytest.skip("Gymnasium 1.0 has no autoreset modes")
    with pytest.raises(EnvConfigError, match=message):
        make_vec_env("CartPole-v1", 2, backend=backend, **settings)


def test_envpool_refuses_wrappers():
    with pytest.raises(UnsupportedEnvError, match="no Python objects"):
        make_vec_env("CartPole-v1", backend="envpool", wrappers=[DOUBLED])
    with pytest.raises(TypeError, match="wrapper_class exclude each other"):
        make_vec_env("CartPole-v1", wrappers=[DOUBLED], wrapper_class=Doubled)


@pytest.mark.parametrize("backend", ["auto", "dummy", "subproc", "gymnasium"])
def test_every_backend_takes_the_id_of_a_module(backend):
    if backend == "gymnasium" and not hasattr(gym.vector, "AutoresetMode"):
        pytest.skip("Gymnasium 1.0 has no autoreset modes")
    venv = make_vec_env(
        "tests.own_envs:Walk-v0", 2, 0, backend, env_kwargs={"goal": 2.0}, verbose=0
    )
    assert (venv.reset()[:, 1] == 2).all()
    venv.close()


@pytest.mark.parametrize("backend", ["dummy", "gymnasium"])
@pytest.mark.parametrize("wrapper", ["FlattenObservation", {"FlattenObservation": {}}, "class"])
def test_a_single_wrapper_needs_no_list(wrapper: Any, backend: Any) -> None:
    given = gym.wrappers.FlattenObservation if wrapper == "class" else wrapper
    venv = make_vec_env("FrozenLake-v1", 2, backend=backend, verbose=0, wrappers=given)
    assert venv.observation_space.shape == (16,)
    venv.close()


def test_normalize_is_true_false_or_arguments():
    with pytest.raises(ValueError, match="normalize must be True, False or a dict .* got None"):
        make_vec_env("CartPole-v1", normalize=None)


class Camera(gym.Env):
    """Its spaces are attributes of the class, as in many environments."""

    observation_space = spaces.Dict(
        {"camera": spaces.Box(0, 255, (40, 52, 3), np.uint8), "place": spaces.Box(-1, 1, (2,))}
    )
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, False, False, {}


@pytest.mark.parametrize("normalize", [True, {"norm_obs_keys": ["place"]}])
def test_an_image_beside_numbers_is_no_part_of_the_normalization(normalize):
    venv = make_vec_env(Camera, 2, normalize=normalize)
    assert venv.norm_obs_keys == ["place"]
    assert venv.observation_space["camera"].dtype == np.uint8
    assert venv.reset()["camera"].dtype == np.uint8


def test_a_normalization_leaves_the_class_of_the_environments_as_it_is(tmp_path):
    before = str(Camera.observation_space)
    assert make_vec_env(Camera, 2, normalize={"norm_obs_keys": ["place", "camera"]}).norm_obs
    assert str(Camera.observation_space) == before == str(make_vec_env(Camera).observation_space)
    env = make_vec_env(Camera, 2, normalize={"norm_obs_keys": ["place", "camera"]})
    NPG("MultiInputPolicy", env, n_steps=4).save(tmp_path / "model")
    load(tmp_path / "model", env=Camera())
    assert str(Camera.observation_space) == before


@pytest.mark.parametrize(
    "space", [spaces.Discrete(3), spaces.MultiBinary(2), spaces.Dict({"x": spaces.Discrete(3)})]
)
def test_rewards_alone_are_normalized_where_no_observation_can_be(space):
    venv = make_vec_env(spoken(space), 2, normalize=True)
    assert not venv.norm_obs and venv.norm_reward
    assert venv.observation_space == space


def spoken(space):
    return lambda: RandomSpaces(space, spaces.Discrete(2))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Text(5), r"have a Text, which SB3 cannot hold: .*such as FlattenObservation"),
        (
            spaces.Dict({"x": spaces.Discrete(2), "mission": spaces.Text(5)}),
            r"a Text at 'mission', which .* such as FilterObservation",
        ),
        (spaces.Sequence(spaces.Discrete(2)), "have a Sequence, which SB3 cannot hold"),
    ],
)
@pytest.mark.parametrize("backend", ["dummy", "gymnasium", "subproc"])
def test_observations_that_sb3_cannot_hold_are_told_with_a_way_out(space, words, backend):
    with pytest.raises(EnvConfigError, match=words):
        make_vec_env(spoken(space), backend=backend)


def test_a_wrapper_may_leave_such_observations_out():
    space = spaces.Dict({"x": spaces.Discrete(2), "mission": spaces.Text(5)})
    kept = {"gymnasium.wrappers:FilterObservation": {"filter_keys": ["x"]}}
    venv = make_vec_env(spoken(space), 2, wrappers=[kept])
    assert list(venv.observation_space) == ["x"]


@pytest.mark.parametrize("backend", ["dummy", "gymnasium"])
def test_a_wrapper_that_records_what_the_monitor_has_recorded_is_refused(backend):
    name = "RecordEpisodeStatistics"
    with pytest.raises(EnvConfigError, match="SB3's Monitor has recorded the episode already"):
        make_vec_env("CartPole-v1", backend=backend, wrappers=name)
    make_vec_env("CartPole-v1", backend=backend, wrappers={name: {"stats_key": "mine"}}).close()


def test_what_envpool_has_and_refuses_is_told_where_gymnasium_lacks_it():
    skip_without_envpool("envpool")
    with pytest.raises(UnsupportedEnvError, match="has more than one player, but SB3 trains one"):
        make_vec_env("Go9x9-v1")
