"""Files of strangers are read without executing anything in them."""

import base64
import json
import pickle
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.utils import LinearSchedule

import sb3_course
from sb3_course import load
from sb3_course.common.checkpoint import CheckpointError, archive
from tests.contract.helpers import copy_parameters, equal_tensors, every_class, small_model


class Attack:
    """Writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def forge(path, change):
    """Change a file as an attacker can, digests included."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    header = json.loads(members.pop(archive.HEADER))
    header.pop("digests"), header.pop("seal")
    change(members, header)
    archive.write_members(path, members, header)


@every_class
def test_a_model_is_the_same_without_pickles(algorithm, tmp_path):
    kwargs = {"policy_kwargs": {"net_arch": [8], "activation_fn": th.nn.ReLU}}
    model = small_model(
        algorithm, "CartPole-v1", learning_rate=LinearSchedule(1e-3, 0, 1), **kwargs
    )
    model.learn(100).save(tmp_path / "model")
    loaded = load(tmp_path / "model", weights_only=True, device="cpu")
    assert equal_tensors(copy_parameters(model), copy_parameters(loaded))
    assert loaded.policy_kwargs == model.policy_kwargs
    assert loaded.observation_space == model.observation_space
    assert loaded.lr_schedule(0.25) == model.lr_schedule(0.25) == 0.25e-3
    for name, value in vars(model).items():
        if isinstance(value, (int, float, str, bool)):
            assert getattr(loaded, name) == value, name


@every_class
@pytest.mark.parametrize("place", ["lr_schedule", "observation_space", "new", "environments"])
def test_no_pickle_is_executed(algorithm, tmp_path, place):
    small_model(algorithm, "CartPole-v1").learn(100).save(tmp_path / "model")
    attack = pickle.dumps(Attack(tmp_path / "owned"))

    def change(members, header):
        if place == "environments":
            members["environments.pkl"] = attack
            return
        data = json.loads(members["data"])
        data[place] = {":type:": "x", ":serialized:": base64.b64encode(attack).decode()}
        members["data"] = json.dumps(data).encode()

    forge(tmp_path / "model.zip", change)
    env = sb3_course.make_vec_env("CartPole-v1", 2, backend="dummy")
    if place == "new":
        with pytest.raises(CheckpointError, match="only a pickle holds new"):
            load(tmp_path / "model", weights_only=True)
    else:
        model = load(tmp_path / "model", env=env, weights_only=True, device="cpu")
        if place == "environments":
            with pytest.warns(UserWarning, match="does not read the environments' states"):
                model.learn(50, reset_num_timesteps=False)
        else:
            model.learn(50, reset_num_timesteps=False)
    assert not (tmp_path / "owned").exists()
    if place == "lr_schedule":  # the attack is one: it works on those who trust the file
        with suppress(Exception):  # after the harm is done
            load(tmp_path / "model").learn(1)
        assert (tmp_path / "owned").exists()


def test_what_only_a_pickle_holds_is_named_and_can_be_given(tmp_path):
    rate = {"critic_learning_rate": lambda p: 1e-3 * p}
    model = sb3_course.BatchActorCritic("MlpPolicy", "CartPole-v1", **rate)
    model.save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"critic_learning_rate \(builtins.function\)"):
        load(tmp_path / "model", weights_only=True)
    given = {"critic_learning_rate": 0.5}
    loaded = load(tmp_path / "model", weights_only=True, custom_objects=given)
    assert loaded.critic_lr_schedule(1.0) == 0.5


@pytest.mark.parametrize("key", ["mean", "var", "count"])
@pytest.mark.parametrize("value", [np.nan, -np.inf, "shape", "missing", "object", "text"])
def test_statistics_that_are_none_are_refused(tmp_path, key, value):
    env = sb3_course.make_vec_env("Pendulum-v1", 2, backend="dummy", normalize=True)
    sb3_course.NPG("MlpPolicy", env, n_steps=8, device="cpu").learn(16).save(tmp_path / "model")

    def change(members, header):
        arrays = archive.unpack_arrays(members, "vec_normalize.npz")
        name = f"obs/{key}"
        if value == "missing":
            del arrays[name]
        elif value == "shape":
            arrays[name] = np.ones(7)
        elif value == "text":
            arrays[name] = np.array(["a"] * 3)
        elif value == "object":
            arrays[name] = np.array([None] * 3)
        else:
            arrays[name] = np.full_like(arrays[name], value)
        members["vec_normalize.npz"] = archive.pack_arrays(arrays)

    forge(tmp_path / "model.zip", change)
    env = sb3_course.make_vec_env("Pendulum-v1", 2, backend="dummy")
    with pytest.raises(CheckpointError, match=f"obs/{key}|vec_normalize.npz"):
        load(tmp_path / "model", env=env)
