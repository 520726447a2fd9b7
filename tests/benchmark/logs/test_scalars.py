import subprocess
import sys

import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from tensorboard.compat.proto import event_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import SummaryWriter

from sb3_course.benchmark.logs import scalars as module
from sb3_course.benchmark.logs.scalars import (
    EVALUATED,
    TRAINED,
    Scalar,
    read_events,
    read_progress,
    returns_in,
)
from sb3_course.common.errors import UserError


def logged(folder, formats, evaluate):
    """Train, and log in some formats of SB3's."""
    model = A2C("MlpPolicy", make_vec_env("CartPole-v1", 2, seed=0), seed=0, device="cpu")
    model.set_logger(configure(str(folder), formats))
    callback = EvalCallback(
        make_vec_env("CartPole-v1", 1),
        log_path=str(folder),
        eval_freq=100,
        n_eval_episodes=2,
        verbose=0,
    )
    model.learn(400, callback if evaluate else None, log_interval=10)
    model.logger.close()
    return callback


def events(folder):
    return sorted(folder.glob("*.tfevents.*"))


def test_both_formats_of_sb3s_logger_say_the_same(tmp_path):
    callback = logged(tmp_path, ["csv", "tensorboard"], evaluate=True)
    progress, board = read_progress(tmp_path / "progress.csv"), read_events(events(tmp_path))
    for scalars in (progress, board):
        table = returns_in(scalars, EVALUATED)
        assert table["step"].tolist() == [200, 400]
        returns = [np.mean(r) for r in callback.evaluations_results]
        lengths = [np.mean(n) for n in callback.evaluations_length]
        assert table["return_mean"].tolist() == pytest.approx(returns)
        assert table["episode_length"].tolist() == pytest.approx(lengths)
        assert table["wall_time"].isna().all()  # it holds the time of evaluations
    trained = [returns_in(scalars, TRAINED) for scalars in (progress, board)]
    assert trained[0]["step"].tolist() == trained[1]["step"].tolist() == [100, 200, 300, 400]
    np.testing.assert_allclose(trained[0]["return_mean"], trained[1]["return_mean"], rtol=1e-6)


def test_training_alone_has_times(tmp_path):
    logged(tmp_path, ["csv", "tensorboard"], evaluate=False)
    for scalars in (read_progress(tmp_path / "progress.csv"), read_events(events(tmp_path))):
        assert returns_in(scalars, EVALUATED) is None
        table = returns_in(scalars, TRAINED)
        assert table["step"].tolist() == [100, 200, 300, 400]
        assert (table["wall_time"] >= 0).all()
        assert table["wall_time"].is_monotonic_increasing


HEADER = "rollout/ep_rew_mean,time/total_timesteps,eval/mean_reward,train/loss\n"


def progress(tmp_path, text):
    (tmp_path / "progress.csv").write_text(text)
    return read_progress(tmp_path / "progress.csv")


def test_empty_cells_are_no_values(tmp_path):
    found = progress(tmp_path, HEADER + "1.5,100,,nan\n,200,7,\n2.5,200,,\n,,,3\n")
    assert found["rollout/ep_rew_mean"].values == [1.5, 2.5]
    assert found["rollout/ep_rew_mean"].steps == [100, 200]
    assert (found["eval/mean_reward"].steps, found["eval/mean_reward"].values) == ([200], [7])
    assert np.isnan(found["eval/mean_reward"].seconds).all()


def test_a_clock_that_begins_anew_goes_on(tmp_path):
    """SB3's time_elapsed is that of one call of ``learn``."""
    header = "rollout/ep_rew_mean,time/total_timesteps,time/time_elapsed\n"
    found = progress(tmp_path, header + "1,100,1\n1,200,3\n1,300,0\n1,400,2\n")
    assert found["rollout/ep_rew_mean"].seconds == [1.0, 3.0, 3.0, 5.0]


def test_a_run_that_has_not_logged_yet_has_no_values(tmp_path):
    assert progress(tmp_path, "") == {}
    with pytest.raises(UserError, match="No such file"):
        read_progress(tmp_path / "other.csv")


def test_a_line_that_is_still_written_is_left_out(tmp_path):
    found = progress(tmp_path, HEADER + "1.5,100,,\n2.5,200,,\n333.3,3")
    assert found["rollout/ep_rew_mean"].values == [1.5, 2.5]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("\n", "empty: not even the names of columns"),
        ("a,b\n1,2\n", "unknown column 'time/total_timesteps'"),
        (HEADER + "x,100,,\n", "line 2: rollout/ep_rew_mean: given 'x'; allowed: a number"),
        (HEADER + "1,x,,\n", "line 2: time/total_timesteps: given 'x'"),
        (HEADER + "1,2\n", "line 2: 2 cells for 4 columns"),
        (HEADER + '1,2,3,"' + "x" * 200_000 + '"\n', "line 2: field larger"),
        (",".join(map(str, range(2000))) + "\n", "allowed: 1 to 1,000 columns"),
    ],
)
def test_malformed_tables_get_one_line(tmp_path, text, part):
    with pytest.raises(UserError) as caught:
        progress(tmp_path, text)
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("scalar", "part"),
    [
        (Scalar([200, 100], [1, 2], [0, 0]), "step 100 after step 200"),
        (Scalar([1, 2], [1, np.nan], [0, 0]), "step 2: the return is nan"),
        (Scalar([1], [np.inf], [0]), "the return is inf"),
        (Scalar([1e300], [1], [0]), "allowed: whole numbers"),
    ],
)
def test_what_are_no_returns_of_one_run_is_told(scalar, part):
    with pytest.raises(UserError, match=part):
        returns_in({EVALUATED[0]: scalar}, EVALUATED)


