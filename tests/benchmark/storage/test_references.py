import pytest

from sb3_course.benchmark.storage.references import (
    NAME,
    MeasuredReference,
    read_references,
    write_references,
)
from sb3_course.common.errors import UserError

MEASURED = MeasuredReference(random=1.5, low=1.0, high=2.0, episodes=10, seed=3, env={"id": "A-v0"})


def test_what_is_written_is_read(tmp_path):
    assert read_references(tmp_path) == {}
    write_references(tmp_path, {"b": MEASURED, "a": MEASURED})
    assert read_references(tmp_path) == {"a": MEASURED, "b": MEASURED}


@pytest.mark.parametrize("content", ["", "[]", '{"a": {"random": NaN}}', '{"a": {"random": 1}}'])
def test_a_damaged_file_is_told_with_its_remedy(tmp_path, content):
    (tmp_path / NAME).write_text(content)
    with pytest.raises(UserError, match=r"references.json is damaged .* delete it"):
        read_references(tmp_path)
