from dataclasses import replace

import pandas as pd
import pytest

from sb3_course.lectures.parallel_actors import BATCH, ONLINE, QUICK, at, conclude, measure

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


@pytest.mark.parametrize("changed", [{"speeds": (100.0, 100.0)}, {"slopes": (0.05, 50.0)}])
def test_the_conclusion_can_be_false(changed):
    assert not conclude(table(**changed)).holds


def test_every_kind_runs():
    measured = measure(TINY)
    assert set(measured["algorithm"]) == {ONLINE, BATCH}
    assert (measured.groupby(["algorithm", "actors"])["step"].max() > 0).all()
    assert (measured["seconds"] > 0).all()
    assert measured["value"].between(1, 500).all()
