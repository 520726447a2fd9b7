import pytest

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.definition.sections import Evaluation
from sb3_course.benchmark.logs.tidy_csv import read_tidy
from sb3_course.benchmark.storage.returns_table import csv_of, tidy
from tests.benchmark import made_up
from tests.benchmark.helpers import content


@pytest.mark.parametrize(
    ("n_points", "total", "steps"),
    [
        (4, 200, [0, 50, 100, 150, 200]),
        (3, 10, [0, 3, 7, 10]),
        (10, 4, [0, 1, 2, 3, 4]),
        (7, 5, [0, 1, 2, 3, 4, 5]),
        (1000, 1, [0, 1]),
        (5, 5, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_no_step_is_evaluated_twice(n_points, total, steps):
    assert Evaluation(n_points=n_points).steps(total) == steps


@pytest.mark.parametrize("total", range(1, 40))
def test_steps_are_distinct_and_those_of_equal_intervals(total):
    for n_points in range(1, 60):
        equal = [round(i * total / n_points) for i in range(n_points + 1)]
        assert Evaluation(n_points=n_points).steps(total) == list(dict.fromkeys(equal))


def test_intervals_longer_than_the_run_end_with_it():
    assert Evaluation(every=500).steps(200) == [0, 200]


def test_the_table_of_a_grid_with_more_points_than_steps_is_read_back(tmp_path):
    short = {"CartPole-v1": {"total_timesteps": 4}}
    grid = load_grid(content(environments=short, evaluation={"n_points": 9, "episodes": 2}))
    (tmp_path / "returns.csv").write_text(csv_of(tidy(made_up.results(grid))))
    found, unread = read_tidy(tmp_path / "returns.csv")
    assert len(found) == len(grid.runs()) and unread == {}
