from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sb3_course.lectures.parallel_actors import (
    BATCH,
    ONLINE,
    QUICK,
    Record,
    at,
    conclude,
    measure,
)

TINY = replace(QUICK, n_seeds=1, n_actors=(1, 4), timesteps=(200, 800), batch=64, n_records=4)


def table(speeds=(100.0, 6400.0), slopes=(1.0, 0.1)):
    """Return a table with returns of a given slope per step at given steps per second."""
    rows = [
        (algorithm, actors, seed, i, step, step / speed, slope * step)
        for algorithm in (ONLINE, BATCH)
        for actors, speed, slope in zip((1, 64), speeds, slopes)
        for seed in range(2)
        for i, step in enumerate((100.0, 200.0, 100.0 * actors, 200.0 * actors))
    ]
    names = ["algorithm", "actors", "seed", "record", "step", "seconds", "value"]
    return pd.DataFrame(rows, columns=names)


def test_returns_at_equal_steps_and_seconds_computed_by_hand():
    assert at(table(), "step", ONLINE)[0][1] == pytest.approx(200)
    assert at(table(), "seconds", ONLINE)[0].to_dict() == pytest.approx({1: 200, 64: 1280})
    assert conclude(table()).holds


@pytest.mark.parametrize(
    "changed",
    [{"speeds": (100.0, 100.0)}, {"slopes": (0.05, 50.0)}, {"slopes": (10.0, 0.1)}],
)
def test_the_conclusion_can_be_false(changed):
    assert not conclude(table(**changed)).holds


def test_a_point_is_at_the_middle_of_what_it_averages():
    """So that curves of few long parts and of many short ones can be compared at equal steps."""
    record = Record(400, 4)
    record._on_training_start()
    for steps in (50, 100, 150, 200):  # an episode whose return is the step at which it ends
        ended = [{"episode": {"r": float(steps)}}]
        record.locals = {"infos": ended, "dones": np.array([True])}
        record.num_timesteps = steps
        record._on_step()
    assert [(step, value) for _, step, _, value in record.points] == [(50, 75), (150, 175)]
    assert all(seconds > 0 for _, _, seconds, _ in record.points)


def test_a_number_of_actors_divides_the_batch():
    with pytest.raises(ValueError, match=r"n_actors: given \(1, 3\); allowed: divisors of 64"):
        measure(replace(TINY, n_actors=(1, 3)))


def test_every_kind_runs():
    measured = measure(TINY)
    assert set(measured["algorithm"]) == {ONLINE, BATCH}
    assert (measured.groupby(["algorithm", "actors"])["step"].max() > 0).all()
    assert (measured["seconds"] > 0).all()
    assert measured["value"].between(1, 500).all()
