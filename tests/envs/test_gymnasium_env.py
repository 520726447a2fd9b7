"""What C libraries write does not reach the user's terminal or folder."""

import subprocess
import sys
import warnings
from importlib.util import find_spec
from typing import ClassVar

import gymnasium
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.registration import EnvSpec

from sb3_course.envs import gymnasium_env
from sb3_course.envs.gymnasium_env import make_drawable_env, make_env

STEPS = """
import numpy as np
from sb3_course import NPG
from sb3_course.envs import make_vec_env
from sb3_course.common.evaluation import evaluation_envs

if __name__ == "__main__":
    env = {make}
    env.reset()
    env.step(np.stack([env.action_space.sample()] * env.num_envs))
    env.close()
"""


@pytest.mark.parametrize(
    "make",
    [
        'make_vec_env("HalfCheetah-v4", 2, backend="dummy")',
        'make_vec_env("Walker2d-v4", 2, backend="subproc")',
        'evaluation_envs("HalfCheetah-v4", 2)',
        'NPG("MlpPolicy", "HalfCheetah-v4").env',
        pytest.param(
            'make_vec_env("HalfCheetah-v4", 2, backend="envpool")',
            marks=pytest.mark.skipif(find_spec("envpool") is None, reason="needs EnvPool"),
        ),
    ],
)
def test_a_mujoco_task_writes_nothing(tmp_path, make):
    program = tmp_path / "program.py"
    program.write_text(STEPS.format(make=make))
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]


def test_mujocos_other_warnings_are_pythons():
    with pytest.warns(RuntimeWarning, match="MuJoCo: Nan, Inf or huge value in QACC"):
        gymnasium_env._warn("Nan, Inf or huge value in QACC at DOF 0.\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_env._warn("compiler attribute 'settotalmass' is deprecated")


class NoPictures(CartPoleEnv):
    metadata: ClassVar = {"render_modes": []}

    def __init__(self):
        super().__init__()


class Pictures(CartPoleEnv):
    pass


@pytest.mark.parametrize(("entry", "mode"), [(NoPictures, None), (Pictures, "rgb_array")])
def test_a_drawable_environment_is_made_without_a_warning(monkeypatch, recwarn, entry, mode):
    monkeypatch.setitem(gymnasium.registry, "Own-v0", EnvSpec("Own-v0", entry))
    assert make_drawable_env("Own-v0").render_mode == mode
    assert make_env("Own-v0").render_mode is None
    assert [str(w.message) for w in recwarn.list] == []


def test_errors_are_gymnasiums():
    with pytest.raises(gymnasium.error.NameNotFound):
        make_env("NoSuch-v0")
    with pytest.raises(ModuleNotFoundError):
        make_env("no_such_module:NoSuch-v0")
