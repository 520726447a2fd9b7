import io
import zipfile

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.monitor import Monitor

from sb3_course.benchmark.logs import evaluations as module
from sb3_course.benchmark.logs.evaluations import read_evaluations
from sb3_course.common.errors import UserError
from tests.benchmark.logs.made_up_logs import evaluations


def test_the_file_of_sb3s_callback(tmp_path):
    env = Monitor(gymnasium.make("CartPole-v1"))
    callback = EvalCallback(
        env, log_path=str(tmp_path), eval_freq=10, n_eval_episodes=2, verbose=0, warn=False
    )
    A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").learn(20, callback)
    table = read_evaluations(tmp_path / "evaluations.npz")
    assert table["step"].tolist() == table["num_timesteps"].tolist() == [10, 20]
    assert table["return_mean"].tolist() == [np.mean(r) for r in callback.evaluations_results]
    assert table["episode_length"].tolist() == [np.mean(n) for n in callback.evaluations_length]
    assert table["wall_time"].isna().all()


def test_every_value_is_in_its_place(tmp_path):
    table = read_evaluations(evaluations(tmp_path, ep_lengths=[[1, 3], [5, 9]]))
    assert table.to_dict("list") | {"wall_time": None} == {
        "step": [100, 200],
        "return_mean": [2.0, 5.0],
        "return_std": [1.0, 1.0],
        "episode_length": [2.0, 7.0],
        "wall_time": None,
        "num_timesteps": [100, 200],
        "episode_returns": ["[1.0, 3.0]", "[4.0, 6.0]"],
    }


def test_success_rates_and_missing_lengths_do_no_harm(tmp_path):
    np.savez(tmp_path / "evaluations.npz", timesteps=[5], results=[[1.0]], successes=[[True]])
    assert read_evaluations(tmp_path / "evaluations.npz")["episode_length"].isna().all()


def test_compressed_arrays_are_read(tmp_path):
    np.savez_compressed(tmp_path / "evaluations.npz", timesteps=[5], results=[[1.0]])
    assert read_evaluations(tmp_path / "evaluations.npz")["return_mean"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({"steps": [1], "results": [[1.0]]}, "without timesteps, so no file of SB3's EvalCallback"),
        ({"timesteps": [1, 2], "results": [[1.0]]}, "timesteps of shape (2,)"),
        ({"timesteps": [1], "results": [1.0]}, "results of shape (1,)"),
        ({"timesteps": [1], "results": [[]]}, "results of shape (1, 0)"),
        ({"timesteps": [], "results": np.zeros((0, 2))}, "no return in it"),
        ({"timesteps": [2, 1], "results": [[1.0], [2.0]]}, "step 1 after step 2"),
        ({"timesteps": [-1], "results": [[1.0]]}, "step -1; allowed: whole numbers"),
        ({"timesteps": [0.5], "results": [[1.0]]}, "step 0.5"),
        ({"timesteps": [np.nan], "results": [[1.0]]}, "step nan"),
        ({"timesteps": [1, 2], "results": [[1.0], [np.nan]]}, "point 2, step 2: the return is nan"),
        ({"timesteps": [1], "results": [[np.inf]]}, "the return is inf"),
        ({"timesteps": ["a"], "results": [[1.0]]}, "allowed: numbers"),
        ({"timesteps": [1j], "results": [[1.0]]}, "allowed: numbers"),
    ],
)
def test_other_arrays_are_told(tmp_path, arrays, part):
    path = tmp_path / "evaluations.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError) as caught:
        read_evaluations(path)
    assert part in str(caught.value)


class Runs:
    """Whatever unpickles this runs code."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def test_pickles_are_refused_unopened(tmp_path):
    path = tmp_path / "evaluations.npz"
    np.savez(path, timesteps=[1], results=np.array([[Runs()]], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="pickled objects, which could run any code"):
        read_evaluations(path)


def members(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def header(text, version=b"\x01\x00", size=2):
    return b"\x93NUMPY" + version + len(text).to_bytes(size, "little") + text


HUGE = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 9), }\n"
NEGATIVE = b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 9), }\n"
LONG = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }" + b" " * 20_000 + b"\n"
MALFORMED = {
    "empty": b"",
    "garbage": bytes(range(256)) * 4,
    "text": b"timesteps,results\n1,2\n",
    "no archive after all": b"PK\x03\x04" + b"\0" * 100,
    "no arrays": members(timesteps=b"12", results=b"34"),
    "huge shape": members(timesteps=header(HUGE), results=header(HUGE)),
    "negative shape": members(timesteps=header(NEGATIVE), results=header(NEGATIVE)),
    "huge header": members(timesteps=header(LONG), results=header(LONG)),
    "unknown version": members(timesteps=header(HUGE, b"\x09\x00"), results=b""),
    "huge length of the header": members(timesteps=header(b"", b"\x02\x00", 4)[:-4] + b"\xff" * 4),
    "nested header": members(timesteps=header(b"(" * 9000), results=header(b"(" * 9000)),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_files_get_one_line(tmp_path, content):
    path = tmp_path / "evaluations.npz"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_evaluations(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_still_written_is_told(tmp_path):
    path = evaluations(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="still being written"):
        read_evaluations(path)


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_LOG", 1000)
    path = tmp_path / "evaluations.npz"
    np.savez_compressed(path, timesteps=np.zeros(1000), results=np.zeros((1000, 1)))
    with pytest.raises(UserError, match="bytes of arrays; allowed: 1,000"):
        read_evaluations(path)
