import pytest

from sb3_course.benchmark.reporting.tables import scores
from sb3_course.benchmark.statistics.analysis import analyze
from tests.benchmark import made_up
from tests.benchmark.statistics.test_analysis import incomplete


@pytest.fixture(scope="module")
def analysis():
    return analyze(*incomplete())


def test_the_aggregates_are_in_two_tables(analysis):
    iqm, others = scores.iqm(analysis), scores.other_aggregates(analysis)
    assert iqm.header == ["Algorithm", "IQM"]
    assert iqm.single
    assert others.header == ["Algorithm", "Median", "Mean", "Optimality gap"]
    table = analysis.aggregates.set_index(["algorithm", "statistic"])["point"]
    for row in iqm.cells:
        assert row[1].text == f"{table[row[0].text, 'IQM']:.2f}"
    for row in others.cells:
        assert row[3].text == f"{table[row[0].text, 'Optimality gap']:.2f}"
    notes = {row[0].text: row[1].note for row in iqm.cells}
    assert "(2)" in notes["NPG"]  # it lacks a seed


def test_the_best_is_in_the_first_row(analysis):
    values = [float(row[1].text) for row in scores.iqm(analysis).cells]
    assert values == sorted(values, reverse=True) and values[0] > values[-1]
    ranks = [float(row[1].text) for row in scores.ranks(analysis).cells]
    assert ranks == sorted(ranks) and ranks[0] < ranks[-1]


@pytest.mark.parametrize("lowest", ["NPG", "BatchActorCritic"])
def test_the_smallest_gap_and_rank_are_the_best(lowest):
    grid = made_up.grid(n_algorithms=2)
    analysis = analyze(grid, made_up.results(grid))
    points = [1.0 if name == lowest else 2.0 for name in grid.algorithms]
    pairs = analysis.probability_of_improvement
    pairs = pairs.assign(apart=True, point=[float(x == lowest) for x in pairs["x"]])
    ranks = analysis.ranks.assign(point=points)
    gaps = analysis.aggregates["statistic"] == "Optimality gap"
    aggregates = analysis.aggregates.copy()
    by_name = dict(zip(grid.algorithms, points))
    aggregates.loc[gaps, "point"] = aggregates.loc[gaps, "algorithm"].map(by_name)
    changed = made_up.changed(
        analysis, probability_of_improvement=pairs, ranks=ranks, aggregates=aggregates
    )
    assert [r[0].text for r in scores.ranks(changed).cells if r[1].bold] == [lowest]
    assert [r[0].text for r in scores.other_aggregates(changed).cells if r[3].bold] == [lowest]


def test_sample_efficiency_is_shown_at_quarters_of_the_budget(analysis):
    table = scores.sample_efficiency(analysis)
    assert table.header[0] == "Algorithm"
    assert table.header[-1] == "100% of the budget"
    end = analysis.aggregates.set_index(["algorithm", "statistic"])["point"]
    for row in table.cells:
        assert row[-1].text == f"{end[row[0].text, 'IQM']:.2f}"


def test_reference_returns_are_exact(analysis):
    (cartpole, cheetah) = scores.references(analysis).cells
    assert [c.text for c in cheetah] == [
        "HalfCheetah-v4",
        "-283.54",
        "4,800",
        "Gymnasium's reward threshold",
    ]
    assert cartpole[0].text == "CartPole-v1"
