"""Damaged and forged checkpoints: one documented error, nothing executed, bounded costs."""

import io
import json
import warnings
from contextlib import suppress
from functools import cache

from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import sb3_course
from sb3_course.common import checkpoint
from sb3_course.common.checkpoint import CheckpointError, archive, plain
from tests.budget import small_budget
from tests.worlds import RandomSpaces

OBS, ACTIONS = spaces.Box(-1, 1, (3,)), spaces.Discrete(2)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
kinds = st.sampled_from(sorted(f"${kind}" for kind in plain._DECODERS))
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.dictionaries(kinds, inner, min_size=1, max_size=1)
    ),
    max_leaves=8,
)


def make():
    return DummyVecEnv([lambda: RandomSpaces(OBS, ACTIONS)] * 2)


@cache
def file():
    model = sb3_course.ISPG("MlpPolicy", VecNormalize(make()), n_steps=8, n_batches=2, seed=0)
    saved = io.BytesIO()
    model.learn(50).save(saved)
    return saved.getvalue()


@cache
def parts():
    members = checkpoint.read_members(io.BytesIO(file()))
    header = json.loads(members.pop(archive.HEADER))
    return members, {key: header[key] for key in header if key not in ("digests", "seal")}


def load(content):
    """Load a file as the command line does one of a stranger."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sb3_course.load(io.BytesIO(content), make(), weights_only=True, device="cpu")


@given(st.data())
def test_bytes_that_were_damaged(data):
    content = bytearray(file())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    with small_budget(), suppress(CheckpointError):
        load(bytes(content)).learn(20, reset_num_timesteps=False)


def paths(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from paths(value[key], (*path, key))


def with_change(value, path, new):
    """Return JSON with another value at one place, or none."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and new is ...:
        del copied[path[0]]
    else:
        copied[path[0]] = with_change(value[path[0]], path[1:], new)
    return copied


@given(st.data())
def test_content_that_was_forged(data):
    """JSON with other values, members exchanged, digests and all made to fit."""
    members, header = parts()
    members, name = dict(members), data.draw(st.sampled_from(["header", *members]))
    if name == "header" or name.endswith("json") or name == "data":
        old = header if name == "header" else json.loads(members[name])
        place = data.draw(st.sampled_from(sorted(paths(old), key=repr)))
        new = with_change(old, place, data.draw(values | st.just(...)))
        if name == "header":
            header = new if isinstance(new, dict) else {"class": new if new is not ... else None}
        else:
            members[name] = b"" if new is ... else json.dumps(new).encode()
    else:
        other = data.draw(st.sampled_from(sorted(members)))
        content = data.draw(st.just(members[other]) | st.binary(max_size=50) | st.none())
        members[name] = content or b""
        if content is None:
            del members[name]
    forged = io.BytesIO()
    checkpoint.write_members(forged, members, header)
    with small_budget(), suppress(ValueError):  # a CheckpointError, or a parameter out of range
        load(forged.getvalue())


@given(values)
def test_values_of_any_kind(value):
    with small_budget(), suppress(ValueError):
        plain.decode(json.loads(json.dumps(value)), {})
