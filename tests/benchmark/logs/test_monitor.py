import gymnasium
import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import load_results
from stable_baselines3.common.results_plotter import ts2xy

from sb3_course.benchmark.logs.monitor import Episodes, merged, read_monitor, read_monitors, windows
from sb3_course.common.errors import UserError
from tests.benchmark.logs.made_up_logs import monitor


def episodes(lengths, returns=None, ends=None):
    n = len(lengths)
    return Episodes(
        np.array(lengths if returns is None else returns, dtype=float),
        np.array(lengths, dtype=float),
        np.arange(1.0, n + 1) if ends is None else np.array(ends),
        0.0,
    )


def test_the_files_of_sb3s_monitors_are_merged_as_sb3_does(tmp_path):
    env = make_vec_env("CartPole-v1", 3, seed=0, monitor_dir=str(tmp_path))
    A2C("MlpPolicy", env, seed=0, device="cpu").learn(600)
    env.close()
    found = merged([read_monitor(path) for path in sorted(tmp_path.glob("*.monitor.csv"))])
    theirs = load_results(str(tmp_path))
    steps, returns = ts2xy(theirs, "timesteps")
    assert len(steps) > 10
    np.testing.assert_array_equal(np.cumsum(found.lengths), steps)
    np.testing.assert_array_equal(found.returns, returns)
    np.testing.assert_allclose(found.ends - found.start, theirs["t"], atol=1e-5)


def test_windows_are_of_equal_steps_and_at_their_right_ends(tmp_path):
    """20 episodes make 4 windows of 50 steps; one is of the steps after the window before."""
    lengths = [10] * 20
    table = windows(episodes(lengths, returns=range(20)))
    assert table["step"].tolist() == [50, 100, 150, 200]
    assert table["return_mean"].tolist() == [2.0, 7.0, 12.0, 17.0]
    assert table["return_std"].tolist() == pytest.approx([np.sqrt(2)] * 4)
    assert table["wall_time"].tolist() == [5.0, 10.0, 15.0, 20.0]
    assert table["episode_length"].tolist() == [10.0] * 4
    assert table["episode_returns"].isna().all()


def test_a_window_in_which_no_episode_ended_is_no_point():
    table = windows(episodes([10, 10, 100], returns=[1, 3, 8]))
    assert table["step"].tolist() == [60, 120]
    assert table["return_mean"].tolist() == [2.0, 8.0]
    table = windows(episodes([1] * 9 + [91], returns=[1] * 9 + [8]))
    assert table["step"].tolist() == [50, 100]
    table = windows(episodes([100, *[1] * 19]))
    assert table["step"].tolist() == [119]  # one window of four: three have no end of an episode
    assert table["return_mean"].tolist() == [119 / 20]


def test_there_are_at_most_50_windows():
    table = windows(episodes([3] * 10_000))
    assert len(table) == 50
    assert table["step"].iloc[-1] == 30_000


def test_one_episode_is_one_point():
    assert windows(episodes([7]))[["step", "return_mean"]].to_numpy().tolist() == [[7, 7.0]]


def test_parallel_environments_are_merged_by_time_not_by_file(tmp_path):
    """The clock of the second environment began 5 seconds after that of the first."""
    monitor(tmp_path / "0.monitor.csv", [(1, 10, 1.0), (2, 10, 8.0)], start=100.0)
    monitor(tmp_path / "1.monitor.csv", [(3, 5, 1.0), (4, 5, 4.0)], start=105.0)
    found = merged([read_monitor(tmp_path / f"{k}.monitor.csv") for k in range(2)])
    assert found.returns.tolist() == [1, 3, 2, 4]
    assert (found.ends - found.start).tolist() == [1.0, 6.0, 8.0, 9.0]


def test_a_run_that_was_resumed_goes_on(tmp_path):
    """Its times begin anew, in the same file, as of ``Monitor(override_existing=False)``."""
    path = monitor(tmp_path / "m.monitor.csv", [(1, 5, 2.0), (2, 5, 4.0), (3, 5, 1.0), (4, 5, 3.0)])
    assert (read_monitor(path).ends - 1000).tolist() == [2.0, 4.0, 5.0, 7.0]


def test_the_last_line_of_a_file_that_is_still_written_is_left_out(tmp_path):
    path = monitor(tmp_path / "m.monitor.csv", [(1, 5, 2.0), (20, 5, 4.0), (300, 55, 4.5)], end="")
    assert read_monitor(path).returns.tolist() == [1, 20]


def test_other_columns_do_no_harm(tmp_path):
    path = tmp_path / "monitor.csv"
    path.write_text('#{"t_start": 0}\nr,l,t,is_success,note\n1.5,3,2.0,True,"a, b"\n')
    assert read_monitor(path).returns.tolist() == [1.5]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty: not even the names of columns"),
        ("#{}\n", "empty: not even the names of columns"),
        ("#{}\nr,l\n1,2\n", "unknown column 't'"),
        ("#{}\nr,l,t\n", "no episode has ended"),
        ("#{}\nr,l,t\n1,2\n", "line 3: 2 cells for 3 columns"),
        ("#{}\nr,l,t\n1,2,3\n1,x,3\n", "line 4: l: given 'x'; allowed: a number"),
        ("#{}\nr,l,t\n1,0,3\n", "a length below 1"),
        ("#{}\nr,l,t\n1,nan,3\n", "length"),
        ("#{}\nr,l,t\n1,2,inf\n", "no finite number"),
        ("#{}\nr,l,t\n1,1e300,3\n", "length"),
        ("#{}\nr,l,t\n1,1.5,3\n", "whole number of steps"),
        ("#{}\nr,l,t\nnan,2,3\n", "the return is nan"),
        ("#{}\nr,l,t\n1,2,3\nnan,2,4\n1,2,5\n", "line 4: the return is nan, no finite number"),
        ("#{}\nr,l,t\n1,2,3\n-inf,2,4\n", "line 4: the return is -inf, no finite number"),
        ("#{}\nr,r,l,t\n", "distinct names"),
        ("#{}\nr,l,t\n1,2,3\n1,", "PASS"),
        ('#{}\nr,l,t\n1,2,"' + "9" * 200_000 + "\n", "field larger than field limit"),
        ("r,l,t\n" + "," * 5000 + "\n", "5001 cells"),
    ],
)
def test_malformed_files_get_one_line(tmp_path, text, part):
    path = tmp_path / "0.monitor.csv"
    path.write_text(text)
    if part == "PASS":
        assert len(read_monitors([path])) == 1
        return
    with pytest.raises(UserError) as caught:
        read_monitors([path])
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_garbage_is_no_text(tmp_path):
    (tmp_path / "0.monitor.csv").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match=r"0\.monitor\.csv: no text file in UTF-8"):
        read_monitors([tmp_path / "0.monitor.csv"])


@pytest.mark.parametrize("first", ["{", "[]", '{"t_start": "x"}', '{"t_start": NaN}', "[" * 9999])
def test_a_first_line_that_says_nothing_is_passed_over(tmp_path, first):
    path = tmp_path / "monitor.csv"
    path.write_text(f"#{first}\nr,l,t\n1,2,3\n")
    assert read_monitor(path).start == 0.0


def test_gymnasiums_registered_name_is_in_the_first_line(tmp_path):
    """What the name of the environment is read from."""
    make_vec_env("CartPole-v1", 1, monitor_dir=str(tmp_path)).close()
    assert '"env_id": "CartPole-v1"' in (tmp_path / "0.monitor.csv").read_text()
    assert gymnasium.spec("CartPole-v1").id == "CartPole-v1"
