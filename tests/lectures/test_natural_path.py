from dataclasses import replace

import pytest

from sb3_course.envs.lecture_worlds import LectureWorld
from sb3_course.lectures.natural_path import KINDS, NATURAL, QUICK, conclude, exact_path, measure


def test_a_chosen_kl_is_the_kl_of_every_step():
    path = exact_path(replace(QUICK, n_updates=20), LectureWorld(1), NATURAL)
    assert path["kl"].tolist() == pytest.approx([QUICK.target_kl] * 20, rel=1e-6)
    assert path["objective"].is_monotonic_increasing


def test_the_claim_holds():
    """Without the sampled paths all numbers are exact and the test is deterministic."""
    table = measure(replace(QUICK, n_seeds=0, n_updates=120, grid=5))
    assert set(table["kind"]) == set(KINDS)
    assert conclude(table).holds
