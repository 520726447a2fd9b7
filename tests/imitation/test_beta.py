import numpy as np
import pytest
import torch as th
from imitation.algorithms.dagger import ExponentialBetaSchedule, LinearBetaSchedule

from sb3_course.imitation.beta import ExponentialBeta, LinearBeta, beta_of_round


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (LinearBeta(4), [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        (LinearBeta(1), [1.0, 0.0, 0.0]),
        (ExponentialBeta(0.5), [1.0, 0.5, 0.25, 0.125]),
        (ExponentialBeta(1), [1.0, 1.0]),
        (ExponentialBeta(0), [1.0, 0.0, 0.0]),
    ],
)
def test_beta_of_each_round(schedule, expected):
    got = [schedule(number) for number in range(len(expected))]
    assert got == expected
    assert all(type(beta) is float for beta in got)


@pytest.mark.parametrize("kind", [float, np.float32, np.array, th.tensor])
def test_a_schedule_may_return_a_number_of_any_library(kind):
    beta = beta_of_round(lambda _: kind(0.25), 1)
    assert (beta, type(beta)) == (0.25, float)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (LinearBeta(3), LinearBetaSchedule(3)),
        (ExponentialBeta(0.9), ExponentialBetaSchedule(0.9)),
    ],
)
def test_schedules_equal_those_of_imitation(ours, theirs):
    assert [ours(i) for i in range(7)] == pytest.approx([theirs(i) for i in range(7)])


@pytest.mark.parametrize(
    ("cls", "value", "message"),
    [
        (LinearBeta, 0, "n_rounds must be at least 1, got 0"),
        (LinearBeta, -1, "got -1"),
        (ExponentialBeta, -0.1, "decay must be a number from 0 to 1, got -0.1"),
        (ExponentialBeta, 1.5, "got 1.5"),
        (ExponentialBeta, float("nan"), "got nan"),
    ],
)
def test_values_out_of_range_are_refused(cls, value, message):
    with pytest.raises(ValueError, match=message):
        cls(value)
