from dataclasses import replace

import pytest

from sb3_course.benchmark.reporting.answers import MAX_NAMES, summary
from sb3_course.benchmark.reporting.content import Record
from sb3_course.benchmark.reporting.tables import scores
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


def one_point_of(analysis):
    best, *_ = summary(analysis, Record()).points
    return best


def test_who_has_the_highest_mean_may_lose_to_another():
    grid = made_up.grid(seeds=3)
    analysis = analyze(grid, made_up.results(grid))
    table = analysis.aggregates[analysis.aggregates["statistic"] == "IQM"]
    top, *others = table.sort_values("point", ascending=False)["algorithm"]
    told = analysis.probability_of_improvement
    told = told.assign(apart=True, point=[float(x != top) for x in told["x"]])
    said = one_point_of(made_up.changed(analysis, probability_of_improvement=told))
    names = ", ".join(name for name in analysis.design.algorithms if name in others)
    assert said.endswith(f"; told apart from it, with runs that end higher: {names}.")
    assert "not told apart" not in said


def test_an_algorithm_that_no_aggregate_has_is_named():
    grid = made_up.grid(seeds=3)
    results = [
        result
        for result in made_up.results(grid)
        if (result.spec.algorithm, result.spec.environment) != ("NPG", "HalfCheetah-v4")
    ]
    said = one_point_of(analyze(grid, results))
    assert said.endswith("; without NPG, which lacks runs on some environment.")


def test_a_single_run_somewhere_takes_no_warning_from_the_others():
    grid = made_up.grid(seeds=3)
    results = [
        result
        for result in made_up.results(grid)
        if (result.spec.algorithm, result.spec.seed > 0) != ("NPG", True)
    ]
    points = summary(analyze(grid, results), Record()).points
    assert points[-2].startswith("An algorithm has only 1 run on some environment")
    assert points[-1] == caveat(3)


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


def test_ranks_name_the_environments_that_all_have():
    """One of the three has run on the first alone, with two seeds."""
    names = ["Mine-v0", "Other-v0"]
    grid = made_up.grid(environments={name: {"total_timesteps": 1000} for name in names})
    late = grid.runs()[-1].algorithm
    results = [
        result
        for result in made_up.results(grid)
        if result.spec.algorithm != late
        or (result.spec.environment == names[0] and result.spec.seed < 2)
    ]
    analysis = analyze(grid, results)
    over = "the environments where all algorithms have runs (Mine-v0)"
    assert one_point_of(analysis).startswith(f"Best mean rank over {over}: ")
    table = scores.ranks(analysis)
    assert table.caption.startswith(f"Mean rank over {over} by mean final returns")
    assert sorted(analysis.ranks["point"]) == [1.0, 2.0, 3.0]
