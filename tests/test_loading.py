import zipfile

import numpy as np
import pytest
from stable_baselines3 import A2C

import sb3_course
from sb3_course import REINFORCE, loading
from sb3_course.common.checkpoint import read_header
from tests.contract.helpers import copy_parameters, equal_tensors, small_model


def test_a_file_without_suffix_is_loaded(tmp_path):
    model = small_model(REINFORCE, "CartPole-v1")
    with open(tmp_path / "bare", "wb") as file:
        model.save(file)
    loaded = sb3_course.load(tmp_path / "bare")
    assert equal_tensors(copy_parameters(model), copy_parameters(loaded))


def test_load_passes_attributes_on_to_the_class(tmp_path):
    small_model(REINFORCE, "CartPole-v1").save(tmp_path / "model")
    assert sb3_course.load(tmp_path / "model", gamma=0.5).gamma == 0.5


def test_a_file_that_is_no_zip_file_is_refused(tmp_path):
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(ValueError, match="not a checkpoint"):
        sb3_course.load(tmp_path / "text.zip")


def test_a_zip_file_of_another_library_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(ValueError, match="saved by another library.*it loads REINFORCE"):
        sb3_course.load(tmp_path / "other.zip")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        sb3_course.load(tmp_path / "none")


def test_a_model_of_sb3_is_saved_with_its_class_and_loaded_by_that_class(tmp_path):
    model = A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    loading.save(model, tmp_path / "a2c.zip")
    header = read_header(tmp_path / "a2c.zip")
    assert (header["class"], header["env"]) == ("A2C", "CartPole-v1")
    with pytest.raises(ValueError, match="saved by A2C.*use the class's own load"):
        sb3_course.load(tmp_path / "a2c.zip")
    obs = np.ones(4, dtype=np.float32)
    expected, _ = model.predict(obs, deterministic=True)
    assert A2C.load(tmp_path / "a2c.zip").predict(obs, deterministic=True)[0] == expected
