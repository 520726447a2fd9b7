"""What ``test_registration.py`` runs in a process of its own."""

import argparse
import contextlib
import io
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import rl_zoo3
import yaml
from gymnasium import spaces
from rl_zoo3 import train as zoo_train
from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER
from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import VecNormalize

import sb3_course
from sb3_course import zoo
from sb3_course.benchmark.definition.checks import checked_grid
from sb3_course.common.checkpoint import read_header
from sb3_course.common.errors import UserError
from sb3_course.registry import constructor_arguments, with_schedules
from sb3_course.zoo.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
GRIDS = [checked_grid(ROOT / "benchmarks" / name) for name in ("classic.yaml", "mujoco.yaml")]
TASKS = [
    (name, algorithm, grid, environment)
    for name, algorithm in zoo.NAMES.items()
    for grid in GRIDS
    for environment in grid.environments
]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zoo.register()


def zoo_command(*words):
    """Run a command of RL Zoo, with warnings of this package as errors, and return its output."""
    output = io.StringIO()
    before = sys.argv
    sys.argv = ["zoo", *words]
    try:
        with contextlib.redirect_stdout(output), warnings.catch_warnings():
            warnings.filterwarnings("error", module="sb3_course")
            warnings.filterwarnings("error", ".*normalized observations")
            main()
    finally:
        sys.argv = before
    return output.getvalue()


def test_registering_twice_changes_nothing():
    manager = zoo_train.ExperimentManager
    zoo.register()
    assert zoo_train.ExperimentManager is manager
    assert set(zoo.NAMES) < set(rl_zoo3.ALGOS)
    assert set(zoo.NAMES) < set(HYPERPARAMS_SAMPLER) & set(HYPERPARAMS_CONVERTER)
    assert {rl_zoo3.ALGOS[name].algorithm for name in zoo.NAMES} == {
        getattr(sb3_course, name) for name in sb3_course.ALGORITHMS
    }


def test_zoo_s_own_algorithms_keep_their_files():
    ours, theirs = (
        zoo_train.ExperimentManager(argparse.Namespace(), name, "CartPole-v1", "logs").config
        for name in ("npg", "trpo")
    )
    assert Path(ours).parent == ROOT / "sb3_course/zoo/hyperparams"
    assert Path(theirs).parent == Path(rl_zoo3.__file__).parent / "hyperparams"
    given = zoo_train.ExperimentManager(
        argparse.Namespace(), "npg", "CartPole-v1", "logs", config="mine.yml"
    )
    assert given.config == "mine.yml"


def values(arguments):
    """Arguments by name; schedules by their values at three times."""
    found = {
        key: [round(value(p), 12) for p in (1.0, 0.4, 0.0)]
        if isinstance(value, Callable) and not isinstance(value, type)
        else value
        for key, value in arguments.items()
    }
    for key in {"learning_rate"} & found.keys():  # a number, or RL Zoo's schedule of one
        if isinstance(found[key], float):
            found[key] = [found[key]] * 3
    return found


@pytest.mark.parametrize(
    ("name", "algorithm", "grid", "environment"),
    TASKS,
    ids=lambda part: part if isinstance(part, str) else part.name,
)
def test_what_rl_zoo_reads_is_what_the_grid_says(name, algorithm, grid, environment):
    in_grid = "REINFORCE (value baseline)" if algorithm == "REINFORCE" else algorithm
    config = grid.config(in_grid, environment)
    manager = zoo_train.ExperimentManager(
        argparse.Namespace(), name, environment, "logs", verbose=0
    )
    read, _ = manager.read_hyperparameters()
    read, *_ = manager._preprocess_hyperparams(read)
    assert values(with_schedules(read)) == values(constructor_arguments(algorithm, config.params))
    assert manager.n_envs == config.n_envs
    assert manager.n_timesteps == config.total_timesteps
    assert bool(manager.normalize) == bool(config.normalize)


