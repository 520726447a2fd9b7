"""The files that ``scripts/zoo_hyperparams.py`` has made."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from sb3_course.registry import constructor_arguments
from sb3_course.zoo import NAMES
from sb3_course.zoo.registration import hyperparams

ROOT = Path(__file__).resolve().parents[2]
OF_ZOO = {"n_envs", "n_timesteps", "policy", "normalize", "env_wrapper", "frame_stack"}


@pytest.fixture(scope="module")
def script():
    path = ROOT / "scripts" / "zoo_hyperparams.py"
    spec = importlib.util.spec_from_file_location("zoo_hyperparams", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_files_are_those_of_the_grids(name, script):
    written = hyperparams(name).read_text()
    assert script.text_of(name) == written, "run: python scripts/zoo_hyperparams.py"


@pytest.mark.parametrize("name", NAMES)
def test_constructors_take_them(name):
    for entry in yaml.safe_load(hyperparams(name).read_text()).values():
        params = {key: value for key, value in entry.items() if key not in OF_ZOO}
        if "policy_kwargs" in params:  # RL Zoo evaluates it
            params["policy_kwargs"] = eval(params["policy_kwargs"])
        constructor_arguments(NAMES[name], params)  # an unknown one is an error
        assert entry.get("policy", "MlpPolicy") in ("MlpPolicy", "CnnPolicy")
        assert isinstance(entry["n_timesteps"], int) and isinstance(entry["n_envs"], int)


def test_mappings_are_written_as_rl_zoo_evaluates_them(script):
    settings = {"net_arch": {"pi": [16], "vf": [64, 64]}, "log_std_init": -0.5}
    text = script.python(settings)
    assert text == "dict(net_arch=dict(pi=[16], vf=[64, 64]), log_std_init=-0.5)"
    assert eval(text) == settings
