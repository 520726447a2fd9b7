import subprocess
import sys

import pytest

from sb3_course.cli import app, reports
from sb3_course.cli.parts import terminal
from tests.benchmark.logs.made_up_logs import evaluations


@pytest.fixture(autouse=True)
def zoo(tmp_path, monkeypatch):
    """A folder of RL Zoo's logs, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for k in range(2):
        evaluations(tmp_path / "zoo" / "ppo" / f"CartPole-v1_{k}", [10, 20], [[5.0 + k], [9.0]])
    return tmp_path / "zoo"


def test_logs_of_several_paths_are_one_report(zoo, capsys):
    (zoo.parent / "mine.csv").write_text(
        "algorithm,environment,seed,step,return\nMine,CartPole-v1,0,10,3\nMine,CartPole-v1,0,20,4\n"
    )
    assert app.invoke(["report", "theirs=zoo", "mine.csv", "--out", "compared"]) == terminal.OK
    assert capsys.readouterr().out == "compared/report.html\n"
    page = (zoo.parent / "compared" / "report.html").read_text()
    assert "ppo (theirs)" in page
    assert "Mine" in page


def test_what_was_not_read_is_told_and_the_report_is_written(zoo, capsys, monkeypatch):
    monkeypatch.setattr(reports, "SHOWN", 2)
    for k in range(2, 6):
        evaluations(zoo / "ppo" / f"CartPole-v1_{k}").write_bytes(b"")
    assert app.invoke(["report", "zoo"]) == terminal.FAILED
    done = capsys.readouterr()
    assert done.out == "results/report/report.html\n"
    lines = done.err.splitlines()
    assert len(lines) == 3
    assert "zoo/ppo/CartPole-v1_2: evaluations.npz: damaged" in lines[0]
    assert "and 2 more, which the report lists" in lines[2]
    page = (zoo.parent / "results" / "report" / "report.html").read_text()
    assert "zoo/ppo/CartPole-v1_5" in page


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["zoo", "--layout", "{algo}_{seed}"], "did you mean 'algorithm'"),
        (["zoo", "--layout", "{algorithm}/{seed}"], "such as ppo/CartPole-v1_0/evaluations.npz"),
        (["none"], "none: no such file or folder"),
        (["zoo", "none.yaml"], "none.yaml: cannot be read"),
        ([], "PATH"),
    ],
)
def test_mistakes_get_one_clear_line(misused, words, part):
    assert part in misused(["report", *words])


def test_a_report_does_not_wait_for_torch():
    """Its seconds are those of statistics and drawings alone."""
    code = (
        "import sys, sb3_course.benchmark.api, sb3_course.benchmark.logs.reading;"
        "import sb3_course.benchmark.reporting.report;"
        "print({'torch', 'gymnasium', 'stable_baselines3'} & sys.modules.keys())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.strip() == "set()", shown.stderr


def test_a_table_that_is_read_is_not_written_over(zoo, misused):
    table = zoo.parent / "returns.csv"
    table.write_text("algorithm,environment,seed,step,return\nMine,CartPole-v1,0,10,3\n")
    for path in ("returns.csv", f"mine={table}"):
        said = misused(["report", path, "--out", "."])
        assert "--out: returns.csv is read as well, and kept; allowed: another file" in said
    assert len(table.read_text().splitlines()) == 2
    said = misused(["report", "returns.csv", "--out", "returns.csv"])
    assert "--out: given 'returns.csv', which is a file; allowed: a folder" in said
