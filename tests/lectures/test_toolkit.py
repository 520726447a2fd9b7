import numpy as np
import pandas as pd
import pytest

from sb3_course import REINFORCE
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.lectures.toolkit import check_finite, collect, columns, make, mean_interval, track


def test_columns_are_whole_trajectories():
    model = make(REINFORCE, TabularMDP(8), seed=0, n_episodes=8, baseline=None)
    rollout = collect(model)
    part = columns(rollout, slice(2, 5))
    assert part.n_trajectories == 3
    assert np.array_equal(part.rewards, rollout.rewards[:, 2:5])
    assert set(part.terminal_obs) == {(2, 0), (2, 1), (2, 2)}
    assert part.terminal_obs[2, 1] == rollout.terminal_obs[2, 3]


def test_batches_differ_and_repeat_with_the_seed():
    def batches():
        model = make(REINFORCE, TabularMDP(8), seed=3, n_episodes=8, baseline=None)
        return [collect(model).actions.copy() for _ in range(2)]

    first, again = batches(), batches()
    assert not np.array_equal(*first)
    assert np.array_equal(first, again)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_none_stops_with_its_place(bad):
    table = pd.DataFrame({"kind": ["a", "b"], "value": [1.0, bad]})
    with pytest.raises(FloatingPointError, match=r"some_figure: value is .* in row 1 .*kind=b"):
        check_finite(table, "some_figure")
    assert check_finite(table[:1], "some_figure") is not None


def test_mean_interval_covers_the_mean_as_often_as_it_says():
    """Of 400 intervals at 20 normal draws 95% would miss 20; bootstrap misses a few more.

    More than 50 misses would come by chance less than once in 10,000 times.
    """
    generator = np.random.default_rng(1)
    intervals = [mean_interval(generator.normal(size=20)) for _ in range(400)]
    missed = sum(not low <= 0 <= high for _, low, high in intervals)
    assert 8 <= missed <= 50
    assert all(low <= mean <= high for mean, low, high in intervals)


def test_track_tells_of_each_item():
    told = []
    assert list(track("ab", lambda *note: told.append(note), str.upper)) == ["a", "b"]
    assert told == [(0, 2, "A"), (1, 2, "B"), (2, 2, "")]
