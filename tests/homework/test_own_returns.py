from pathlib import Path

import pandas as pd
import pytest
from torch.utils.tensorboard import SummaryWriter

from sb3_course.common.errors import UserError
from sb3_course.homework.own_returns import RETURN, STEPS, OwnRun, Task, nearest, read_own

TASKS = {"small": Task("CartPole-v1", 100_000, 1000), "large": Task("CartPole-v1", 400_000, 4000)}
TODAY = "30-11-2023_10-00-00"


def log(folder, taken, returns, names=(STEPS, RETURN)):
    """Log as the homework's code does: once an iteration, whose number is the step."""
    with SummaryWriter(str(folder)) as writer:
        for i, (steps, value) in enumerate(zip(taken, returns)):
            writer.add_scalar(names[0], steps, i)
            writer.add_scalar(names[1], value, i)
            writer.add_scalar("Eval_StdReturn", 1.0, i)


def csv(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_homeworks_log_is_read_by_environment_steps(tmp_path):
    log(tmp_path, [1012, 2030], [21.5, 48.0])
    table = read_own([f"mine={tmp_path}"], TASKS).table
    assert table["step"].tolist() == [1012, 2030]
    assert table["return_mean"].tolist() == [21.5, 48.0]
    assert set(table["algorithm"]) == {"mine"} and set(table["environment"]) == {"small"}


def test_each_folder_below_is_a_seed(tmp_path):
    for i in range(3):
        log(tmp_path / f"q2_pg_pendulum_s{i}", [4012, 390_000], [i, i])
    table = read_own([f"mine={tmp_path}"], TASKS).table
    assert sorted(set(table["seed"])) == [0, 1, 2] and set(table["environment"]) == {"large"}
    single = next((tmp_path / "q2_pg_pendulum_s1").iterdir())
    again = read_own([f"mine={tmp_path}", f"mine={single}", f"other={single}"], TASKS).table
    seeds = again.groupby("algorithm")["seed"].max()
    assert seeds["mine"] == 3 and seeds["other"] == 0


@pytest.mark.parametrize("header", ["step,return_mean", "step,return"])
def test_a_plain_table_is_one_run(tmp_path, header):
    path = csv(tmp_path / "a.csv", header, "0,1.5", "350000,7")
    table = read_own([f"mine={path}"], TASKS).table
    assert table[["environment", "seed", "step", "return_mean"]].to_numpy().tolist() == [
        ["large", 0, 0, 1.5],
        ["large", 0, 350_000, 7.0],
    ]


def test_a_last_row_without_a_newline_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("step,return_mean\n0,1.5\n350000,7")
    assert read_own([f"mine={path}"], TASKS).table["return_mean"].tolist() == [1.5, 7.0]


def test_of_two_columns_of_returns_the_one_that_reports_take_is_read(tmp_path):
    path = csv(tmp_path / "a.csv", "step,return,return_mean", "0,9,1.5", "350000,9,7")
    assert read_own([f"mine={path}"], TASKS).table["return_mean"].tolist() == [1.5, 7.0]


def test_spaces_around_a_cell_make_no_other_run(tmp_path):
    lines = ("large,4,10,1", "large , 4,20,2")
    path = csv(tmp_path / "a.csv", "environment,seed,step,return_mean", *lines)
    table = read_own([f"mine={path}"], TASKS).table
    assert table["step"].tolist() == [10, 20] and set(table["seed"]) == {0}


def test_a_table_says_environments_and_seeds(tmp_path):
    lines = ("large,4,10,1", "large,5,10,2", "small,4,10,3", "large,4,20,9")
    path = csv(tmp_path / "a.csv", "environment,seed,step,return_mean", *lines)
    table = read_own([f"mine={path}"], TASKS).table
    runs = table.groupby(["environment", "seed"])["return_mean"].apply(list)
    assert runs.loc["large"].tolist() == [[1, 9], [2]] and runs.loc["small"].tolist() == [[3]]


@pytest.mark.parametrize(
    ("batch", "steps", "expected"),
    [
        (0, 99_000, "small"),
        (0, 180_000, "small"),
        (0, 220_000, "large"),
        (0, 0, "small"),
        (4012, 30_000, "large"),  # a log of large batches that has not ended
        (1003, 400_000, "small"),
    ],
)
def test_a_run_belongs_where_batches_or_runs_are_about_as_long(batch, steps, expected):
    run = OwnRun(Path("mine"), "", batch, pd.DataFrame({"step": [0, steps]}))
    assert nearest(run, TASKS) == expected


def test_a_folder_of_all_experiments_gives_those_of_this_one(tmp_path):
    log(tmp_path / f"q2_pg_cartpole_CartPole-v0_{TODAY}", [1000, 2000], [1, 2])
    log(tmp_path / f"q2_pg_lander_lambda0_LunarLander-v2_{TODAY}", [1000, 2000], [-3, -4])
    log(tmp_path / "of_nobody", [1000, 2000], [5, 6])
    table, notes = read_own([f"mine={tmp_path}"], TASKS)
    assert sorted(table["return_mean"]) == [1, 2, 5, 6]
    left_out, *read = notes
    assert left_out.startswith("left out: ") and left_out.endswith(", of LunarLander")
    assert read[0].startswith("mine, seed 0: ") and read[0].endswith(", small, to 2,000 steps")
    with pytest.raises(UserError, match="no run of CartPole in it; left out: .* of LunarLander"):
        read_own([f"mine={tmp_path / f'q2_pg_lander_lambda0_LunarLander-v2_{TODAY}'}"], TASKS)


def test_a_curve_that_ends_with_its_shortest_run_says_so(tmp_path):
    log(tmp_path / "whole", range(1000, 101_000, 1000), [1.0] * 100)
    log(tmp_path / "aborted", [1000, 2000, 3012], [1.0] * 3)
    *_, last = read_own([f"mine={tmp_path}"], TASKS).notes
    assert last == "mine, small: the curve ends at 3,012 steps, with seed 0"
    log(tmp_path / "begun", [999], [1.0])
    with pytest.raises(UserError, match="its runs have no step in common, as seed 1 ends at 999"):
        read_own([f"mine={tmp_path}"], TASKS)


@pytest.mark.parametrize("word", ["mine", "=a.csv", "mine=", " =a.csv", "a\nb=a.csv"])
def test_other_words_are_refused(word):
    with pytest.raises(UserError, match="allowed: NAME=PATH"):
        read_own([word], TASKS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["step,value", "0,1"], "return_mean"),
        (["step,return_mean", "x,1"], "line 2: step: given 'x'; allowed: a number"),
        (["step,return_mean", "0,nan"], "finite"),
        (["step,return_mean"], "no row"),
        (["step,return_mean", "5,1", "4,1"], "ascending"),
        (["environment,step,return_mean", "larg,5,1"], "did you mean 'large'"),
        (["step,return_mean", "0,1", "5,1", "5,2"], "two rows with the same step; allowed"),
        (["seed,step,return_mean", "3,5,1", "3,5,2"], "two rows with the same step of 3"),
        (["algorithm,step,return_mean", "a,5,1", "b,6,2"], "of a, b; allowed: one algorithm"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_its_path(tmp_path, lines, message):
    path = csv(tmp_path / "a.csv", *lines)
    with pytest.raises(UserError, match=message) as error:
        read_own([f"mine={path}"], TASKS)
    assert str(error.value).startswith(str(path))


def test_paths_without_returns_are_told(tmp_path):
    log(tmp_path / "other", [1], [2], names=("rollout/ep_rew_mean", RETURN))
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    for name, message in {
        "other": f"no {STEPS} in it",
        "empty": "0 folders with event files",
        "a.txt": "allowed: a .csv file",
        "nothing": "no such file",
    }.items():
        with pytest.raises(UserError, match=message):
            read_own([f"mine={tmp_path / name}"], TASKS)
