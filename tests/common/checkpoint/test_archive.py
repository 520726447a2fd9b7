import io
import json
import os
import zipfile

import numpy as np
import pytest

from sb3_course import REINFORCE, load
from sb3_course.common import checkpoint
from sb3_course.common.checkpoint import CheckpointError, archive
from sb3_course.common.errors import UserError

MEMBERS = {"data": b"{}", "policy.pth": b"weights", "a.npz": bytes(100_000)}


def written(path, header=None):
    checkpoint.write_members(path, dict(MEMBERS), {"class": "A2C"} | (header or {}))
    return path


def test_members_come_back_with_their_digests(tmp_path):
    members = checkpoint.read_members(written(tmp_path / "model"))
    assert {name: members[name] for name in MEMBERS} == MEMBERS
    assert set(json.loads(members[archive.HEADER])["digests"]) == {*MEMBERS, archive.HEADER}
    assert (tmp_path / "model.zip").stat().st_size < 10_000  # arrays of zeros are compressed


def rewritten(path, change):
    """Write a zip file whose members are those of another one, changed, without new digests."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    return path


def flip(members, name, position=0):
    content = bytearray(members[name])
    content[position] ^= 1
    members[name] = bytes(content)


def change_header(**changes):
    def change(members):
        header = json.loads(members[archive.HEADER]) | changes
        members[archive.HEADER] = json.dumps(header).encode()

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda members: flip(members, "policy.pth"), "policy.pth"),
        (lambda members: flip(members, "a.npz", 99_999), "a.npz"),
        (lambda members: members.pop("a.npz"), "a.npz"),
        (lambda members: members.update(new=b""), "new"),
        (change_header(**{"class": "NPG"}), archive.HEADER),
        (change_header(env="attack:Env-v0"), archive.HEADER),
        (change_header(digests={}), "policy.pth"),
        (change_header(digests=[1]), "policy.pth"),
        (lambda members: members.update({archive.HEADER: b"[]"}), "header is not a mapping"),
        (lambda members: members.update({archive.HEADER: b"{"}), "header is not JSON"),
        (lambda members: members.update({archive.HEADER: b"\xff"}), "header is not JSON"),
        (lambda members: members.update({archive.HEADER: b"[" * 99_999}), "header is not JSON"),
    ],
)
def test_what_is_not_as_it_was_saved_is_named(tmp_path, change, named):
    path = rewritten(written(tmp_path / "model.zip"), change)
    with pytest.raises(CheckpointError, match=f"model.zip is damaged: .*{named}"):
        checkpoint.read_members(path)


def test_every_cut_and_every_flipped_bit_ends_in_the_documented_error(tmp_path):
    """Or is harmless, in what no reader looks at; or the header is gone, which no class loads."""
    content = written(tmp_path / "model.zip").read_bytes()
    intact = checkpoint.read_members(tmp_path / "model.zip")
    for size in range(0, len(content), 7):
        with pytest.raises(CheckpointError):
            checkpoint.read_members(io.BytesIO(content[:size]))
    refused = 0
    for position in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        try:
            found = checkpoint.read_members(io.BytesIO(damaged))
            assert found == intact or archive.HEADER not in found
        except CheckpointError:
            refused += 1
    assert refused > len(content) / 3 * 0.5


def test_other_files_end_in_the_documented_error(tmp_path):
    (tmp_path / "text.zip").write_text("text")
    (tmp_path / "empty.zip").touch()
    (tmp_path / "folder.zip").mkdir()
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "loop.zip").symlink_to(tmp_path / "loop.zip")
    duplicate = pytest.warns(UserWarning, match="Duplicate")
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as file, duplicate:
        for content in (b"{}", b"[]"):
            file.writestr("data", content)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("data", bytes(2**27))
    encrypted = bytearray(written(tmp_path / "encrypted.zip").read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = encrypted.find(signature)
        encrypted[start + offset] |= 1
    (tmp_path / "encrypted.zip").write_bytes(encrypted)
    expected = {
        "text": "not a zip file",
        "empty": "not a zip file",
        "folder": "is a directory",
        "pipe": "is a pipe or a device",
        "loop": "",
        "twice": "two members of one name",
        "bomb": "would unpack to 134,217,728 bytes",
        "encrypted": "is encrypted",
    }
    for name, message in expected.items():
        with pytest.raises((CheckpointError, FileNotFoundError), match=message):
            checkpoint.read_members(tmp_path / f"{name}.zip")
        with pytest.raises((CheckpointError, FileNotFoundError), match=message):
            load(tmp_path / f"{name}.zip")


@pytest.mark.parametrize("name", ["policy.pth", "actor_optimizer.pth", "data", "*"])
@pytest.mark.parametrize("content", [b"", b"{}", b"nonsense" * 99, b'{"gamma": "x"}', None])
def test_mis_shaped_parts_of_a_file_without_digests_end_in_the_documented_error(
    tmp_path, name, content
):
    """A file of an earlier version, or one whose digests an attacker has made."""
    path = tmp_path / "model.zip"
    REINFORCE("MlpPolicy", "CartPole-v1", device="cpu").save(path)

    def change(members):
        change_header(digests=None)(members)
        for each in [*members] if name == "*" else [name]:
            if each != archive.HEADER:
                if content is None:
                    del members[each]
                else:
                    members[each] = content

    with pytest.raises(CheckpointError, match="model.zip|checkpoint|'data'"):
        load(rewritten(path, change))


def test_a_seal_is_that_of_the_user_who_wrote_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "mine"))
    path = written(tmp_path / "model.zip")
    assert checkpoint.is_sealed_here(checkpoint.read_members(path))
    assert (tmp_path / "mine" / "sb3_course" / "key").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "yours"))
    assert not checkpoint.is_sealed_here(checkpoint.read_members(path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(path))  # no folder: nothing can be stored
    assert not checkpoint.is_sealed_here(checkpoint.read_members(path))
    unsealed = checkpoint.read_members(written(tmp_path / "other.zip"))
    assert json.loads(unsealed[archive.HEADER])["seal"] is None
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "mine"))
    assert not checkpoint.is_sealed_here(unsealed)


def test_a_seal_covers_every_member(tmp_path, monkeypatch):
    """Whoever changes a member and its digest cannot make the seal."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "mine"))
    sealed = checkpoint.read_members(written(tmp_path / "model.zip"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "yours"))
    checkpoint.write_members(
        tmp_path / "forged.zip", MEMBERS | {"policy.pth": b"others"}, {"class": "A2C"}
    )
    seal = json.loads(sealed[archive.HEADER])["seal"]
    forged = checkpoint.read_members(tmp_path / "forged.zip")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "mine"))
    header = json.loads(forged[archive.HEADER]) | {"seal": seal}
    forged[archive.HEADER] = json.dumps(header).encode()
    assert not checkpoint.is_sealed_here(forged)


