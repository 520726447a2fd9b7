"""A saved training goes on as if it had not been interrupted."""

import subprocess
import sys
import types
import warnings
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pandas as pd
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback
from stable_baselines3.common.utils import set_random_seed

import sb3_course
from sb3_course import loading, make_vec_env
from sb3_course.common.callbacks import SaveEvery
from tests.contract.helpers import (
    VARIANTS,
    copy_parameters,
    equal_tensors,
    every_class,
    every_variant,
    small_model,
)

ROOT = Path(__file__).resolve().parents[2]
IN_A_NEW_PROCESS = """
import sys
import torch
import sb3_course
from tests.contract.test_resuming import environments
for path, kind, steps in zip(*[iter(sys.argv[1:])] * 3):
    model = sb3_course.load(path, env=environments(kind, seed=77), device="cpu")
    model.learn(int(steps), reset_num_timesteps=False).policy.optimizer = None
    torch.save(model.policy.state_dict(), path + ".pt")
"""


def environments(kind, seed=0):
    """Two environments, of another seed where a model goes on in them."""
    env_id, _, normalize = kind.partition(" ")
    return make_vec_env(env_id, 2, seed=seed, backend="dummy", normalize=bool(normalize))


def model_in(kind, algorithm, kwargs):
    arguments = {"seed": 1, "device": "cpu", **kwargs}
    if algorithm is not sb3_course.OnlineActorCritic:
        arguments["n_steps"] = 20
    return algorithm("MlpPolicy", environments(kind), **arguments)


