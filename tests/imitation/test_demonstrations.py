import pickle
import sys
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from imitation.data.types import (
    DictObs,
    Trajectory,
    TrajectoryWithRew,
    Transitions,
    TransitionsMinimal,
)
from torch.utils.data import DataLoader, IterableDataset

from sb3_course.common.errors import UserError
from sb3_course.imitation.dataset import Dataset
from sb3_course.imitation.demonstrations import Source, arrays_of, load_demonstrations
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
        {"obs": [], "acts": []},
        Trajectory(OBSERVATIONS[:4], ACTIONS[:3], None, False),
        {"obs": OBSERVATIONS[3:4], "acts": []},
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
        (
            {"obs": [OBSERVATIONS, OBSERVATIONS[:5]], "acts": [ACTIONS, ACTIONS[:4]]},
            (OBS, ACT),
            "obs and acts are no arrays .* one object for each episode",
        ),
        (
            [{"obs": OBSERVATIONS, "acts": ACTIONS}, {"obs": {"a": OBSERVATIONS}, "acts": ACTIONS}],
            (OBS, ACT),
            "mix observations of shape .3,. with .* and Dicts of 'a' of shape .3,. with",
        ),
        (
            [
                {"obs": OBSERVATIONS, "acts": ACTIONS},
                {"obs": OBSERVATIONS[:, :2], "acts": ACTIONS},
            ],
            (OBS, ACT),
            "demonstrations mix observations of shape .3,. .* and observations of shape .2,.",
        ),
        (
            [
                {"obs": OBSERVATIONS, "acts": ACTIONS},
                {"obs": OBSERVATIONS, "acts": ACTIONS[:, None]},
            ],
            (OBS, ACT),
            "actions of shape .* and observations of .* with actions of shape .*1",
        ),
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


def test_a_folder_of_splits_says_which_there_are(tmp_path):
    datasets = pytest.importorskip("datasets")
    one = datasets.Dataset.from_dict({"obs": [OBSERVATIONS.tolist()], "acts": [ACTIONS.tolist()]})
    datasets.DatasetDict({"train": one, "test": one}).save_to_disk(tmp_path / "splits")
    with pytest.raises(UserError, match="holds the splits train, test; allowed: one of their"):
        arrays_of(tmp_path / "splits", OBS, ACT)
    assert len(arrays_of(tmp_path / "splits" / "train", OBS, ACT)[1]) == 7


@pytest.mark.parametrize("content", ["[]", "{}", "{"])
def test_a_damaged_folder_is_told_as_one(tmp_path, content):
    serialize = pytest.importorskip("imitation.data.serialize")
    serialize.save(tmp_path / "folder", [TRAJECTORY])
    (tmp_path / "folder" / "state.json").write_text(content)
    with pytest.raises(UserError, match="is not a folder of trajectories"):
        arrays_of(tmp_path / "folder", OBS, ACT)


def test_a_damaged_file_of_arrays_is_told_as_one(tmp_path):
    """Each byte in turn; what is read all the same has harmless damage."""
    np.savez_compressed(tmp_path / "whole.npz", obs=OBSERVATIONS[:7], acts=ACTIONS)
    whole = (tmp_path / "whole.npz").read_bytes()
    for i in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[i] ^= 0x5A
        (tmp_path / "damaged.npz").write_bytes(damaged)
        with suppress(UserError):
            arrays_of(tmp_path / "damaged.npz", OBS, ACT)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.npz", "does not exist; allowed: a .npz, a .pkl"),
        ("file.csv", "unknown kind of file; allowed: a .npz, a .pkl"),
        ("bad.npz", "is not a file of plain arrays: it is no zip file"),
        ("objects.npz", "is not a file of plain arrays: Object arrays"),
        ("empty.npz", "holds no demonstrations; allowed: objects with obs and acts"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path, name, said):
    (tmp_path / "file.csv").touch()
    (tmp_path / "bad.npz").write_text("no zip")
    np.savez(tmp_path / "objects.npz", obs=np.array([{}]), acts=np.array([{}]))
    np.savez(tmp_path / "empty.npz", rewards=np.zeros(3))
    with pytest.raises(UserError, match=said):
        arrays_of(tmp_path / name, OBS, ACT)


