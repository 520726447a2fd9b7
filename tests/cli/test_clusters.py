import pytest

from sb3_course.cli import app
from sb3_course.cli.parts import terminal


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["--array"]),
        (["--array", "0", "--time", "60"], ["--array", "1"]),
        (["--array", "2"], ["--time"]),
        (["--array", "2", "--time", "soon"], ["--time 'soon'", "as in 4:00:00"]),
        (["--array", "2", "--time", "60", "--sbatch", "time=3"], ["sets time itself"]),
    ],
)
def test_wrong_arguments_get_one_clear_line(grid, misused, words, expected):
    error = misused(["slurm", grid(), *words])
    for part in expected:
        assert part in error


def test_the_script_is_on_standard_output_and_notes_are_not(grid, capsys):
    words = ["slurm", grid(), "--array", "2", "--time", "60", "--sbatch", "partition=long"]
    assert app.invoke(words) == terminal.OK
    shown = capsys.readouterr()
    assert shown.out.startswith("#!/bin/bash\n")
    assert "#SBATCH --partition=long\n" in shown.out
    assert "sb3-course run grid.yaml --workers 1 --no-wait --results results &\n" in shown.out
    assert shown.err.startswith("sb3-course: the grid has no checkpoint_every")


def test_a_grid_with_mistakes_gives_no_script(grid, capsys):
    path = grid(algorithms={"A2C": {"class": "A3C"}})
    assert app.invoke(["slurm", path, "--array", "2", "--time", "60"]) == terminal.MISUSED
    assert capsys.readouterr().out == ""
