import pandas as pd
import pytest

from sb3_course.homework.expectations import outcome
from sb3_course.homework.experiments import Reaches, Sooner

CURVES = pd.DataFrame(
    [
        ("here", "slow", 0, 0.0, 5.0),
        ("here", "slow", 100, 50.0, 60.0),
        ("here", "slow", 200, 90.0, 95.0),
        ("here", "fast", 0, 0.0, 1.0),
        ("here", "fast", 100, 90.0, 91.0),
        ("here", "fast", 200, 80.5, 99.0),
        ("there", "fast", 100, 1234.0, 1234.0),
    ],
    columns=["environment", "algorithm", "step", "point", "high"],
)


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        (Reaches("", "here", 90), ("90 at 200 steps", "slow", True)),  # the first of the file
        (Reaches("", "here", 90.1), ("90 at 200 steps", "slow", False)),
        (Reaches("", "here", 80, ("fast",)), ("90 at 100 steps", "fast", True)),
        (Reaches("", "here", 99, one_run=True), ("99 at 200 steps", "fast", True)),
        (Reaches("", "here", 96, ("slow",), one_run=True), ("95 at 200 steps", "slow", False)),
        (Reaches("", "there", 1000), ("1,234 at 100 steps", "fast", True)),
        (Reaches("", "nowhere", 0), ("—", "—", None)),
        (Reaches("", "here", 0, ("absent",)), ("—", "—", None)),
        (Sooner("", "here", 85, "fast", "slow"), ("100 steps against 200 steps", "fast", True)),
        (Sooner("", "here", 85, "slow", "fast"), ("200 steps against 100 steps", "slow", False)),
        (Sooner("", "here", 100, "fast", "slow"), ("never against never", "fast", False)),
        (Sooner("", "there", 100, "fast", "slow"), ("—", "—", None)),
    ],
)
def test_what_was_reached_is_compared_with_what_is_expected(check, expected):
    found = outcome(check, CURVES)
    assert (found.reached, found.by, found.holds) == expected


@pytest.mark.parametrize(("holds", "word"), [(90, "yes"), (99, "no")])
def test_a_row_ends_with_the_verdict(holds, word):
    assert outcome(Reaches("says", "here", holds), CURVES).row[0::3] == ("says", word)
