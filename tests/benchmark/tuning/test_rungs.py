import numpy as np
import pytest

from sb3_course.benchmark.definition.search import Search
from sb3_course.benchmark.tuning.rungs import cascade, rungs_of, stop_of


def rungs(**given):
    search = Search(algorithms={"A2C": {"gamma": [0.9, 0.99]}}, **given)
    return [(rung.n_seeds, rung.fraction) for rung in rungs_of(search)]


def test_the_budget_grows_by_the_factor_from_a_part_of_a_run_to_all_seeds():
    assert rungs(seeds=9, halving=3, first_look=0.3) == [(1, 0.3), (1, 1.0), (3, 1.0), (9, 1.0)]
    assert rungs(seeds=5, halving=3, first_look=1.0) == [(1, 1.0), (2, 1.0), (5, 1.0)]
    assert rungs(seeds=1, halving=2, first_look=0.5) == [(1, 0.5), (1, 1.0)]
    assert rungs(seeds=4, halving=1) == [(4, 1.0)]


@pytest.mark.parametrize(
    ("fraction", "step"), [(0.5, 200), (0.49, 100), (0.01, 100), (0.99, 300), (1.0, None)]
)
def test_runs_stop_at_an_evaluation(fraction, step):
    assert stop_of([0, 100, 200, 300, 400], fraction) == step


def test_a_run_with_a_single_evaluation_is_not_stopped():
    assert stop_of([0, 400], 0.3) is None


def test_whoever_goes_further_is_better():
    values = [[1, 9, 9], [2, 5], [3], [], [2.5, 7]]
    order, due = cascade(values, halving=2, n_rungs=3)
    assert order == [0, 4, 2, 1]
    assert due == [2]  # by the first rung, on which the best two of four go on


@pytest.mark.parametrize(
    ("early", "order"),
    [
        ([5.0, 5.0], [5, 4, 3, 2, 1, 0]),
        ([5.0, 99.0], [0, 5, 4, 3, 2, 1]),
        ([6.5], [5, 0, 4, 3, 2, 1]),
    ],
)
def test_an_early_promotion_counts_only_if_it_is_better_than_one_that_was_earned(early, order):
    """The first setting goes on unopposed, and is the worst on the first rung."""
    values = [[0.0, *early], *([float(i)] for i in range(1, 6))]
    values[5] += [6.0, 7.0]
    values[4] += [6.0]
    assert cascade(values, halving=3, n_rungs=3) == (order, [])


def test_the_best_of_whole_trials_is_the_first():
    """One of three goes on by its first look; another one, begun before, was better in the end."""
    assert cascade([[30.0, 46.0], [20.0, 298.5], [10.0]], 2, 2).order == [1, 0, 2]


def test_settings_that_go_on_by_and_by_end_as_if_all_had_been_known_at_once():
    """Whatever the order of arrival, those who end on the last rung are the best."""
    generator = np.random.default_rng(0)
    whole = generator.normal(size=(27, 4))
    reached = [1] * 27
    while due := cascade([list(w[:n]) for w, n in zip(whole, reached)], 3, 4).due:
        for i in due:
            reached[i] += 1
    first = set(np.argsort(-whole[:, 0])[:9])
    assert {i for i, n in enumerate(reached) if n > 1} == first
    second = sorted(first, key=lambda i: -whole[i, 1])[:3]
    assert {i for i, n in enumerate(reached) if n > 2} == set(second)
    assert reached.count(4) == 1


def test_without_pruning_the_only_rung_decides():
    assert cascade([[1.0], [3.0], [2.0]], 1, 1) == ([1, 2, 0], [])
