import sys
from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces
from imitation.data.types import (
    DictObs,
    Trajectory,
    TrajectoryWithRew,
    Transitions,
    TransitionsMinimal,
)

from sb3_course.common.errors import UserError
from sb3_course.imitation.demonstrations import arrays_of, load_demonstrations
from tests.imitation.helpers import homework_paths, write

OBS, ACT = spaces.Box(-9, 9, (3,)), spaces.Box(-1, 1, (2,))
RNG = np.random.default_rng(0)
OBSERVATIONS = RNG.normal(size=(8, 3)).astype(np.float32)
ACTIONS = RNG.normal(size=(7, 2)).astype(np.float32)
INFOS = np.array([{}] * 7)
TRAJECTORY = Trajectory(OBSERVATIONS, ACTIONS, None, True)

KINDS = {
    "transitions": TransitionsMinimal(OBSERVATIONS[:7], ACTIONS, INFOS),
    "full transitions": Transitions(
        OBSERVATIONS[:7], ACTIONS, INFOS, OBSERVATIONS[1:], np.zeros(7, dtype=bool)
    ),
    "trajectory": TRAJECTORY,
    "trajectories": [TRAJECTORY],
    "with rewards": [TrajectoryWithRew(OBSERVATIONS, ACTIONS, None, True, np.zeros(7))],
    "in parts": [
        Trajectory(OBSERVATIONS[:4], ACTIONS[:3], None, False),
        {"obs": OBSERVATIONS[3:7], "acts": ACTIONS[3:]},
    ],
    "mapping": {"observations": OBSERVATIONS[:7].astype(np.float64), "actions": ACTIONS.tolist()},
    "generator": (t for t in [TRAJECTORY]),
    "minari": SimpleNamespace(
        iterate_episodes=lambda: [SimpleNamespace(observations=OBSERVATIONS, actions=ACTIONS)]
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_takes_what_people_have(kind):
    obs, actions = arrays_of(KINDS[kind], OBS, ACT)
    assert obs.dtype == actions.dtype == np.float32
    np.testing.assert_array_equal(obs, OBSERVATIONS[:7])
    np.testing.assert_array_equal(actions, ACTIONS)  # beyond the bounds, and not clipped


def test_dict_observations(tmp_path):
    space = spaces.Dict({"a": OBS, "n": spaces.Discrete(4)})
    obs = {"a": OBSERVATIONS, "n": np.arange(8) % 4}
    np.savez(tmp_path / "d.npz", acts=ACTIONS, **{f"obs:{k}": v[:7] for k, v in obs.items()})
    for given in (
        [Trajectory(DictObs(obs), ACTIONS, None, True)],
        {"obs": obs, "acts": ACTIONS},
        tmp_path / "d.npz",
    ):
        found, actions = arrays_of(given, space, ACT)
        assert set(found) == {"a", "n"}
        np.testing.assert_array_equal(found["a"], OBSERVATIONS[:7])
        np.testing.assert_array_equal(found["n"], obs["n"][:7])
        np.testing.assert_array_equal(actions, ACTIONS)


def test_images_get_their_channels_first():
    images = RNG.integers(0, 255, size=(4, 36, 40, 3), dtype=np.uint8)
    space = spaces.Box(0, 255, (3, 36, 40), dtype=np.uint8)
    obs, _ = arrays_of({"obs": images, "acts": np.zeros(4, dtype=int)}, space, spaces.Discrete(2))
    assert obs.dtype == np.uint8
    np.testing.assert_array_equal(obs, images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("space", "actions", "expected"),
    [
        (spaces.Discrete(3), [[0], [2]], [0, 2]),
        (spaces.Discrete(3), [0.0, 2.0], [0, 2]),
        (spaces.MultiDiscrete([2, 3]), [[1, 2], [0, 0]], [[1, 2], [0, 0]]),
        (spaces.MultiBinary(2), [[1, 0], [True, 1]], [[1, 0], [1, 1]]),
        (spaces.Box(-1, 1, (1, 2)), [[[1.0, 2.0]], [[3.0, 4.0]]], [[1, 2], [3, 4]]),
        (spaces.Box(-1, 1, ()), [1.0, 2.0], [[1.0], [2.0]]),
    ],
)
def test_actions_of_every_space(space, actions, expected):
    _, found = arrays_of({"obs": OBSERVATIONS[:2], "acts": actions}, OBS, space)
    np.testing.assert_array_equal(found, expected)
    floats = isinstance(space, (spaces.Box, spaces.MultiBinary))
    assert found.dtype == (np.float32 if floats else np.int64)


def spoiled(array, value):
    array = array.copy()
    array[4, 1] = value
    return array


@pytest.mark.parametrize(
    ("given", "spaces_", "said"),
    [
        ({"obs": OBSERVATIONS, "acts": ACTIONS[:3]}, (OBS, ACT), "8 observations .* 3 actions"),
        ({"obs": OBSERVATIONS[:7, :2], "acts": ACTIONS}, (OBS, ACT), r"\(2,\).*\(3,\)"),
        ({"obs": OBSERVATIONS[:7], "acts": ACTIONS[:, :1]}, (OBS, ACT), r"\(1,\)"),
        ({"obs": spoiled(OBSERVATIONS, np.nan), "acts": ACTIONS}, (OBS, ACT), "transition 4"),
        ({"obs": OBSERVATIONS, "acts": spoiled(ACTIONS, np.inf)}, (OBS, ACT), "transition 4"),
        ({"obs": OBSERVATIONS[:2], "acts": [0, 3]}, (OBS, spaces.Discrete(3)), "from 0 to 3"),
        ({"obs": OBSERVATIONS[:2], "acts": [0.5, 1]}, (OBS, spaces.Discrete(3)), "from 0.5"),
        ({"obs": OBSERVATIONS[:2]}, (OBS, ACT), "obs and acts"),
        ([], (OBS, ACT), "no transition"),
        (3, (OBS, ACT), "int"),
        ({"obs": OBSERVATIONS, "acts": ACTIONS}, (spaces.Dict({"a": OBS}), ACT), "'a'"),
    ],
)
def test_says_what_does_not_fit(given, spaces_, said):
    with pytest.raises(UserError, match=said):
        arrays_of(given, *spaces_)


def test_files(tmp_path):
    np.savez(tmp_path / "plain.npz", obs=OBSERVATIONS[:7], actions=ACTIONS, infos=[1])
    write(tmp_path / "homework.pkl", homework_paths((7, 5)))
    for name, n in (("plain.npz", 7), ("homework.pkl", 12)):
        obs, actions = arrays_of(str(tmp_path / name), OBS, ACT)
        assert len(obs) == len(actions) == n


def test_a_folder_of_imitation(tmp_path):
    """Its infos are pickles in disguise, and stay unread."""
    serialize = pytest.importorskip("imitation.data.serialize")
    serialize.save(tmp_path / "folder", [TRAJECTORY, TRAJECTORY])
    obs, actions = arrays_of(tmp_path / "folder", OBS, ACT)
    np.testing.assert_allclose(obs, np.concatenate([OBSERVATIONS[:7]] * 2))
    np.testing.assert_allclose(actions, np.concatenate([ACTIONS] * 2))


@pytest.mark.parametrize("name", ["missing.npz", "file.csv", "bad.npz", "objects.npz", "empty.npz"])
def test_says_what_is_wrong_with_a_file(tmp_path, name):
    (tmp_path / "file.csv").touch()
    (tmp_path / "bad.npz").write_text("no zip")
    np.savez(tmp_path / "objects.npz", obs=np.array([{}]), acts=np.array([{}]))
    np.savez(tmp_path / "empty.npz", rewards=np.zeros(3))
    with pytest.raises(UserError):
        arrays_of(tmp_path / name, OBS, ACT)


def test_minari_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(UserError, match="pip install minari"):
        load_demonstrations("minari:mujoco/hopper/expert-v0")
    loaded = SimpleNamespace(load_dataset=lambda name, download: (name, download))
    monkeypatch.setitem(sys.modules, "minari", loaded)
    assert load_demonstrations("minari:x/y-v0") == ("x/y-v0", True)


@pytest.mark.parametrize(
    ("obs", "named"),
    [
        ({"a": np.zeros((3, 2)), "b": np.zeros((2, 1))}, "2 or 3 observations"),
        ({}, "no observations"),
        (5.0, "a single number"),
    ],
)
def test_rows_that_do_not_go_together_are_refused(obs, named):
    space = spaces.Box(-1, 1, (2,))
    with pytest.raises(UserError, match=named):
        arrays_of({"obs": obs, "acts": np.zeros((3, 2))}, space, space)


@pytest.mark.parametrize(
    ("obs", "space"),
    [
        (np.array([0, 9]), spaces.Discrete(4)),
        (np.array([0, 1.5]), spaces.Discrete(4)),
        (np.full((2, 3), 300.0), spaces.Box(0, 255, (3,), np.uint8)),
        (np.full((2, 3), 1e300), spaces.Box(-9, 9, (3,))),
        (np.full((2, 3), 1j), spaces.Box(-9, 9, (3,))),
        (np.full((2, 3), "a"), spaces.Box(-9, 9, (3,))),
    ],
    ids=["outside", "fraction", "bytes", "overflow", "complex", "text"],
)
def test_observations_that_the_space_cannot_hold_are_refused(obs, space):
    with pytest.raises(UserError, match="the observations"):
        arrays_of({"obs": obs, "acts": np.zeros((2, 2))}, space, ACT)
