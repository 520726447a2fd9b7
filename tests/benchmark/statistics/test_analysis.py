import numpy as np
import pytest
from rliable import library, metrics

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.statistics import bootstrap
from sb3_course.benchmark.statistics.analysis import analyze
from sb3_course.benchmark.statistics.pairs import ALL
from sb3_course.benchmark.statistics.scores import load_references
from sb3_course.benchmark.storage.result import Measurement, RunResult
from tests.benchmark import made_up


def incomplete():
    """One run failed, one is missing, one ended early; the rest of 3 x 2 x 3 finished."""
    grid = made_up.grid()
    results, generator = [], np.random.default_rng(0)
    for spec in grid.runs():
        if (spec.algorithm, spec.seed) == ("NPG", 1) and spec.environment == "CartPole-v1":
            results.append(RunResult(spec=spec, failure="Traceback\n\nValueError: not finite"))
        elif (spec.algorithm, spec.seed) == ("BatchActorCritic", 2):
            if spec.environment == "CartPole-v1":
                results.append(made_up.finished(spec, generator, until=0.5))
        else:
            results.append(made_up.finished(spec, generator))
    return grid, results


def test_every_run_missing_from_a_statistic_is_named_with_its_reason():
    grid, results = incomplete()
    analysis = analyze(grid, results)
    why = {tuple(run): why for *run, why in analysis.absent.itertuples(index=False)}
    assert why == {
        ("NPG", "CartPole-v1", 1): "failed: ValueError: not finite",
        ("NPG", "HalfCheetah-v4", 1): "not in the aggregates: no run with this seed on CartPole-v1",
        ("BatchActorCritic", "HalfCheetah-v4", 2): "not run",
        ("BatchActorCritic", "CartPole-v1", 2): "measured from 0 to 500 of 0 to 1,000 steps",
    }
    assert len(analysis.final) + 3 == len(grid.runs())


def test_statistics_state_the_number_of_runs_they_are_based_on():
    grid, results = incomplete()
    analysis = analyze(grid, results)
    counts = analysis.aggregates.groupby("algorithm")["n_runs"].unique()
    assert {name: list(n) for name, n in counts.items()} == {
        "NPG": [2],
        "BatchActorCritic": [2],
        "REINFORCE (optimal baseline)": [3],
    }
    alone = analysis.by_environment.set_index(["algorithm", "environment"])["n_runs"]
    assert alone["NPG", "CartPole-v1"] == 2
    assert alone["NPG", "HalfCheetah-v4"] == 3  # a run left out of the aggregates still counts here
    pairs = analysis.probability_of_improvement.set_index(["x", "y"])[["n_runs_x", "n_runs_y"]]
    assert pairs.loc["NPG", "REINFORCE (optimal baseline)"].tolist() == [2, 3]  # the fewest


def test_intervals_computed_from_runs_equal_rliables():
    grid = made_up.grid(n_algorithms=2, n_environments=3, seeds=5)
    analysis = analyze(grid, made_up.results(grid))
    matrix = np.empty((5, 3))
    for result in made_up.results(grid):
        if result.spec.algorithm == "NPG":
            scale = load_references().environments[result.spec.environment]
            column = sorted(grid.environments).index(result.spec.environment)
            last = np.mean(result.measurements[-1].returns)
            matrix[result.spec.seed, column] = (last - scale.random) / (scale.expert - scale.random)
    np.random.seed(0)
    points, intervals = library.get_interval_estimates(
        {"NPG": matrix}, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=bootstrap.REPS
    )
    ours = analysis.aggregates.set_index(["algorithm", "statistic"]).loc[("NPG", "IQM")]
    assert ours["point"] == pytest.approx(points["NPG"][0], rel=1e-11)
    assert [ours["low"], ours["high"]] == pytest.approx(intervals["NPG"][:, 0], rel=1e-11)


def test_an_algorithms_numbers_do_not_depend_on_the_others():
    two = made_up.grid(n_algorithms=2)
    results = made_up.results(two)
    one = made_up.grid(n_algorithms=1)
    alone = analyze(one, [r for r in results if r.spec.algorithm == "NPG"])
    both = analyze(two, results)
    for name in ("aggregates", "sample_efficiency", "curves", "by_environment"):
        table = getattr(both, name)
        mine = table[table["algorithm"] == "NPG"].reset_index(drop=True)
        assert mine.equals(getattr(alone, name)), name


def test_the_curve_ends_where_the_final_return_is():
    grid = made_up.grid()
    analysis = analyze(grid, made_up.results(grid))
    final = analysis.final.groupby(["algorithm", "environment"])["return_mean"].mean()
    ends = analysis.curves.groupby(["algorithm", "environment"])["point"].last()
    assert ends.to_numpy() == pytest.approx(final.to_numpy())
    iqm = analysis.aggregates[analysis.aggregates["statistic"] == "IQM"]["point"]
    last = analysis.sample_efficiency[analysis.sample_efficiency["fraction"] == 1]["point"]
    assert last.to_numpy() == pytest.approx(iqm.to_numpy())