def test_enjoy_plays_what_train_has_saved():
    words = ("--algo", "npg", "--env", "Pendulum-v1", "--verbose", "0")
    fast = ("-params", "n_envs:2", "n_steps:100", "target_kl:'lin_0.04'",
            "learning_rate:'lin_0.001'")  # fmt: skip
    zoo_command("train", *words, "-n", "400", "--eval-freq", "200", "--eval-episodes", "1", *fast)
    folder = Path("logs/npg/Pendulum-v1_1")
    assert {"best_model.zip", "Pendulum-v1.zip", "evaluations.npz"} <= {
        path.name for path in folder.iterdir()
    }
    output = zoo_command("enjoy", *words[:4], "-f", "logs", "--no-render", "-n", "400")
    played = [float(text) for text in re.findall(r"Episode Reward: (\S+)", output)]
    assert len(played) == 2
    # RL Zoo's statistics, not those of the file once more: a model of this package plays the same.
    model = sb3_course.NPG.load(folder / "Pendulum-v1.zip", device="cpu", env=normalized(folder))
    assert play(model, seed=0) == pytest.approx(played[0], abs=0.01)
    zoo_command("train", *words, "-n", "200", "--eval-freq", "-1", *fast, "-i",
                str(folder / "Pendulum-v1.zip"))  # fmt: skip
    again = sb3_course.load(
        "logs/npg/Pendulum-v1_2/Pendulum-v1.zip", env="Pendulum-v1", weights_only=True
    )
    assert again.learning_rate(0.5) == pytest.approx(0.0005)  # without a class of RL Zoo's
    saved = yaml.unsafe_load(Path("logs/npg/Pendulum-v1_2/Pendulum-v1/config.yml").read_text())
    assert saved["target_kl"] == "lin_0.04"  # as it was written
    assert again.target_kl(0.5) == pytest.approx(0.02)


def normalized(folder):
    """Pendulum as RL Zoo plays it."""
    from rl_zoo3 import create_test_env

    settings = {"normalize": True, "normalize_kwargs": {}}
    return create_test_env(
        "Pendulum-v1", stats_path=str(folder / "Pendulum-v1"), hyperparams=settings,
        should_render=False,
    )  # fmt: skip


def play(model, seed):
    """Return of one deterministic episode on the raw rewards."""
    env = model.get_env()
    assert isinstance(env, VecNormalize)
    env.seed(seed)
    obs, total, done = env.reset(), 0.0, np.array([False])
    while not done[0]:
        actions, _ = model.predict(obs, deterministic=True)
        obs, _, done, _ = env.step(actions)
        total += env.get_original_reward()[0]
    return total


class Mixed(gymnasium.Env):
    """Ends after ten steps."""

    observation_space = spaces.Dict({"a": spaces.Box(-1, 1, (3,)), "k": spaces.Discrete(3)})
    action_space = spaces.Discrete(2)
    steps = 0

    def reset(self, **kwargs):
        super().reset(**kwargs)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), float(action), self.steps == 10, False, {}


class Bits(Mixed):
    observation_space = spaces.MultiBinary(4)


gymnasium.register("Mixed-v0", entry_point=Mixed)
gymnasium.register("Bits-v0", entry_point=Bits)
SHORT = ("-n", "200", "--eval-freq", "100", "--eval-episodes", "1", "-params", "n_envs:2")


@pytest.mark.parametrize(
    ("name", "env"),
    [*((name, "Mixed-v0") for name in zoo.NAMES), ("npg", "Bits-v0"), ("npg", "FrozenLake-v1")],
)
def test_any_observation_that_no_grid_has_gets_the_default(name, env):
    words = ("--algo", name, "--env", env)
    zoo_command("train", *words, "--verbose", "0", *SHORT)
    model = sb3_course.load(f"logs/{name}/{env}_1/{env}.zip", env=env)
    venv = model.get_vec_normalize_env()
    assert venv.norm_reward
    assert (venv.norm_obs, venv.norm_obs_keys) == (
        (True, ["a"]) if env[0] == "M" else (False, None)
    )
    if env != "Bits-v0":
        assert "Mean reward" in zoo_command(
            "enjoy", *words, "-f", "logs", "--no-render", "-n", "220"
        )
        saved = ("-i", f"logs/{name}/{env}_1/{env}.zip")
        zoo_command("train", *words, "--verbose", "0", *saved, *SHORT)
        assert Path(f"logs/{name}/{env}_2/{env}.zip").exists()