def test_of_equal_steps_the_last_counts():
    found = returns_in({EVALUATED[0]: Scalar([1, 2, 2], [1, 2, 3], [0, 0, 0])}, EVALUATED)
    assert found[["step", "return_mean"]].to_numpy().tolist() == [[1, 1], [2, 3]]


# -- TensorBoard's files --------------------------------------------------------------------------


def board(folder, values, **writer):
    with SummaryWriter(str(folder), **writer) as summary:
        for step, value in values:
            summary.add_scalar(EVALUATED[0], value, step)
            summary.add_scalar("train/loss", np.nan, step)
    return events(folder)


def test_a_run_that_goes_on_in_a_second_file_is_one(tmp_path):
    first = board(tmp_path / "a", [(1, 1.0), (2, 2.0)])[0].rename(tmp_path / "1.tfevents.x")
    second = board(tmp_path / "b", [(3, 3.0)])[0].rename(tmp_path / "2.tfevents.x")
    found = read_events([second, first])
    assert found[EVALUATED[0]].steps == [1, 2, 3]
    assert found.keys() == {EVALUATED[0]}


def test_what_a_killed_training_had_logged_beyond_its_last_save_does_not_count(tmp_path):
    first = [(1, 1.0), (2, 2.0), (4, 4.0), (5, 5.0)]
    first = board(tmp_path / "a", first)[0].rename(tmp_path / "1.tfevents.x")
    second = board(tmp_path / "b", [(4, 40.0), (6, 60.0)])[0].rename(tmp_path / "2.tfevents.x")
    found = read_events([second, first])[EVALUATED[0]]
    assert (found.steps, found.values) == ([1, 2, 4, 6], [1.0, 2.0, 40.0, 60.0])


def test_two_runs_in_one_folder_are_refused(tmp_path):
    first = board(tmp_path / "a", [(1, 1.0), (2, 2.0)])[0].rename(tmp_path / "1.tfevents.x")
    second = board(tmp_path / "b", [(1, 3.0), (2, 4.0)])[0].rename(tmp_path / "2.tfevents.x")
    with pytest.raises(UserError, match="step 1 after step 2"):
        returns_in(read_events([first, second]), EVALUATED)


def timed(path, opened, seconds):
    """Write an event file that was opened at a time, and had a value some seconds after it."""
    with path.open("wb") as file:
        writer = RecordWriter(file)
        version = event_pb2.Event(wall_time=opened, file_version="brain.Event:2")
        writer.write(version.SerializeToString())
        for step, second in seconds.items():
            event = event_pb2.Event(wall_time=opened + second, step=step)
            event.summary.value.add(tag=TRAINED[0], simple_value=1.0)
            writer.write(event.SerializeToString())
    return path


def test_time_counts_from_the_opening_of_a_file_and_not_between_two(tmp_path):
    first = timed(tmp_path / "1.tfevents.x", 100.0, {100: 10.0, 200: 20.0})
    second = timed(tmp_path / "2.tfevents.x", 5000.0, {300: 10.0, 400: 15.0})
    found = read_events([first, second])[TRAINED[0]]
    assert found.steps == [100, 200, 300, 400]
    assert found.seconds == [10.0, 20.0, 30.0, 35.0]


def test_new_style_scalars_are_read(tmp_path):
    with SummaryWriter(str(tmp_path)) as summary:
        summary.add_scalar(EVALUATED[0], 2.5, 7, new_style=True)
    assert read_events(events(tmp_path))[EVALUATED[0]].values == [2.5]


def test_a_file_that_is_still_written_is_read_up_to_there(tmp_path):
    (path,) = board(tmp_path, [(1, 1.0), (2, 2.0), (3, 3.0)])
    path.write_bytes(path.read_bytes()[:-60])
    assert read_events([path])[EVALUATED[0]].steps == [1, 2]


@pytest.mark.parametrize("content", [b"\0" * 40, bytes(range(256)), b"x" * 10, b"a,b\n1,2\n"])
def test_what_is_no_event_file_is_told(tmp_path, content):
    path = tmp_path / "x.tfevents.1"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.tfevents\.1: no event file of TensorBoard"):
        read_events([path])


def test_a_whole_record_that_is_no_event_is_told(tmp_path):
    from tensorboard.summary.writer.record_writer import RecordWriter

    path = tmp_path / "x.tfevents.1"
    with path.open("wb") as file:
        RecordWriter(file).write(b"\xff" * 50)
    with pytest.raises(UserError, match=r"x\.tfevents\.1: damaged"):
        read_events([path])


def test_a_file_of_no_event_and_one_that_is_too_large(tmp_path, monkeypatch):
    (tmp_path / "x.tfevents.1").touch()
    assert read_events([tmp_path / "x.tfevents.1"]) == {}
    monkeypatch.setattr(module, "LARGEST_LOG", 10)
    (path,) = board(tmp_path / "b", [(1, 1.0)])
    with pytest.raises(UserError, match="bytes; allowed: 10"):
        read_events([path])


def test_no_other_reader_needs_tensorboard():
    code = "import sys, sb3_course.benchmark.logs.reading; print('tensorboard' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
