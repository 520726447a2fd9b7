import pytest
from torch.utils.tensorboard import SummaryWriter

from sb3_course.common.errors import UserError
from sb3_course.homework.own_returns import RETURN, STEPS, nearest, read_own

LENGTHS = {"small": 100_000, "large": 400_000}


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
    table = read_own([f"mine={tmp_path}"], LENGTHS)
    assert table["step"].tolist() == [1012, 2030]
    assert table["return_mean"].tolist() == [21.5, 48.0]
    assert set(table["algorithm"]) == {"mine"} and set(table["environment"]) == {"small"}


def test_each_folder_below_is_a_seed(tmp_path):
    for i in range(3):
        log(tmp_path / f"q2_pg_pendulum_s{i}", [4012, 390_000], [i, i])
    table = read_own([f"mine={tmp_path}"], LENGTHS)
    assert sorted(set(table["seed"])) == [0, 1, 2] and set(table["environment"]) == {"large"}
    single = next((tmp_path / "q2_pg_pendulum_s1").iterdir())
    again = read_own([f"mine={tmp_path}", f"mine={single}", f"other={single}"], LENGTHS)
    seeds = again.groupby("algorithm")["seed"].max()
    assert seeds["mine"] == 3 and seeds["other"] == 0


@pytest.mark.parametrize("header", ["step,return_mean", "step,return"])
def test_a_plain_table_is_one_run(tmp_path, header):
    path = csv(tmp_path / "a.csv", header, "0,1.5", "350000,7")
    table = read_own([f"mine={path}"], LENGTHS)
    assert table[["environment", "seed", "step", "return_mean"]].to_numpy().tolist() == [
        ["large", 0, 0, 1.5],
        ["large", 0, 350_000, 7.0],
    ]


def test_a_last_row_without_a_newline_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("step,return_mean\n0,1.5\n350000,7")
    assert read_own([f"mine={path}"], LENGTHS)["return_mean"].tolist() == [1.5, 7.0]


def test_of_two_columns_of_returns_the_one_that_reports_take_is_read(tmp_path):
    path = csv(tmp_path / "a.csv", "step,return,return_mean", "0,9,1.5", "350000,9,7")
    assert read_own([f"mine={path}"], LENGTHS)["return_mean"].tolist() == [1.5, 7.0]


def test_spaces_around_a_cell_make_no_other_run(tmp_path):
    lines = ("large,4,10,1", "large , 4,20,2")
    path = csv(tmp_path / "a.csv", "environment,seed,step,return_mean", *lines)
    table = read_own([f"mine={path}"], LENGTHS)
    assert table["step"].tolist() == [10, 20] and set(table["seed"]) == {0}


def test_a_table_says_environments_and_seeds(tmp_path):
    lines = ("large,4,10,1", "large,5,10,2", "small,4,10,3", "large,4,20,9")
    path = csv(tmp_path / "a.csv", "environment,seed,step,return_mean", *lines)
    table = read_own([f"mine={path}"], LENGTHS)
    runs = table.groupby(["environment", "seed"])["return_mean"].apply(list)
    assert runs.loc["large"].tolist() == [[1, 9], [2]] and runs.loc["small"].tolist() == [[3]]


@pytest.mark.parametrize(
    ("steps", "expected"), [(99_000, "small"), (180_000, "small"), (220_000, "large"), (0, "small")]
)
def test_a_run_belongs_where_runs_are_about_as_long(steps, expected):
    assert nearest(steps, LENGTHS) == expected


@pytest.mark.parametrize("word", ["mine", "=a.csv", "mine=", " =a.csv", "a\nb=a.csv"])
def test_other_words_are_refused(word):
    with pytest.raises(UserError, match="allowed: NAME=PATH"):
        read_own([word], LENGTHS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["step,value", "0,1"], "return_mean"),
        (["step,return_mean", "x,1"], "line 2: step: given 'x'; allowed: a number"),
        (["step,return_mean", "0,nan"], "finite"),
        (["step,return_mean"], "no row"),
        (["step,return_mean", "5,1", "4,1"], "ascending"),
        (["environment,step,return_mean", "larg,5,1"], "did you mean 'large'"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_its_path(tmp_path, lines, message):
    path = csv(tmp_path / "a.csv", *lines)
    with pytest.raises(UserError, match=message) as error:
        read_own([f"mine={path}"], LENGTHS)
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
            read_own([f"mine={tmp_path / name}"], LENGTHS)