def test_arrays_come_back_as_they_were():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b/c": np.array(["x", "yz"])}
    got = checkpoint.unpack_arrays({"data.npz": checkpoint.pack_arrays(arrays)}, "data.npz")
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array)
        assert got[name].dtype == array.dtype
    assert checkpoint.unpack_arrays({}, "none.npz") == {}


def test_object_arrays_are_not_unpickled(tmp_path):
    class Attack:
        def __reduce__(self):
            return open, (str(tmp_path / "owned"), "w")

    content = io.BytesIO()
    np.savez(content, a=np.array([Attack()]))
    with pytest.raises(CheckpointError, match="allow_pickle=False"):
        checkpoint.unpack_arrays({"data.npz": content.getvalue()}, "data.npz")
    assert not (tmp_path / "owned").exists()


def test_what_shrinks_as_much_as_a_bomb_is_stored_as_it_is(tmp_path, monkeypatch):
    """A file that is written can be read: visits that an environment counts are mostly zeros."""
    monkeypatch.setattr(archive, "FREE_BYTES", 1000)
    members = MEMBERS | {"zeros.npz": bytes(10_000_000)}
    checkpoint.write_members(tmp_path / "model", members, {"class": "A2C"})
    read = checkpoint.read_members(tmp_path / "model")
    assert {name: read[name] for name in members} == members


def test_places_to_save_are_tried_before_hours_are_spent(tmp_path):
    assert (
        checkpoint.place_to_save("--out", tmp_path / "new" / "model")
        == tmp_path / "new" / "model.zip"
    )
    assert (tmp_path / "new").is_dir()
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "folder.zip", tmp_path / "file" / "model.zip"):
        with pytest.raises(UserError, match="--resume"):
            checkpoint.place_to_save("--resume", path)