def test_what_a_file_of_ones_own_says_of_normalization_holds():
    entry = {
        "n_timesteps": 100,
        "n_envs": 2,
        "normalize": "dict(norm_obs=False, norm_reward=False)",
    }
    Path("mine.yml").write_text(yaml.safe_dump({"Mixed-v0": entry}))
    words = ("--algo", "npg", "--env", "Mixed-v0", "--verbose", "0")
    zoo_command("train", *words, "--conf-file", "mine.yml", "--eval-freq", "-1")
    venv = sb3_course.load(
        "logs/npg/Mixed-v0_1/Mixed-v0.zip", env="Mixed-v0"
    ).get_vec_normalize_env()
    assert not venv.norm_obs and not venv.norm_reward


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-params", "target_kl:-1"), "NPG refuses it: target_kl must be"),
        (("-params", "target_lk:0.1"), "NPG refuses it: .*'target_lk'"),
        (("--conf-file", "none.yml"), "--conf-file: none.yml: No such file"),
        (("--conf-file", "broken.yml"), "--conf-file: broken.yml, 2:1: not valid YAML"),
    ],
)
def test_what_is_refused_is_told_in_a_line(words, expected):
    Path("broken.yml").write_text("npg: [\n")
    with pytest.raises(UserError, match=f"^{expected}"):
        zoo_command("train", "--algo", "npg", "--env", "CartPole-v1", *words)


def read_by_zoo(given, **settings):
    manager = zoo_train.ExperimentManager(
        argparse.Namespace(), "npg", "CartPole-v1", "logs", verbose=0, hyperparams=given, **settings
    )
    return manager.read_hyperparameters()[0]


def test_what_no_trial_replaces_stays():
    given = {"step_size": 0.1}
    assert "step_size" in read_by_zoo(dict(given))
    assert "step_size" in read_by_zoo(dict(given), trial_id=5)  # of no study
    assert "step_size" not in read_by_zoo(dict(given), optimize_hyperparameters=True)
    with pytest.raises(UserError, match="unexpected keyword argument 'step_size'"):
        zoo_command(
            "train", "--algo", "reinforce", "--env", "CartPole-v1", "-n", "64", "--optimize",
            "--n-trials", "1", "--no-optim-plots", "-params", "n_envs:2", "step_size:0.5",
        )  # fmt: skip


@pytest.mark.parametrize("content", ["text", "of A2C"])
def test_a_file_that_cannot_be_loaded_is_told_in_a_line(content):
    path = Path("model.zip")
    path.write_text("text")
    if content == "of A2C":
        A2C("MlpPolicy", "CartPole-v1").save(path)
    with pytest.raises(UserError, match=r"^NPG cannot load model\.zip: .*(checkpoint|saved by)"):
        zoo_command("train", "--algo", "npg", "--env", "CartPole-v1", "-i", "model.zip")


def test_the_file_of_processes_that_are_closed_names_their_environment():
    words = ("--algo", "npg", "--env", "CartPole-v1", "--vec-env", "subproc", "--verbose", "0")
    zoo_command("train", *words, *SHORT)
    header = read_header("logs/npg/CartPole-v1_1/CartPole-v1.zip")
    assert (header["env"], header.get("env_unknown")) == ("CartPole-v1", None)


@pytest.mark.parametrize(
    ("name", "given"), [("reinforce", "n_episodes:4"), ("npg", "step_size:0.1")]
)
def test_a_search_puts_its_values_over_those_given(name, given):
    output = zoo_command(
        "train", "--algo", name, "--env", "CartPole-v1", "-n", "64", "--optimize",
        "--n-trials", "1", "--no-optim-plots", "--eval-episodes", "1", "--seed", "3",
        "-params", "n_envs:2", given,
    )  # fmt: skip
    assert "Number of finished trials:  1" in output


SEARCHED = [
    name if name == "npg" else pytest.param(name, marks=pytest.mark.slow) for name in zoo.NAMES
]


@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_of_two_trials(name):
    output = zoo_command(
        "train", "--algo", name, "--env", "CartPole-v1", "-n", "64", "--optimize",
        "--n-trials", "2", "--no-optim-plots", "--eval-episodes", "1", "--seed", "3",
        "-params", "n_envs:2",
    )  # fmt: skip
    assert "Number of finished trials:  2" in output
    (report,) = Path("logs", name).glob("report_*.csv")
    states = [line.rpartition(",")[2] for line in report.read_text().splitlines()[1:]]
    assert set(states) <= {"COMPLETE", "PRUNED"} and "COMPLETE" in states
