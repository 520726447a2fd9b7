import io

import pytest

from sb3_course import NPG, load
from sb3_course.common import checkpoint
from sb3_course.common.checkpoint import CheckpointError, archive


@pytest.fixture(scope="module")
def parts():
    file = io.BytesIO()
    NPG("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [4]}).save(file)
    members = checkpoint.read_members(file)
    header = archive.header_of(members)
    members.pop(archive.HEADER)
    return members, header


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in ("class", "env", "module", "attributes", "pickled")
        for value in (None, [], "text", 1, True)
        if not (isinstance(value, str) or (name, value) == ("env", None))  # of this kind
    ],
)
@pytest.mark.parametrize("weights_only", [True, False])
def test_an_entry_of_another_kind_is_the_documented_error(parts, name, value, weights_only):
    members, header = parts
    file = io.BytesIO()
    checkpoint.write_members(file, dict(members), {**header, name: value})
    with pytest.raises(CheckpointError, match=f"{name} in the checkpoint's header is"):
        load(file, weights_only=weights_only)
