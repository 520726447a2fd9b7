from dataclasses import replace

import pytest

from sb3_course.benchmark.reporting.answers import MAX_NAMES, summary
from sb3_course.benchmark.reporting.content import Record
from sb3_course.benchmark.statistics.analysis import analyze
from sb3_course.benchmark.statistics.coverage import caveat
from tests.benchmark import made_up
from tests.benchmark.statistics.test_analysis import incomplete


def points_of(grid, results) -> list[str]:
    return summary(analyze(grid, results), made_up.record(grid, results)).points


def solved(results, environments):
    """The same results, in which every run ends alike on some environments."""
    return [
        result.model_copy(
            update={"measurements": [replace(m, returns=[500.0] * 3) for m in result.measurements]}
        )
        if result.spec.environment in environments
        else result
        for result in results
    ]


def test_the_summary_states_the_main_results():
    grid = made_up.grid(seeds=3)
    results = made_up.results(grid)
    section = summary(analyze(grid, results), made_up.record(grid, results))
    assert section.paragraphs == ["3 algorithms, 2 environments, 3 seeds: 18 of 18 runs finished."]
    best, apart, few, narrow = section.points
    assert best.startswith("Highest interquartile mean of scores: ")
    assert "; not told apart from it: " in best
    assert apart == "Told apart: 0 of 3 pairs of algorithms."
    assert few.startswith("An algorithm has only 3 runs on some environment")
    assert narrow == caveat(3) != ""


def test_a_tie_names_every_winner():
    grid = made_up.grid(n_algorithms=2, n_environments=1, seeds=3)
    best, *_ = points_of(grid, solved(made_up.results(grid), grid.environments))
    start = "Highest interquartile mean of scores: NPG and BatchActorCritic (a tie), "
    assert best.startswith(start)
    assert "not told apart" not in best


@pytest.mark.parametrize(
    ("names", "start"),
    [
        (["Mine-v0"], "Highest interquartile mean of returns: "),
        (["Mine-v0", "Other-v0"], "Best mean rank over environments: "),
    ],
)
def test_without_scores_returns_or_ranks_say_which_is_best(names, start):
    environments = {name: {"total_timesteps": 1000} for name in names}
    grid = made_up.grid(environments=environments)
    assert points_of(grid, made_up.results(grid))[0].startswith(start)


def test_many_that_are_not_told_apart_are_counted():
    grid = made_up.grid(MAX_NAMES + 2, 1, seeds=2)
    assert (
        f"not told apart from it: {MAX_NAMES + 1} others."
        in points_of(grid, made_up.results(grid))[0]
    )


def test_enough_seeds_need_no_warning():
    grid = made_up.grid(seeds=5)
    assert not any("use at least" in point for point in points_of(grid, made_up.results(grid)))


def test_the_summary_counts_failed_and_missing_runs():
    (counts,) = summary(analyze(*incomplete()), made_up.record(*incomplete())).paragraphs
    assert counts.endswith("16 of 18 runs finished, 1 failed, 1 not run.")


def test_logs_are_read_and_none_is_missing():
    grid = made_up.grid()
    (counts,) = summary(analyze(grid, made_up.results(grid)[:4]), Record()).paragraphs
    assert counts.endswith("4 runs read.")
