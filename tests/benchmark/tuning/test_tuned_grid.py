import pytest

from sb3_course.benchmark.definition.field_types import LONGEST_NAME
from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.tuning.tuned_grid import tuned_content
from tests.benchmark.tuning.made_up import searched


@pytest.mark.parametrize("length", [4, LONGEST_NAME - 6, LONGEST_NAME - 5, LONGEST_NAME])
def test_the_tuned_grid_of_any_name_is_accepted(length):
    tuned = load_grid(tuned_content(load_grid(searched() | {"name": "g" * length}), []))
    assert tuned.name == "g" * min(length, LONGEST_NAME - 6) + "_tuned"