@pytest.mark.parametrize(("first", "then"), [("dummy", "subproc"), ("subproc", "dummy")])
def test_a_training_goes_on_with_the_other_backend(first, then, tmp_path):
    """Rewards are 1, which both have alike: DummyVecEnv has 32 bits, SubprocVecEnv 64."""

    def venv(backend, seed):
        return make_vec_env("CartPole-v1", 2, seed=seed, backend=backend)

    whole = small_model(sb3_course.NPG, venv(first, 0)).learn(500)
    small_model(sb3_course.NPG, venv(first, 0)).learn(250).save(tmp_path / "half")
    model = sb3_course.load(tmp_path / "half", env=venv(then, 7), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.learn(500 - model.num_timesteps, reset_num_timesteps=False)
    for trained in (whole, model):
        trained.get_env().close()
    assert equal_tensors(copy_parameters(whole), copy_parameters(model))


def steps_of(algorithm):
    return 150 if algorithm is sb3_course.OnlineActorCritic else 600


def test_a_training_goes_on_in_a_new_process_bit_for_bit(tmp_path):
    """Every class and switch, once without an interruption, once in two processes."""
    expected, words = {}, []
    for i, (algorithm, kwargs) in enumerate(VARIANTS):
        kind = ("CartPole-v1", "Pendulum-v1 normalized")[i % 2]
        steps = steps_of(algorithm)
        model = model_in(kind, algorithm, kwargs).learn(steps)
        path = str(tmp_path / f"{i}.zip")
        model.save(path)
        expected[path] = copy_parameters(model.learn(steps, reset_num_timesteps=False))
        words += [path, kind, str(steps)]
    subprocess.run([sys.executable, "-c", IN_A_NEW_PROCESS, *words], check=True, cwd=ROOT)
    for path, parameters in expected.items():
        resumed = th.load(path + ".pt")
        assert all(th.equal(parameters[name], resumed[name]) for name in resumed), path


@every_variant
def test_an_interruption_between_two_batches_changes_nothing(algorithm, kwargs, tmp_path):
    """The one call of learn() that is interrupted is one call without the interruption."""
    steps = 2 * steps_of(algorithm)
    whole = copy_parameters(model_in("CartPole-v1", algorithm, kwargs).learn(steps))
    model = model_in("CartPole-v1", algorithm, kwargs)

    def save_and_stop(saved):
        saved.save(tmp_path / "model")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.learn(steps, SaveEvery(steps // 2, save_and_stop, print))
    resumed = algorithm.load(tmp_path / "model", env=environments("CartPole-v1", 7), device="cpu")
    resumed.learn(steps - resumed.num_timesteps, reset_num_timesteps=False)
    assert equal_tensors(whole, copy_parameters(resumed))


@every_variant
def test_what_is_saved_as_a_rollout_ends_is_inside_a_batch(algorithm, kwargs, tmp_path):
    """Its steps are not learned from yet; OnlineActorCritic keeps its only one, and loses none."""

    class SavesOnce(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_end(self):
            if not (tmp_path / "model.zip").exists():
                self.model.save(tmp_path / "model")

    steps = steps_of(algorithm)
    model = model_in("CartPole-v1", algorithm, kwargs).learn(steps, SavesOnce())
    resumed = algorithm.load(tmp_path / "model", env=environments("CartPole-v1", 7), device="cpu")
    left = steps - resumed.num_timesteps
    if algorithm is sb3_course.OnlineActorCritic:
        resumed.learn(left, reset_num_timesteps=False)
        assert equal_tensors(copy_parameters(model), copy_parameters(resumed))
        assert resumed._n_updates == model._n_updates
    else:
        with pytest.warns(UserWarning, match="start anew: it was saved inside a batch"):
            resumed.learn(left, reset_num_timesteps=False)


def test_frozen_parameters_of_a_compiled_policy_are_named_as_its_own(tmp_path, monkeypatch):
    checks = th.distributions.Distribution
    monkeypatch.setattr(checks, "_validate_args", checks._validate_args)  # compiling ends them
    model = small_model(sb3_course.NPG, "CartPole-v1")
    model.policy.action_net.requires_grad_(False)
    model.policy = th.compile(model.policy, backend="eager")
    model.save(tmp_path / "model")
    loaded = sb3_course.NPG.load(tmp_path / "model")
    frozen = [name for name, p in loaded.policy.named_parameters() if not p.requires_grad]
    assert frozen == ["action_net.weight", "action_net.bias"]


@every_class
def test_frozen_parameters_stay_frozen(algorithm, tmp_path):
    kwargs = {} if algorithm is sb3_course.OnlineActorCritic else {"n_steps": 20}
    make = partial(environments, "CartPole-v1")
    model = algorithm("MlpPolicy", make(), seed=1, device="cpu", **kwargs)
    layer = model.policy.mlp_extractor.policy_net[0]
    layer.requires_grad_(False)
    model.learn(60).save(tmp_path / "model")
    before = layer.weight.clone()
    model.learn(60, reset_num_timesteps=False)
    loaded = algorithm.load(tmp_path / "model", env=make(seed=7), device="cpu")
    loaded.learn(60, reset_num_timesteps=False)
    assert th.equal(loaded.policy.mlp_extractor.policy_net[0].weight, before)
    assert equal_tensors(copy_parameters(model), copy_parameters(loaded))
    frozen = [name for name, p in loaded.policy.named_parameters() if not p.requires_grad]
    assert frozen == ["mlp_extractor.policy_net.0.weight", "mlp_extractor.policy_net.0.bias"]


class Images(gymnasium.Env):
    """Random images, whose memory SB3's ``VecTransposeImage`` lays out in another order."""

    observation_space = spaces.Box(0, 255, (36, 36, 1), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 9
        return self.image(), {}

    def step(self, action):
        self.left -= 1
        return self.image(), float(action), self.left == 0, False, {}

    def image(self):
        return self.np_random.integers(0, 255, (36, 36, 1)).astype(np.uint8)


@every_class
def test_images_go_on_bit_for_bit(algorithm, tmp_path):
    kwargs = {} if algorithm is sb3_course.OnlineActorCritic else {"n_steps": 20}
    small = {"features_extractor_kwargs": {"features_dim": 4}}
    make = partial(make_vec_env, Images, 2, backend="dummy")
    model = algorithm("CnnPolicy", make(seed=0), policy_kwargs=small, device="cpu", **kwargs)
    model.learn(60).save(tmp_path / "model")
    model.learn(60, reset_num_timesteps=False)
    resumed = algorithm.load(tmp_path / "model", env=make(seed=7), device="cpu")
    resumed.learn(60, reset_num_timesteps=False)
    assert equal_tensors(copy_parameters(model), copy_parameters(resumed))


@pytest.mark.parametrize("algorithm", [A2C, PPO, TRPO])
def test_models_of_other_libraries_go_on_as_well(algorithm, tmp_path):
    kwargs = {} if algorithm is A2C else {"batch_size": 40}
    model = model_in("Pendulum-v1 normalized", algorithm, kwargs).learn(600)
    loading.save(model, tmp_path / "model.zip")
    model.learn(600, reset_num_timesteps=False)
    resumed, lost = loading.load_to_continue(
        algorithm, tmp_path / "model.zip", environments("Pendulum-v1", 7), trusted=True
    )
    assert lost is None
    resumed.learn(600, reset_num_timesteps=False)
    for one, other in zip(model.policy.parameters(), resumed.policy.parameters()):
        assert th.equal(one, other)


@every_class
def test_lost_episodes_are_told_once_and_the_rest_goes_on(algorithm, tmp_path):
    model = model_in("CartPole-v1", algorithm, {}).learn(100)
    model.save(tmp_path / "model")
    env = make_vec_env("CartPole-v1", 3, seed=5, backend="dummy")
    resumed = algorithm.load(tmp_path / "model", env=env, device="cpu")
    with pytest.warns(UserWarning, match="start anew: there are states of 2 environments"):
        resumed.learn(100, reset_num_timesteps=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.learn(100, reset_num_timesteps=False)
    assert resumed.num_timesteps > model.num_timesteps


@every_class
def test_a_new_training_of_a_loaded_model_does_not_go_on(algorithm, tmp_path):
    """Neither its environments nor the random generators are touched."""
    model = model_in("CartPole-v1", algorithm, {}).learn(100)
    model.save(tmp_path / "whole")
    model.save(tmp_path / "weights", exclude=["training_state"])
    trained = []
    for name in ("whole", "weights"):
        env = environments("CartPole-v1", 7)
        loaded = algorithm.load(tmp_path / name, env=env, device="cpu")
        set_random_seed(3)
        trained.append(copy_parameters(loaded.learn(100)))
        assert loaded._num_timesteps_at_start == 0
    assert equal_tensors(*trained)


@every_class
def test_without_an_environment_nothing_is_used_up(algorithm, tmp_path):
    """The error says to set one, and then the training goes on exactly."""
    model = model_in("CartPole-v1", algorithm, {}).learn(100)
    model.save(tmp_path / "model")
    model.learn(100, reset_num_timesteps=False)
    resumed = algorithm.load(tmp_path / "model", device="cpu")
    with pytest.raises(ValueError, match="no environment to learn in"):
        resumed.learn(100, reset_num_timesteps=False)
    resumed.set_env(environments("CartPole-v1", 7))
    resumed.learn(100, reset_num_timesteps=False)
    assert equal_tensors(copy_parameters(model), copy_parameters(resumed))


@every_class
def test_a_loaded_model_that_is_saved_again_has_lost_nothing(algorithm, tmp_path):
    model = model_in("CartPole-v1", algorithm, {}).learn(100)
    model.save(tmp_path / "one")
    model.learn(100, reset_num_timesteps=False)
    algorithm.load(tmp_path / "one", device="cpu").save(tmp_path / "two")
    resumed = algorithm.load(tmp_path / "two", env=environments("CartPole-v1", 7), device="cpu")
    resumed.learn(100, reset_num_timesteps=False)
    assert equal_tensors(copy_parameters(model), copy_parameters(resumed))


@every_class
def test_a_file_without_training_state_is_smaller_and_loads(algorithm, tmp_path):
    model = model_in("CartPole-v1", algorithm, {}).learn(100)
    model.save(tmp_path / "with")
    model.save(tmp_path / "without", exclude=["training_state"])
    sizes = [(tmp_path / f"{name}.zip").stat().st_size for name in ("with", "without")]
    assert sizes[1] < sizes[0]
    loaded = algorithm.load(tmp_path / "without", env=environments("CartPole-v1"), device="cpu")
    loaded.learn(100, reset_num_timesteps=False)


class Level(gymnasium.Env):
    """Has a setting, and a level that the agent's episodes raise."""

    observation_space = spaces.Box(-100, 100, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, bonus=1.0):
        self._b, self.level = bonus, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.level, self.left = self.level + 1, 7
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.full(1, self.left, np.float32), self._b * action, self.left == 0, False, {}


class Market(Level):
    """Has a table and an object that come from outside."""

    def __init__(self, year=2020):
        super().__init__()
        self.table = pd.DataFrame({"year": [year]})
        self.source = types.SimpleNamespace(year=year)


MADE_OTHERWISE = {
    "argument": ({}, {"env_kwargs": {"g": 2.0}}, "PendulumEnv.g is 2.0, and was 10.0"),
    "time limit": ({}, {"time_limit": 50}, "TimeLimit._max_episode_steps is 50, and was 200"),
    "subproc": (
        {"backend": "subproc"},
        {"backend": "subproc", "env_kwargs": {"g": 2.0}},
        "PendulumEnv.g is 2.0",
    ),
    "own environment": (
        {"env_id": Level},
        {"env_id": Level, "env_kwargs": {"bonus": 3.0}},
        "Level._b is 3.0, and was 1.0",
    ),
    "reward wrapper": (
        {"wrappers": [{"tests.own_envs:Scaled": {"times": 2.0}}]},
        {"wrappers": [{"tests.own_envs:Scaled": {"times": 5.0}}]},
        "Scaled.times is 5.0, and was 2.0",
    ),
}


@pytest.mark.parametrize("kind", MADE_OTHERWISE)
def test_an_environment_that_was_made_otherwise_keeps_its_settings(kind, tmp_path):
    before, here, why = MADE_OTHERWISE[kind]
    standard = {"env_id": "Pendulum-v1", "n_envs": 2, "backend": "dummy"}
    env = make_vec_env(**{**standard, **before})
    sb3_course.NPG("MlpPolicy", env, n_steps=20, device="cpu").learn(40).save(tmp_path / "model")
    env.close()
    env = make_vec_env(**{**standard, **here})
    model = sb3_course.NPG.load(tmp_path / "model", env=env, device="cpu")
    with pytest.warns(UserWarning, match=f"start anew: the environment was made otherwise: {why}"):
        model.learn(40, reset_num_timesteps=False)
    attribute = why.partition(" ")[0].partition(".")[2]
    kept = env.get_attr(attribute)
    assert f"is {kept[0]}" in why and kept[0] == kept[1]
    env.close()


@every_class
def test_the_data_of_the_environment_that_is_given_count(algorithm, tmp_path):
    kwargs = {} if algorithm is sb3_course.OnlineActorCritic else {"n_steps": 20}
    algorithm("MlpPolicy", Market(), device="cpu", **kwargs).learn(40).save(tmp_path / "model")
    for year in (2020, 2024):
        env = Market(year)
        model = algorithm.load(tmp_path / "model", env=env, device="cpu")
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            model.learn(40, reset_num_timesteps=False)
        assert (env.table.year[0], env.source.year) == (year, year)
        said = [str(w.message) for w in warned if "start anew" in str(w.message)]
        assert len(said) == (year != 2020) and all("Market.table differs" in s for s in said)


@every_class
def test_a_specification_that_was_read_is_no_setting(algorithm, tmp_path):
    kwargs = {} if algorithm is sb3_course.OnlineActorCritic else {"n_steps": 20}
    env = gymnasium.make("CartPole-v1")
    assert env.spec.reward_threshold == 475
    model = algorithm("MlpPolicy", env, device="cpu", **kwargs)
    model.save(tmp_path / "untrained")
    model.learn(40).save(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        algorithm.load(tmp_path / "model", env=gymnasium.make("CartPole-v1"), device="cpu").learn(
            40, reset_num_timesteps=False
        )


@every_class
def test_the_way_of_showing_it_is_no_state_of_an_environment(algorithm, tmp_path):
    kwargs = {} if algorithm is sb3_course.OnlineActorCritic else {"n_steps": 20}
    model = algorithm("MlpPolicy", gymnasium.make("Pendulum-v1"), device="cpu", **kwargs)
    model.learn(40).save(tmp_path / "model")
    env = gymnasium.make("Pendulum-v1", render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        algorithm.load(tmp_path / "model", env=env, device="cpu").learn(
            40, reset_num_timesteps=False
        )
    assert env.unwrapped.render_mode == "rgb_array" and env.render() is not None
    env.close()


def test_what_episodes_have_changed_goes_on(tmp_path):
    """A level is a state, although a new environment begins with another one."""
    env = make_vec_env(Level, 2, backend="dummy")
    sb3_course.NPG("MlpPolicy", env, n_steps=20, device="cpu").learn(40).save(tmp_path / "model")
    reached = env.get_attr("level")
    env = make_vec_env(Level, 2, backend="dummy")
    model = sb3_course.NPG.load(tmp_path / "model", env=env, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.learn(40, reset_num_timesteps=False)
    assert reached == [3, 3] and env.get_attr("level") == [6, 6]


def test_a_training_that_goes_on_twice_goes_on_each_time(tmp_path):
    """Also one whose environment another model has used before."""
    env = environments("Pendulum-v1 normalized")
    model_on(env).learn(30)
    model_on(env).learn(60).save(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            resumed, lost = loading.load_to_continue(
                sb3_course.NPG, tmp_path / "model.zip", environments("Pendulum-v1", 7), trusted=True
            )
            assert lost is None
            resumed.learn(40, reset_num_timesteps=False).save(tmp_path / "model")


def model_on(env):
    return sb3_course.NPG("MlpPolicy", env, n_steps=15, device="cpu")


@every_class
@pytest.mark.parametrize("way", ["load", "set_random_seed"])
def test_a_seed_that_is_given_after_loading_is_obeyed(algorithm, way, tmp_path):
    """One file goes on in as many ways as there are seeds, each of which repeats."""
    model = model_in("CartPole-v1", algorithm, {}).learn(100)
    model.save(tmp_path / "model")

    def go_on(seed):
        env = make_vec_env("CartPole-v1", 2, backend="dummy")
        given = {"seed": seed} if way == "load" else {}
        loaded = algorithm.load(tmp_path / "model", env=env, device="cpu", **given)
        if way == "set_random_seed":
            loaded.set_random_seed(seed)
        with pytest.warns(UserWarning, match="start anew: a seed was given after loading"):
            return copy_parameters(loaded.learn(100, reset_num_timesteps=False))

    assert equal_tensors(go_on(3), go_on(3))
    assert not equal_tensors(go_on(3), go_on(4))


class Sticky(gymnasium.Wrapper):
    """Every fifth action is one of the space's own generator."""

    def reset(self, **kwargs):
        self.t = 0
        return super().reset(**kwargs)

    def step(self, action):
        self.t += 1
        return super().step(self.action_space.sample() if self.t % 5 == 0 else action)


@every_class
def test_the_generators_of_spaces_go_on(algorithm, tmp_path):
    kwargs = {} if algorithm is sb3_course.OnlineActorCritic else {"n_steps": 20}

    def env(seed):
        made = Sticky(gymnasium.make("CartPole-v1"))
        made.action_space.seed(seed)
        return made

    model = algorithm("MlpPolicy", env(3), seed=0, device="cpu", **kwargs).learn(60)
    model.save(tmp_path / "model")
    expected = copy_parameters(model.learn(60, reset_num_timesteps=False))
    loaded = algorithm.load(tmp_path / "model", env=env(4), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.learn(60, reset_num_timesteps=False)
    assert equal_tensors(expected, copy_parameters(loaded))


@pytest.mark.parametrize("normalize", ["", " normalized"])
def test_an_online_training_that_a_callback_saves_loses_no_update(normalize, tmp_path):
    kind = "CartPole-v1" + normalize
    model = model_in(kind, sb3_course.OnlineActorCritic, {})
    model.learn(200, callback=CheckpointCallback(50, str(tmp_path), "at"))  # of 2 environments
    path = tmp_path / "at_100_steps.zip"
    loaded = sb3_course.load(path, env=environments(kind, seed=5), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.learn(100, reset_num_timesteps=False)
    assert loaded._n_updates == model._n_updates
    assert equal_tensors(copy_parameters(model), copy_parameters(loaded))


@every_class
def test_a_model_that_was_not_trained_has_nothing_to_lose(algorithm, tmp_path):
    model_in("CartPole-v1", algorithm, {}).save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=environments("CartPole-v1"), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.learn(40, reset_num_timesteps=False)
