"""``VecNormalize``'s statistics are saved with the model and restored around its environment."""

import warnings
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import sb3_course
from sb3_course import loading
from sb3_course.imitation.experts import as_expert
from sb3_course.publishing.export import export_model
from sb3_course.publishing.exported import runner
from tests.contract.helpers import (
    any_env,
    copy_parameters,
    equal_tensors,
    every_class,
    normalized_pendulum,
    small_model,
)
from tests.worlds import RandomSpaces


@every_class
@pytest.mark.parametrize("wrap", ["raw", "vectorized", "normalized"])
def test_a_loaded_model_plays_with_the_statistics_of_its_file(algorithm, wrap, tmp_path):
    model = small_model(algorithm, normalized_pendulum(1, gamma=0.9, clip_obs=5.0)).learn(800)
    before = model.get_vec_normalize_env()
    model.save(tmp_path / "model")
    env = gym.make("Pendulum-v1") if wrap == "raw" else make_vec_env("Pendulum-v1", 1)
    env = VecNormalize(env, clip_obs=5.0) if wrap == "normalized" else env
    loaded = sb3_course.load(tmp_path / "model", env=env, normalize="freeze", device="cpu")
    after = loaded.get_vec_normalize_env()
    assert (after.obs_rms.mean == before.obs_rms.mean).all()
    assert (after.obs_rms.var == before.obs_rms.var).all()
    assert after.obs_rms.count == before.obs_rms.count
    assert after.ret_rms.var == before.ret_rms.var
    assert (after.gamma, after.clip_obs) == ((0.99, 5.0) if wrap == "normalized" else (0.9, 5.0))
    assert not after.training and not after.norm_reward

    before.training = before.norm_reward = False
    returns = []
    for trained in (model, loaded):
        trained.get_env().seed(5)
        returns.append(evaluate_policy(trained, trained.get_env(), 1, return_episode_rewards=True))
    assert returns[0][0][0] == returns[1][0][0]


@pytest.mark.parametrize("normalize", ["train", "freeze"])
def test_a_model_of_raw_observations_plays_on_no_others(normalize, tmp_path):
    raw = make_vec_env("Pendulum-v1", 2)
    small_model(sb3_course.NPG, raw).save(tmp_path / "course")
    loading.save(PPO("MlpPolicy", raw, device="cpu"), tmp_path / "any")
    loads = [
        partial(sb3_course.load, tmp_path / "course", device="cpu", normalize=normalize),
        lambda env: loading.load_any(PPO, tmp_path / "any", env, normalize, trusted=True),
    ]
    for load in loads:
        if normalize == "freeze":
            with pytest.raises(ValueError, match=r"trained on raw observations: pass .* without"):
                load(env=normalized_pendulum())
        else:
            with pytest.warns(UserWarning, match="on raw observations, and the environment norm"):
                load(env=normalized_pendulum())
        rewards = load(env=normalized_pendulum(norm_obs=False)).get_vec_normalize_env()
        kept = normalize == "train"
        assert (rewards.training, rewards.norm_reward) == (kept, kept)


def test_normalization_of_no_key_is_none(tmp_path):
    observations = spaces.Dict({"a": spaces.Box(-1, 1, (2,))})
    venv = DummyVecEnv([lambda: RandomSpaces(observations, spaces.Discrete(2))])
    sb3_course.NPG("MultiInputPolicy", venv, device="cpu").save(tmp_path / "model")
    keyless = VecNormalize(venv, norm_obs_keys=[])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_course.NPG.load(tmp_path / "model", env=keyless, normalize="freeze", device="cpu")
    assert not keyless.training


def test_a_file_of_sb3_does_not_say_what_its_model_observed(tmp_path):
    PPO("MlpPolicy", normalized_pendulum(), device="cpu").save(tmp_path / "model")
    env = normalized_pendulum()
    loading.load_any(PPO, tmp_path / "model.zip", env, "freeze", trusted=True)
    assert not env.training and not env.norm_reward