def test_a_profile_covers_all_scores_except_the_worst():
    grid = made_up.grid()
    profiles = analyze(grid, made_up.results(grid)).performance_profiles
    assert len(profiles)
    for _, rows in profiles.groupby("algorithm"):
        assert rows["point"].is_monotonic_decreasing
        assert rows["point"].iloc[-1] == 0
        assert rows["score"].iloc[0] <= 0
        assert (rows["low"] <= rows["high"]).all()


def test_a_grid_without_results_has_empty_tables():
    analysis = analyze(made_up.grid(), [])
    assert set(analysis.absent["why"]) == {"not run"}
    assert len(analysis.absent) == 18
    for name in (
        "final",
        "curves",
        "by_environment",
        "aggregates",
        "performance_profiles",
        "probability_of_improvement",
    ):
        assert getattr(analysis, name).empty, name


def test_an_environment_without_finished_runs_excludes_no_algorithm_from_the_aggregates():
    grid = made_up.grid()
    some = [r for r in made_up.results(grid) if r.spec.environment == "CartPole-v1"]
    analysis = analyze(grid, some)
    assert analysis.aggregated == ["CartPole-v1"]
    assert len(analysis.aggregates) == 3 * 4


def constant(spec: RunSpec, score: float) -> RunResult:
    """Make a run with the return of random actions at first and a constant score from then on."""
    scale = load_references().environments[spec.environment]
    height = scale.random + score * (scale.expert - scale.random)
    measurements = [
        Measurement(step, step, step / 100, [height if step else scale.random], [9])
        for step in spec.config.evaluation_steps
    ]
    return RunResult(spec=spec, measurements=measurements)


def test_questions_compare_two_algorithms_over_all_environments_and_on_each():
    grid = made_up.grid(questions={"Is it better?": ["NPG", "BatchActorCritic"]})
    above = {"CartPole-v1": 0.5, "HalfCheetah-v4": -0.1}  # of NPG over the other
    results = [
        constant(spec, 1 + above[spec.environment] * (spec.algorithm == "NPG"))
        for spec in grid.runs()
    ]
    table = analyze(grid, results).comparisons
    assert set(table["question"]) == {"Is it better?"}
    points = table.set_index(["measure", "environment"])["point"]
    assert points["P(X > Y)", ALL] == 0.5
    assert points["P(X > Y)", "CartPole-v1"] == 1
    assert points["P(X > Y)", "HalfCheetah-v4"] == 0
    for measure in ("IQM at the end", "IQM over the run"):
        for name, expected in above.items():
            assert points[measure, name] == pytest.approx(expected)
    # Of three runs with 1.5 and three with 0.9 the middle four have 0.9, 0.9, 1.5 and 1.5.
    assert points["IQM at the end", ALL] == pytest.approx(0.2)
    assert table[["low", "high"]].notna().all(axis=None)


def test_a_question_is_answered_on_the_environments_that_both_have_runs_on():
    grid = made_up.grid(questions={"Is it better?": ["NPG", "BatchActorCritic"]})
    results = [
        result
        for result in made_up.results(grid)
        if (result.spec.algorithm, result.spec.environment) != ("NPG", "CartPole-v1")
    ]
    analysis = analyze(grid, results)
    (answer,) = analysis.answers.itertuples()
    assert answer.environments == ["HalfCheetah-v4"] and answer.why == ""
    assert set(analysis.comparisons["environment"]) == {ALL, "HalfCheetah-v4"}
    assert set(analysis.comparisons["measure"]) == {"P(X > Y)", "P(X > Y) over the run"}


def test_the_best_of_a_run_is_its_highest_evaluation():
    grid = made_up.grid(n_algorithms=1, n_environments=1)
    results = made_up.results(grid)
    (row,) = analyze(grid, results).best.itertuples()
    highest = [max(np.mean(m.returns) for m in result.measurements) for result in results]
    assert row.point == pytest.approx(np.mean(highest))
    assert row.low < row.point < row.high and row.n_runs == 3


def test_ranks_compare_algorithms_that_share_an_environment():
    grid = made_up.grid(n_algorithms=2)
    results = made_up.results(grid)
    assert analyze(grid, results).ranks_compare
    first, second = grid.environments
    apart = [r for r in results if r.spec.names in (("NPG", first), ("BatchActorCritic", second))]
    assert not analyze(grid, apart).ranks_compare
    assert not analyze(grid, [r for r in results if r.spec.algorithm == "NPG"]).ranks_compare
    assert not analyze(grid, []).ranks_compare


def test_the_design_has_the_seeds_of_all_algorithms():
    algorithms = {"NPG": {"class": "A2C", "seeds": 5}, "A2C": {"class": "A2C"}}
    grid = made_up.grid(algorithms=algorithms, seeds=3)
    assert analyze(grid, []).design.seeds == [0, 1, 2, 3, 4]
