import zipfile

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize
from stable_baselines3.her import HerReplayBuffer

import sb3_course
from sb3_course import NPG, REINFORCE, loading
from sb3_course.common import checkpoint
from sb3_course.envs.config import EnvConfig
from sb3_course.envs.make import CONFIG
from tests.contract.helpers import copy_parameters, equal_tensors, small_model


def test_a_file_without_suffix_is_loaded(tmp_path):
    model = small_model(REINFORCE, "CartPole-v1")
    with open(tmp_path / "bare", "wb") as file:
        model.save(file)
    loaded = sb3_course.load(tmp_path / "bare", device="cpu")
    assert equal_tensors(copy_parameters(model), copy_parameters(loaded))


@pytest.mark.parametrize("name", ["v1.0", "NPG_lr0.001_40_steps", ".hidden", "model"])
def test_a_name_with_a_dot_is_found_without_zip(name, tmp_path):
    """As SB3 finds the files of its CheckpointCallback."""
    small_model(REINFORCE, "CartPole-v1").save(tmp_path / f"{name}.zip")
    assert sb3_course.load(tmp_path / name).num_timesteps == 0
    assert REINFORCE.load(str(tmp_path / name)).num_timesteps == 0
    (tmp_path / name).mkdir()
    assert sb3_course.load(tmp_path / name).num_timesteps == 0
    (tmp_path / name).rmdir()
    (tmp_path / name).write_bytes(b"another file")  # the path itself comes first
    with pytest.raises(ValueError, match="not a checkpoint"):
        sb3_course.load(tmp_path / name)


def test_a_zip_file_of_another_library_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(ValueError, match="saved by another library.*it loads REINFORCE"):
        sb3_course.load(tmp_path / "other.zip")


@pytest.fixture
def npg():
    env = VecNormalize(make_vec_env("CartPole-v1", 2, seed=0))
    return sb3_course.NPG("MlpPolicy", env, n_steps=16, seed=0, device="cpu").learn(64)


@pytest.fixture
def a2c():
    env = VecNormalize(make_vec_env("CartPole-v1", 2, seed=0))
    return A2C("MlpPolicy", env, seed=0, device="cpu").learn(64)


def weights(model):
    return {name: value.tolist() for name, value in model.policy.state_dict().items()}


def test_a_file_is_loaded_as_the_class_it_names(npg, tmp_path):
    loading.save(npg, tmp_path / "model.zip")
    env = make_vec_env("CartPole-v1", 2)
    loaded = sb3_course.load(tmp_path / "model", env, normalize="freeze", gamma=0.5, device="cpu")
    assert type(loaded) is sb3_course.NPG
    assert loaded.gamma == 0.5
    assert weights(loaded) == weights(npg)
    assert not loaded.get_vec_normalize_env().training
    again = sb3_course.load(tmp_path / "model", make_vec_env("CartPole-v1", 2), device="cpu")
    assert again.get_vec_normalize_env().training


def test_models_of_sb3_are_saved_with_class_environment_and_normalization(a2c, tmp_path):
    loading.save(a2c, tmp_path / "new" / "model.zip")
    header = checkpoint.read_header(tmp_path / "new" / "model.zip")
    assert (header["class"], header["env"]) == ("A2C", "CartPole-v1")
    statistics = a2c.get_vec_normalize_env().obs_rms
    assert header["statistics"]["obs/mean"].tolist() == statistics.mean.tolist()
    loaded = A2C.load(tmp_path / "new" / "model.zip", env=a2c.get_env())  # SB3 ignores the rest
    assert loaded.num_timesteps == a2c.num_timesteps
    assert weights(loaded) == weights(a2c)
    obs = np.ones((2, 4), dtype=np.float32)
    expected, found = (m.predict(obs, deterministic=True)[0] for m in (a2c, loaded))
    assert np.array_equal(found, expected)


def test_classes_of_other_libraries_are_not_loaded_but_named(a2c, tmp_path):
    loading.save(a2c, tmp_path / "ours.zip")
    a2c.save(tmp_path / "theirs.zip")
    known = r"does not know \(it loads REINFORCE, .*, BC, DAgger\)"
    with pytest.raises(ValueError, match=rf"was saved by A2C, which sb3_course.load {known}"):
        sb3_course.load(tmp_path / "ours")
    with pytest.raises(ValueError, match="was saved by another library"):
        sb3_course.load(tmp_path / "theirs")