@pytest.mark.parametrize("norm_reward", [True, False])
def test_a_copy_of_a_frozen_model_trains_as_the_model_does(norm_reward, tmp_path):
    env = normalized_pendulum(norm_reward=norm_reward)
    small_model(sb3_course.NPG, env).learn(100).save(tmp_path / "model")
    plain = make_vec_env("Pendulum-v1", 2)
    frozen = sb3_course.load(tmp_path / "model", env=plain, normalize="freeze", device="cpu")
    frozen.save(tmp_path / "copy")
    trained = []
    for name in ("model", "copy"):
        plain = make_vec_env("Pendulum-v1", 2)
        loaded = sb3_course.load(tmp_path / name, env=plain, device="cpu")
        loaded.learn(200, reset_num_timesteps=False)
        assert loaded.get_vec_normalize_env().norm_reward == norm_reward
        trained.append(copy_parameters(loaded))
    assert equal_tensors(*trained)


@pytest.mark.parametrize("change", ["learns", "trains", "normalizes"])
def test_a_frozen_model_that_goes_on_has_in_its_file_what_it_learned_with(change, tmp_path):
    env = normalized_pendulum(norm_reward=change != "normalizes")
    small_model(sb3_course.NPG, env).save(tmp_path / "model")
    plain = make_vec_env("Pendulum-v1", 2)
    frozen = sb3_course.load(tmp_path / "model", env=plain, normalize="freeze", device="cpu")
    venv = frozen.get_vec_normalize_env()
    if change == "learns":
        frozen.learn(100)
    else:
        venv.training, venv.norm_reward = True, change == "normalizes"
    frozen.save(tmp_path / "again")
    again = sb3_course.load(tmp_path / "again", make_vec_env("Pendulum-v1", 2), device="cpu")
    assert again.get_vec_normalize_env().norm_reward == venv.norm_reward


@every_class
def test_a_model_that_was_loaded_without_an_environment_keeps_the_statistics(algorithm, tmp_path):
    model = small_model(algorithm, normalized_pendulum(gamma=0.9)).learn(100)
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="normalized observations"):
        bare = algorithm.load(tmp_path / "model", device="cpu")
    bare.save(tmp_path / "again")
    bare.set_env(make_vec_env("Pendulum-v1", 2))
    again = algorithm.load(tmp_path / "again", env=make_vec_env("Pendulum-v1", 2), device="cpu")
    expected = model.get_vec_normalize_env()
    for loaded in (bare, again):
        found = loaded.get_vec_normalize_env()
        assert found.gamma == 0.9 and found.ret_rms.var == expected.ret_rms.var
        assert (found.obs_rms.mean == expected.obs_rms.mean).all()
    bare.set_env(make_vec_env("Pendulum-v1", 2))  # as in SB3, once it has had an environment
    assert bare.get_vec_normalize_env() is None


def test_whoever_uses_a_model_without_an_environment_normalizes_as_it_did(tmp_path):
    space = spaces.Box(-1, 1, (3,))
    demonstrations = {"obs": np.zeros((8, 3), "f4"), "acts": np.zeros((8, 1), "f4")}
    env = VecNormalize(any_env(space, spaces.Box(-1, 1, (1,))))
    env.obs_rms.mean[:], env.obs_rms.count = 5.0, 1e9
    model = sb3_course.BC("MlpPolicy", env, demonstrations, device="cpu")
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="normalized observations"):
        bare = sb3_course.BC.load(tmp_path / "model", device="cpu")
    obs = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    assert np.allclose(as_expert(bare)(obs), as_expert(model)(obs))
    raw = any_env(space, spaces.Box(-1, 1, (1,)))
    learner = sb3_course.NPG.from_imitation(bare, raw, n_steps=8)
    assert np.allclose(learner.get_vec_normalize_env().obs_rms.mean, 5.0)
    for exported in (model, bare):
        export_model(exported, tmp_path / "policy.pt", "torchscript")
        run = runner((tmp_path / "policy.pt").read_bytes(), "torchscript")
        assert np.allclose(run(obs), as_expert(model)(obs).clip(-1, 1), atol=1e-5)


class Halved(VecNormalize):
    """A normalization of one's own."""

    def normalize_obs(self, obs):
        return super().normalize_obs(obs) / 2


def test_a_normalization_of_ones_own_is_asked_for(tmp_path):
    model = small_model(sb3_course.NPG, Halved(make_vec_env("Pendulum-v1", 2))).learn(40)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"pass the environment as Halved\(env\)"):
        sb3_course.load(tmp_path / "model", env=make_vec_env("Pendulum-v1", 2))
    env = Halved(make_vec_env("Pendulum-v1", 2))
    loaded = sb3_course.load(tmp_path / "model", env=env).get_vec_normalize_env()
    assert (loaded.obs_rms.mean == model.get_vec_normalize_env().obs_rms.mean).all()


