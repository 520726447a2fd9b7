"""Files of earlier versions: what each class saved then is loaded, played and trained on."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

import sb3_course
from sb3_course.common.checkpoint import CheckpointError, read_header
from sb3_course.imitation import DAgger

FOLDERS = sorted((Path(__file__).parents[1] / "data").glob("checkpoints_*/*/"))
FILES = [file for folder in FOLDERS for file in sorted(folder.glob("*.zip"))]
LAST = [file for file in FILES if file.parent.name == "last"]
STEPS = 64
"""Environment steps that the model of each file was trained for, before and after it was saved."""

every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: "-".join(file.parts[-3:]))
each_last = pytest.mark.parametrize("file", LAST, ids=lambda file: file.stem)


def expected(file):
    return json.loads((file.parent / "expected.json").read_text())


def load(file, **kwargs):
    model = sb3_course.load(file, make_vec_env("Pendulum-v1", seed=0), device="cpu", **kwargs)
    if isinstance(model, DAgger):  # which no file holds
        model.expert = lambda obs: 2 * np.sign(obs[:, 2:])
    return model


def go_on(model):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="a batch of whole episodes has taken")
        return model.learn(STEPS, reset_num_timesteps=False)


def test_every_folder_has_every_class():
    classes = {*sb3_course.ALGORITHMS, *sb3_course.IMITATION}
    assert {folder.name for folder in FOLDERS} == {"first", "last"}
    assert all({file.stem for file in folder.glob("*.zip")} == classes for folder in FOLDERS)


@every_file
def test_an_old_file_acts_as_it_did_and_goes_on_learning(file):
    facts, observations = expected(file)["models"][file.stem], expected(file)["observations"]
    model, observations = load(file), np.float32(observations)
    assert type(model).__name__ == read_header(file)["class"] == file.stem
    assert model.num_timesteps == facts["num_timesteps"]
    actions, _ = model.predict(observations, deterministic=True)
    np.testing.assert_allclose(actions, facts["actions"], atol=1e-5)
    normalized = model.get_vec_normalize_env().normalize_obs(observations)
    np.testing.assert_allclose(normalized, facts["normalized"], atol=1e-5)
    go_on(model)
    assert model.num_timesteps >= facts["num_timesteps"] + STEPS
    later, _ = model.predict(observations, deterministic=True)
    assert not np.array_equal(later, actions)


@each_last
def test_a_file_of_the_last_state_goes_on_as_it_would_have_then(file):
    """Random states and running episodes are in the file; rounding may differ since."""
    facts, observations = expected(file)["models"][file.stem], expected(file)["observations"]
    later, _ = go_on(load(file)).predict(np.float32(observations), deterministic=True)
    np.testing.assert_allclose(later, facts["actions_later"], atol=1e-3)


@each_last
def test_a_file_of_the_last_state_is_read_without_a_pickle(file):
    facts, observations = expected(file)["models"][file.stem], expected(file)["observations"]
    actions, _ = load(file, weights_only=True).predict(np.float32(observations), deterministic=True)
    np.testing.assert_allclose(actions, facts["actions"], atol=1e-5)


def test_a_file_of_the_first_state_says_that_it_needs_pickles():
    with pytest.raises(CheckpointError, match="reads no pickle.*if you trust the file"):
        load(FOLDERS[0] / "NPG.zip", weights_only=True)