def test_a_folder_without_its_package_says_which_one(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="pip install datasets"):
        load_demonstrations(tmp_path)


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


class Counting:
    """Demonstrations without a length or an end, which count what has been read."""

    def __init__(self, item=TRAJECTORY):
        self.item, self.n_read = item, 0

    def __iter__(self):
        while True:
            self.n_read += 1
            yield self.item


BATCH = {"obs": OBSERVATIONS[:7], "acts": ACTIONS}


@pytest.mark.parametrize("item", [TRAJECTORY, BATCH, KINDS["transitions"]])
def test_an_endless_iterable_is_read_as_far_as_needed(item):
    endless, dataset = Counting(item), Dataset()
    source = Source(endless, OBS, ACT)
    assert endless.n_read == 0
    for wanted, n_items in ((1, 1), (7, 1), (8, 2), (21, 3), (30, 5), (20, 5)):
        source.fill(dataset, wanted)
        assert (endless.n_read, dataset.size) == (n_items, 7 * n_items)
    np.testing.assert_array_equal(dataset.actions[-7:], ACTIONS)


def test_no_more_is_read_than_a_data_set_holds():
    endless, dataset = Counting(), Dataset(10)
    Source(endless, OBS, ACT).fill(dataset, 1_000)
    assert endless.n_read == 2 and dataset.size == 10


def test_what_has_a_length_is_read_whole():
    dataset = Dataset()
    assert Source([TRAJECTORY] * 3, OBS, ACT).fill(dataset, 1).shape == (21, 3)
    assert dataset.size == 21


def test_an_iterator_may_end_early():
    source, dataset = Source(iter([TRAJECTORY]), OBS, ACT), Dataset()
    assert source.fill(dataset, 100).shape == (7, 3)
    assert source.fill(dataset, 100) is None and dataset.size == 7


GOOD = {"obs": OBSERVATIONS, "acts": ACTIONS}


def broken(error):
    yield GOOD
    if error is not None:
        raise error
    yield {"obs": OBSERVATIONS * np.nan, "acts": ACTIONS}


@pytest.mark.parametrize("error", [None, OSError("no disk"), KeyboardInterrupt()])
def test_an_iterator_that_has_failed_is_not_taken_for_one_that_has_ended(error):
    source, dataset = Source(broken(error), OBS, ACT), Dataset()
    source.fill(dataset, 1)
    with pytest.raises(type(error or UserError(""))):
        source.fill(dataset, 100)
    said = str(error or "not finite") or "KeyboardInterrupt"
    with pytest.raises(UserError, match=f"reading the demonstrations ended .*{said}.* set them"):
        source.fill(dataset, 100)
    assert dataset.size == len(ACTIONS)


@pytest.mark.parametrize("dtype", [th.float64, th.bfloat16])
def test_tensors_are_taken_with_their_gradients(dtype):
    obs = th.tensor(OBSERVATIONS).to(dtype).requires_grad_()
    taken, _ = arrays_of({"obs": obs, "acts": th.tensor(ACTIONS)}, OBS, ACT)
    assert np.allclose(taken, OBSERVATIONS[: len(ACTIONS)], rtol=0.01)


def test_values_that_are_masked_are_not_taken():
    masked = np.ma.array(OBSERVATIONS, mask=np.eye(*OBSERVATIONS.shape))
    with pytest.raises(UserError, match="some of their values are masked"):
        arrays_of({"obs": masked, "acts": ACTIONS}, OBS, ACT)
    arrays_of({"obs": np.ma.array(OBSERVATIONS), "acts": ACTIONS}, OBS, ACT)


def test_endless_demonstrations_without_a_transition_are_refused():
    empty = {"obs": OBSERVATIONS[:0], "acts": ACTIONS[:0]}
    with pytest.raises(UserError, match="1,000 demonstrations in a row are empty"):
        Source(Counting(empty), OBS, ACT).fill(Dataset(), 1)


