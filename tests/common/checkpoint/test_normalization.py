import io
import json
import zipfile

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course import REINFORCE, loading
from sb3_course.common import checkpoint
from sb3_course.common.checkpoint.normalization import normalization
from tests.worlds import RandomSpaces


def normalized(env_id="Pendulum-v1", steps=20, **settings):
    """An environment whose statistics are anything but zero and one."""
    venv = VecNormalize(make_vec_env(env_id, 2, seed=0), **settings)
    venv.reset()
    for _ in range(steps):
        venv.step(np.stack([venv.action_space.sample() for _ in range(2)]))
    return venv


def header_of(venv):
    """The header that a model of these environments is saved with."""
    path, model = io.BytesIO(), A2C("MlpPolicy", venv, device="cpu")
    loading.save(model, path)
    return checkpoint.read_header(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("model", "model.zip"), ("a.b/model", "a.b/model.zip"), ("model.pt", "model.pt")],
)
def test_a_path_without_suffix_gets_sb3s(path, expected):
    assert str(checkpoint.resolve(path)) == expected


def test_a_header_is_json_even_where_settings_are_numpys():
    header = header_of(normalized(clip_obs=np.float32(5)))
    assert header["class"] == "A2C"
    assert header["env"] == "Pendulum-v1"
    assert header["vec_normalize"]["clip_obs"] == 5.0
    assert json.loads(json.dumps(header["vec_normalize"])) == header["vec_normalize"]


def test_headers_of_other_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("data", "{}")
    assert checkpoint.read_header(tmp_path / "other.zip") == {}
    assert checkpoint.read_header(tmp_path / "other") == {}  # the suffix may be left out
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(ValueError, match=r"text\.zip is not a checkpoint: it is not a zip file"):
        checkpoint.read_header(tmp_path / "text.zip")
    with pytest.raises(FileNotFoundError):
        checkpoint.read_header(tmp_path / "none")


@pytest.mark.parametrize("normalize", ["train", "freeze"])
@pytest.mark.parametrize("wrap", ["raw", "vectorized", "normalized"])
def test_an_environment_gets_the_saved_normalization(wrap, normalize):
    trained = normalized(gamma=0.9, clip_obs=3.0)
    env = gymnasium.make("Pendulum-v1") if wrap == "raw" else make_vec_env("Pendulum-v1", 2)
    env = VecNormalize(env) if wrap == "normalized" else env
    venv = checkpoint.wrap_normalized(env, header_of(trained), normalize)
    assert (venv is env) == (wrap == "normalized")
    own = wrap == "normalized"  # its settings are its own, the statistics are the file's
    assert (venv.gamma, venv.clip_obs) == ((0.99, 10.0) if own else (0.9, 3.0))
    for ours, theirs in ((venv.obs_rms, trained.obs_rms), (venv.ret_rms, trained.ret_rms)):
        np.testing.assert_array_equal(ours.mean, theirs.mean)
        np.testing.assert_array_equal(ours.var, theirs.var)
        assert ours.count == theirs.count
    assert venv.training == venv.norm_reward == (normalize == "train")
    before = venv.obs_rms.count
    venv.reset()
    assert (venv.obs_rms.count > before) == (normalize == "train")


def test_statistics_of_dict_observations_keep_their_keys():
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Box(-1, 1, (3,))})

    def make():
        return make_vec_env(lambda: RandomSpaces(space, spaces.Discrete(2)), 2, seed=0)

    trained = VecNormalize(make())
    trained.reset()
    trained.step(np.zeros(2, dtype=int))
    found = normalization(trained)
    header = {**found, "vec_normalize": json.loads(json.dumps(found["vec_normalize"]))}
    venv = checkpoint.wrap_normalized(make(), header, "train")
    for key in ("a", "b"):
        np.testing.assert_array_equal(venv.obs_rms[key].mean, trained.obs_rms[key].mean)
    assert not np.array_equal(venv.obs_rms["a"].mean, venv.obs_rms["b"].mean[:2])


def test_normalization_of_another_kind_is_refused():
    header = header_of(normalized())
    with pytest.raises(ValueError, match=r"VecNormalize\(norm_obs=True\).*has norm_obs=False"):
        checkpoint.wrap_normalized(normalized(norm_obs=False), header, "train")


class Gone(DummyVecEnv):
    """Environments whose processes Ctrl-C has ended."""

    def get_attr(self, name, indices=None):
        if name == "spec":
            raise EOFError
        return super().get_attr(name, indices)


def test_a_checkpoint_names_its_environment():
    def named(model) -> str | None:
        buffer = io.BytesIO()
        model.save(buffer)
        return checkpoint.read_header(buffer)["env"]

    made = [lambda: gymnasium.make("CartPole-v1")]
    model = REINFORCE("MlpPolicy", VecNormalize(DummyVecEnv(made)), device="cpu", n_steps=8)
    assert named(model) == "CartPole-v1"
    vars(model)["env_id"] = "module:CartPole-v1"
    assert named(model) == "module:CartPole-v1"
    vars(model)["env_id"] = "Pendulum-v1"
    assert named(model) == "CartPole-v1"
    model.set_env(Gone(made))
    assert named(model) == "Pendulum-v1"


def test_a_monitor_is_not_wrapped_in_another_one():
    env = Monitor(gymnasium.make("Pendulum-v1"))
    wrapped = checkpoint.wrap_normalized(env, header_of(normalized()), "train")
    assert wrapped.unwrapped.envs[0] is env