def test_two_normalizations_are_warned_of():
    once = VecNormalize(make_vec_env("Pendulum-v1", 2), norm_reward=False)
    with pytest.warns(UserWarning, match="of two VecNormalize"):
        small_model(sb3_course.NPG, VecNormalize(once, norm_obs=False))


def twice_normalized(inner_obs):
    once = VecNormalize(make_vec_env("Pendulum-v1", 2), norm_obs=inner_obs)
    return VecNormalize(once, norm_obs=False)


@pytest.mark.filterwarnings("ignore:of two VecNormalize")
def test_every_normalization_is_frozen(tmp_path):
    model = small_model(sb3_course.NPG, make_vec_env("Pendulum-v1", 2))
    model.save(tmp_path / "model")
    outer = twice_normalized(inner_obs=False)
    sb3_course.NPG.load(tmp_path / "model", env=outer, normalize="freeze")
    assert [(one.training, one.norm_reward) for one in (outer, outer.venv)] == [(False, False)] * 2
    for load in (
        lambda env: sb3_course.NPG.load(tmp_path / "model", env=env, normalize="freeze"),
        lambda env: sb3_course.NPG.from_imitation(model, env),
    ):
        with pytest.raises(ValueError, match="trained on raw observations"):
            load(twice_normalized(inner_obs=True))


@every_class
def test_a_loaded_model_continues_to_update_the_statistics(algorithm, tmp_path):
    model = small_model(algorithm, normalized_pendulum()).learn(400)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=make_vec_env("Pendulum-v1", 2))
    count = loaded.get_vec_normalize_env().obs_rms.count
    loaded.learn(400)
    assert loaded.get_vec_normalize_env().obs_rms.count > count
    assert loaded.get_vec_normalize_env().norm_reward


@every_class
def test_statistics_of_dict_observations_are_restored(algorithm, tmp_path):
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)})
    env = VecNormalize(any_env(space), norm_obs_keys=["a"])
    model = small_model(algorithm, env, "MultiInputPolicy").learn(50)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=any_env(space))
    assert (loaded.get_vec_normalize_env().obs_rms["a"].mean == env.obs_rms["a"].mean).all()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"norm_obs": 1, "norm_reward": np.bool_(False)},
        {"epsilon": 0.0, "clip_obs": np.inf},
        {"clip_reward": 0, "gamma": 1.01},
    ],
)
def test_whatever_vec_normalize_takes_is_saved_and_loaded(tmp_path, kwargs):
    """SB3 takes any value, so a model that has been trained with it can be loaded."""
    model = small_model(sb3_course.NPG, normalized_pendulum(**kwargs)).learn(64)
    model.save(tmp_path / "model")
    for options in ({}, {"weights_only": True}):
        loaded = sb3_course.NPG.load(
            tmp_path / "model", env=make_vec_env("Pendulum-v1", 2), **options
        )
        venv = loaded.get_vec_normalize_env()
        assert {name: getattr(venv, name) for name in kwargs} == kwargs
        sb3_course.NPG.load(tmp_path / "model", env=normalized_pendulum(**kwargs))


def test_keys_of_any_kind_are_saved(tmp_path):
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Box(-1, 1, (3,))})
    env = VecNormalize(any_env(space), norm_obs_keys=space.spaces.keys())
    small_model(sb3_course.NPG, env, "MultiInputPolicy").learn(50).save(tmp_path / "model")
    loaded = sb3_course.NPG.load(tmp_path / "model", env=any_env(space))
    assert loaded.get_vec_normalize_env().norm_obs_keys == ["a", "b"]


@every_class
def test_settings_are_restored_and_must_fit_the_environments_own(algorithm, tmp_path):
    env = normalized_pendulum(clip_obs=np.float32(5))
    small_model(algorithm, env).save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=make_vec_env("Pendulum-v1", 2))
    assert loaded.get_vec_normalize_env().clip_obs == 5
    with pytest.raises(ValueError, match="norm_obs=True.*has norm_obs=False"):
        algorithm.load(tmp_path / "model", env=normalized_pendulum(norm_obs=False))