def test_a_copy_has_no_more_to_read():
    source, dataset = Source(Counting(), OBS, ACT), Dataset()
    source.fill(dataset, 1)
    copied = pickle.loads(pickle.dumps(source))
    assert copied.fill(dataset, 100) is None and dataset.size == 7


def save_as_imitation_did(path, trajectories, **more):
    """One array of each kind, and where it is divided; infos are objects."""
    np.savez_compressed(
        path,
        obs=np.concatenate([t.obs for t in trajectories]),
        acts=np.concatenate([t.acts for t in trajectories]),
        infos=np.array([{"a": 1}] * sum(len(t) for t in trajectories)),
        terminal=np.array([t.terminal for t in trajectories]),
        indices=np.cumsum([len(t) for t in trajectories[:-1]]),
        **more,
    )


PARTS = [
    Trajectory(OBSERVATIONS[:4], ACTIONS[:3], np.array([{}] * 3), False),
    Trajectory(OBSERVATIONS[3:6], ACTIONS[3:5], np.array([{}] * 2), True),
    Trajectory(OBSERVATIONS[5:], ACTIONS[5:], np.array([{}] * 2), True),
]


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("more", [{}, {"rews": np.zeros(7)}], ids=["plain", "with rewards"])
def test_the_old_files_of_imitation(tmp_path, n, more):
    save_as_imitation_did(tmp_path / "old.npz", PARTS[:n], **more)
    found = load_demonstrations(tmp_path / "old.npz")
    assert len(found) == n
    for mine, trajectory in zip(found, PARTS, strict=False):
        np.testing.assert_array_equal(mine["obs"], trajectory.obs)
        np.testing.assert_array_equal(mine["acts"], trajectory.acts)
    obs, _ = arrays_of(tmp_path / "old.npz", OBS, ACT)
    np.testing.assert_array_equal(obs, OBSERVATIONS[: len(obs)])


def test_the_old_files_are_divided_as_imitation_divides_them(tmp_path):
    serialize = pytest.importorskip("imitation.data.serialize")
    save_as_imitation_did(tmp_path / "old.npz", PARTS, rews=np.zeros(7))
    with pytest.warns(DeprecationWarning):
        theirs = serialize.load(tmp_path / "old.npz")
    for mine, other in zip(load_demonstrations(tmp_path / "old.npz"), theirs, strict=True):
        np.testing.assert_array_equal(mine["obs"], other.obs)
        np.testing.assert_array_equal(mine["acts"], other.acts)


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([5, 3], "do not divide"),
        ([9, 9], "do not divide"),
        ([-1, 3], "do not divide"),
        ([1.5, 3], "do not divide"),
        ([3], "10 observations of 2 trajectories"),
        ([], "10 observations of 1 trajectories"),
    ],
)
def test_an_old_file_that_does_not_fit_together_is_refused(tmp_path, indices, said):
    obs = np.concatenate([t.obs for t in PARTS])
    content = {"obs": obs, "acts": ACTIONS, "terminal": [True] * 3, "indices": indices}
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(UserError, match=said):
        load_demonstrations(tmp_path / "bad.npz")


def test_pickled_observations_of_an_old_file_stay_unread(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath, ("executed",))

    objects = np.array([Trap()] * 4, dtype=object)
    content = {"acts": np.zeros(3), "terminal": [True], "indices": np.zeros(0, dtype=int)}
    np.savez(tmp_path / "trap.npz", obs=objects, **content)
    with pytest.raises(UserError, match="plain arrays"):
        load_demonstrations(tmp_path / "trap.npz")


def test_a_loader_of_an_endless_stream_is_read_as_far_as_it_is_used():
    class Stream(IterableDataset):
        def __iter__(self):
            while True:
                yield {"obs": OBSERVATIONS[0].copy(), "acts": ACTIONS[0].copy()}

    dataset = Dataset()
    Source(DataLoader(Stream(), batch_size=4), OBS, ACT).fill(dataset, 10)
    assert dataset.size == 12