def test_what_is_no_file_of_a_model_is_refused(tmp_path):
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(ValueError, match="not a checkpoint"):
        sb3_course.load(tmp_path / "text.zip")
    with pytest.raises(FileNotFoundError):
        sb3_course.load(tmp_path / "none")


@pytest.mark.parametrize("name", ["weightsonly", "normalise", "learning_rte", "_nothing"])
def test_an_argument_that_the_model_does_not_have_is_refused(tmp_path, name):
    NPG("MlpPolicy", "CartPole-v1").save(tmp_path / "m")
    with pytest.raises(TypeError, match=f"unknown argument of NPG.load '{name}'"):
        sb3_course.load(tmp_path / "m", **{name: 1})
    changed = sb3_course.load(tmp_path / "m", target_kl=0.5, verbose=1)
    assert (changed.target_kl, changed.verbose) == (0.5, 1)
    with pytest.raises(TypeError, match="policy is the file's"):
        sb3_course.load(tmp_path / "m", policy="CnnPolicy")


def test_the_window_of_a_loaded_models_statistics_may_change(tmp_path):
    NPG("MlpPolicy", "CartPole-v1", stats_window_size=100, seed=0).save(tmp_path / "m")
    model = NPG.load(tmp_path / "m", env="CartPole-v1", stats_window_size=7, n_steps=64)
    assert model.learn(512).ep_info_buffer.maxlen == 7
    model.save(tmp_path / "m")
    model = NPG.load(tmp_path / "m", env="CartPole-v1", stats_window_size=5, n_steps=64)
    assert len(model.ep_info_buffer) == 7
    assert model.learn(64, reset_num_timesteps=False).ep_info_buffer.maxlen == 5


@pytest.mark.parametrize("algorithm", [A2C, sb3_course.NPG])
def test_a_model_is_loaded_to_predict_where_its_environment_is_not(
    algorithm, npg, a2c, tmp_path, monkeypatch
):
    model = a2c if algorithm is A2C else npg
    config = EnvConfig("nowhere:CartPole-v1", {"sutton": True})
    monkeypatch.setitem(vars(model.get_env().unwrapped), CONFIG, config)
    loading.save(model, tmp_path / "model.zip")
    loaded = loading.load_to_predict(algorithm, tmp_path / "model.zip", trusted=False)
    assert weights(loaded) == weights(model)
    assert vars(loaded)["env_id"] == "nowhere:CartPole-v1"
    assert vars(loaded)["env_settings"] == {"kwargs": {"sutton": True}}
    ours, theirs = loaded.get_vec_normalize_env(), model.get_vec_normalize_env()
    assert np.array_equal(ours.obs_rms.mean, theirs.obs_rms.mean)
    assert not ours.training


def test_normalized_rewards_alone_need_no_normalization_to_predict(tmp_path):
    env = VecFrameStack(VecNormalize(make_vec_env("CartPole-v1", 1), norm_obs=False), 2)
    sb3_course.NPG("MlpPolicy", env, device="cpu").save(tmp_path / "model.zip")
    loaded = loading.load_to_predict(sb3_course.NPG, tmp_path / "model.zip", trusted=False)
    assert loaded.get_vec_normalize_env() is None


def test_a_model_that_plays_has_no_replay_buffer(tmp_path):
    """Which would take what training took, and which HER cannot make without the environment."""
    model = DQN("MlpPolicy", "CartPole-v1", buffer_size=50_000, device="cpu", seed=0)
    model.save(tmp_path / "dqn.zip")
    played = loading.load_to_predict(DQN, tmp_path / "dqn.zip", trusted=True)
    assert played.replay_buffer is None and played.buffer_size == 50_000
    obs = np.zeros((3, 4), np.float32)
    actions = [one.predict(obs, deterministic=True)[0] for one in (played, model)]
    assert np.array_equal(*actions)
    env = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    for normalize in ("train", "freeze"):
        trained = loading.load_any(DQN, tmp_path / "dqn.zip", env, normalize, trusted=True)
        assert trained.replay_buffer.buffer_size == 50_000


def test_a_model_with_hindsight_is_opened_without_its_environment(tmp_path):
    env = BitFlippingEnv(3, continuous=False)
    model = DQN("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, device="cpu", seed=0)
    model.save(tmp_path / "her.zip")
    played = loading.load_to_predict(DQN, tmp_path / "her.zip", trusted=True)
    obs = env.reset(seed=0)[0]
    assert played.predict(obs, deterministic=True)[0] == model.predict(obs, deterministic=True)[0]
