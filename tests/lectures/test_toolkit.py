import numpy as np
import pandas as pd
import pytest

from sb3_course import REINFORCE
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.lectures.toolkit import (
    check_finite,
    collect,
    make,
    mean_interval,
    select_environments,
    track,
)


def test_selected_environments_keep_their_trajectories():
    model = make(REINFORCE, TabularMDP(8), seed=0, n_episodes=8, baseline=None)
    rollout = collect(model)
    part = select_environments(rollout, slice(2, 5))
    assert part.n_trajectories == 3
    assert np.array_equal(part.rewards, rollout.rewards[:, 2:5])
    assert set(part.terminal_obs) == {(2, 0), (2, 1), (2, 2)}
    assert part.terminal_obs[2, 1] == rollout.terminal_obs[2, 3]


def test_batches_differ_and_are_reproducible_with_the_seed():
    def batches():
        model = make(REINFORCE, TabularMDP(8), seed=3, n_episodes=8, baseline=None)
        return [collect(model).actions.copy() for _ in range(2)]

    first, again = batches(), batches()
    assert not np.array_equal(*first)
    assert np.array_equal(first, again)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_reported_with_its_position(bad):
    table = pd.DataFrame({"kind": ["a", "b"], "value": [1.0, bad]})
    with pytest.raises(FloatingPointError, match=r"some_figure: value is .* in row 1 .*kind=b"):
        check_finite(table, "some_figure")
    assert check_finite(table[:1], "some_figure") is not None


def test_mean_interval_has_the_stated_coverage():
    """Of 400 intervals from 20 normal draws, 95% intervals miss 20; bootstrap misses a few more.

    More than 50 misses occur by chance less than once in 10,000 times.
    """
    generator = np.random.default_rng(1)
    intervals = [mean_interval(generator.normal(size=20)) for _ in range(400)]
    missed = sum(not low <= 0 <= high for _, low, high in intervals)
    assert 8 <= missed <= 50
    assert all(low <= mean <= high for mean, low, high in intervals)


def test_track_reports_each_item():
    notes = []
    assert list(track("ab", lambda *note: notes.append(note), str.upper)) == ["a", "b"]
    assert notes == [(0, 2, "A"), (1, 2, "B"), (2, 2, "")]
