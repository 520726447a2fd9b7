import collections
import os
import pickle
import random
import warnings

import numpy as np
import pytest

from sb3_course.common.errors import UserError
from sb3_course.imitation import load_cs285_demonstrations, load_cs285_expert
from sb3_course.imitation.cs285 import CS285Expert
from sb3_course.imitation.plain_pickle import RefusedPickleError, load_plain_pickle
from tests.budget import small_budget
from tests.imitation.helpers import homework_expert, homework_paths, write

every_protocol = pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))

ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    np.zeros((0, 3)),
    np.array(True),
    np.array(["a", "bc"]),
    np.float32(2.5),
]


@every_protocol
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_reads_arrays_and_plain_containers(tmp_path, protocol, array):
    content = {"a": array, "rest": [1, (2.0, b"x", "y"), None, {"z": b""}]}
    got = load_plain_pickle(write(tmp_path / "file.pkl", content, protocol))
    assert type(got["a"]) is type(array)
    assert got["a"].dtype == array.dtype.newbyteorder("=") or got["a"].dtype == array.dtype
    np.testing.assert_array_equal(got["a"], array)
    assert got["rest"] == content["rest"]
    assert load_plain_pickle(write(tmp_path / "o", collections.OrderedDict(a=1))) == {"a": 1}


def test_reads_what_numpy_1_and_python_2_wrote(tmp_path):
    """Python 2 pickled NumPy's data as a string of bytes, under the name numpy.core."""
    data = np.array([1.5, -2.25]).tobytes()
    pickled = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I2\ntcnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
        b"I00\nS'" + "".join(f"\\x{byte:02x}" for byte in data).encode() + b"'\ntb."
    )
    (tmp_path / "old.pkl").write_bytes(pickled)
    np.testing.assert_array_equal(load_plain_pickle(tmp_path / "old.pkl"), [1.5, -2.25])


def test_reads_a_number_that_python_2_wrote(tmp_path):
    dtype = b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    data = np.float64(2.5).tobytes()
    pickled = b"\x80\x02cnumpy.core.multiarray\nscalar\n" + dtype + b"U\x08" + data + b"\x86R."
    (tmp_path / "old.pkl").write_bytes(pickled)
    assert load_plain_pickle(tmp_path / "old.pkl") == 2.5


class Reduced:
    """Pickles as a call of anything."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


REBUILT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"


def hostile_pickles(marker):
    command = f"touch {marker}"
    yield "posix.system", pickle.dumps(Reduced(os.system, command))
    yield "nested", pickle.dumps({"a": [(np.zeros(2), Reduced(os.system, command))]})
    yield "builtins.eval", pickle.dumps(Reduced(eval, f"open({str(marker)!r}, 'w')"))
    yield "by hand", f"cos\nsystem\n(S'{command}'\ntR.".encode()
    yield "numpy-looking", f"cnumpy.testing\nrundocs\n(S'{marker}'\ntR.".encode()
    yield "numpy.core, another name", b"cnumpy.core.multiarray\nfromfile\n(S'x'\ntR."
    yield "dotted name", b"\x80\x04\x8c\x05numpy\x8c\x0adtype.mro\x93."
    yield "getattr", b"cbuiltins\ngetattr\n(cnumpy\ndtype\nS'x'\ntR."
    yield "object array", pickle.dumps(np.array([Reduced(os.system, command)], dtype=object))
    yield "object array, harmless", pickle.dumps(np.array([{}, None], dtype=object))
    yield "structured", pickle.dumps(np.zeros(2, dtype=[("a", "O")]))
    yield "changes a class", b"cnumpy\nndarray\n(dVx\nI1\nsb."
    yield "instance", pickle.dumps(random.Random(0))
    yield "extension", b"\x80\x02\x82\x01."
    yield "persistent", b"Pname\n."
    yield "bytes of any size", b"c__builtin__\nbytes\n(I1000000000000\ntR."
    yield (
        "array of any size",
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I99999999999\ntS'b'\ntR."),
    )
    yield "array class", b"cnumpy\nndarray\n((I5000000000\ntS'u1'\ntR."
    yield "array of nothing", b"cnumpy\nndarray\n((I9999999999\ntS'f8'\nS'12345678'\nI0\n(I0\nttR."
    yield "empty text", REBUILT + b"(I1\n(I5000000000\ntcnumpy\ndtype\n(S'S0'\ntRI00\nS''\ntb."
    yield "function", pickle.dumps(np.dtype("f8"))
    yield "cut off", pickle.dumps(np.zeros(9))[:-9]
    yield "empty", b""
    yield "text", b"import os"


HOSTILE = dict(hostile_pickles("MARKER"))


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_everything_else_before_it_acts(tmp_path, name):
    marker = tmp_path / "owned"
    path = tmp_path / "hostile.pkl"
    path.write_bytes(dict(hostile_pickles(marker))[name])
    for load in (load_plain_pickle, load_cs285_expert, load_cs285_demonstrations):
        with pytest.raises(UserError, match=r"hostile\.pkl"):
            load(path)
    assert not marker.exists() and not (tmp_path / "MARKER").exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Reduced(os.system, "true"), r"asks for (posix|nt)\.system"),
        (Reduced(eval, "1"), r"asks for (builtins|__builtin__)\.eval"),
        (np.array([{}]), "object"),
    ],
)
def test_says_what_was_refused(tmp_path, content, named):
    with pytest.raises(RefusedPickleError, match=named):
        load_plain_pickle(write(tmp_path / "file.pkl", content))


def test_a_pickle_cannot_spoil_the_next(tmp_path):
    """A pickle may set attributes of what it is given; that is gone with it."""
    give, take = b"\x80\x02cnumpy\nndarray\n", b"X\x0c\x00\x00\x00__setstate__"
    spoil = give + b"(N}" + take + b"c_codecs\nencode\nstb."
    (tmp_path / "spoil.pkl").write_bytes(spoil)
    with pytest.raises(UserError):
        load_plain_pickle(tmp_path / "spoil.pkl")
    good = write(tmp_path / "good.pkl", np.arange(3), protocol=2)
    got = load_plain_pickle(good)
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, np.arange(3))


def test_many_references_to_one_list_stay_one_list(tmp_path):
    bomb = ["x"]
    for _ in range(60):  # 2^60 strings, written out
        bomb = [bomb, bomb]
    got = load_plain_pickle(write(tmp_path / "bomb.pkl", bomb))
    assert got[0] is got[1]


def test_an_array_keeps_the_size_of_its_elements(tmp_path):
    """A pickle that enlarges a dtype later must not have NumPy read beyond an array's memory."""
    dtype = b"cnumpy\ndtype\n(S'S8'\nI0\nI1\ntRp7\n"
    array = REBUILT + b"(I1\n(I1\nt" + dtype + b"I00\nS'12345678'\ntb"
    enlarge = b"g7\n(I3\nS'|'\nNNNI80\nI1\nI0\ntb0"
    (tmp_path / "file.pkl").write_bytes(b"(lp1\n" + array + b"a" + enlarge + b"g1\n.")
    (got,) = load_plain_pickle(tmp_path / "file.pkl")
    assert got.dtype == "S8" and got.nbytes == 8


def test_many_short_paths_are_no_bomb(tmp_path):
    paths = homework_paths(lengths=(10,) * 1_500)
    for protocol in (2, 4):
        assert len(load_cs285_demonstrations(write(tmp_path / "a.pkl", paths, protocol))) == 1_500


def test_an_expert_of_one_layer_many_times_is_refused(tmp_path):
    expert = homework_expert()
    layers = expert["GaussianPolicy"]["hidden"]["FeedforwardNet"]
    large = {"AffineLayer": {"W": np.zeros((500, 500), np.int8), "b": np.zeros(500)}}
    layers.update((f"layer_{i}", large) for i in range(10, 5_000))
    with small_budget(), pytest.raises(RefusedPickleError, match="repeated"):
        load_cs285_expert(write(tmp_path / "expert.pkl", expert))


@pytest.mark.parametrize("value", [[1], "relu", 3, None, np.ones(4), np.array(["a"]), b"x"])
@pytest.mark.parametrize("where", ["policy", "hidden", "mean", "nonlinearity"])
def test_an_expert_with_another_type_of_value_is_refused(tmp_path, where, value):
    expert = homework_expert()
    policy = expert["GaussianPolicy"]
    standardizer = policy["obsnorm"]["Standardizer"]
    place, key = {
        "policy": (expert, "GaussianPolicy"),
        "hidden": (policy["hidden"], "FeedforwardNet"),
        "mean": (standardizer, "mean_1_D"),
        "nonlinearity": (expert, "nonlin_type"),
    }[where]
    place[key] = value
    with pytest.raises(UserError, match=r"expert\.pkl"):
        load_cs285_expert(write(tmp_path / "expert.pkl", expert))


def test_a_name_that_is_a_doubled_list_is_not_written_out(tmp_path):
    expert = homework_expert()
    for _ in range(60):
        expert["nonlin_type"] = [expert["nonlin_type"]] * 2
    with pytest.raises(UserError, match="unknown nonlin_type of type list; known: tanh, lrelu"):
        load_cs285_expert(write(tmp_path / "expert.pkl", expert))


@pytest.mark.parametrize("value", [[1], None, np.array(2.0), np.array(["a"] * 7), np.zeros(0), {}])
@pytest.mark.parametrize("key", ["observation", "action", "reward", "next_observation", "terminal"])
def test_a_path_with_another_type_of_value_is_refused(tmp_path, key, value):
    paths = homework_paths()
    paths[0][key] = value
    with pytest.raises(UserError, match=r"data\.pkl"):
        load_cs285_demonstrations(write(tmp_path / "data.pkl", paths))


def test_refuses_arrays_that_repeat_without_bound(tmp_path):
    paths = homework_paths(lengths=(20_000,)) * 2_000  # 1.7 MB here, 2 GB written out
    with pytest.raises(RefusedPickleError, match="repeated"):
        load_cs285_demonstrations(write(tmp_path / "data.pkl", paths))
    nested = [0.0]
    for _ in range(40):
        nested = [nested, nested]
    paths[0]["action"] = nested
    with pytest.raises(UserError, match="a list where an array is expected"):
        load_cs285_demonstrations(write(tmp_path / "data.pkl", paths[:1]))


@pytest.mark.parametrize("nonlinearity", ["tanh", "lrelu"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_an_expert_computes_what_the_file_says(tmp_path, nonlinearity, protocol):
    content = homework_expert(nonlinearity)
    expert = load_cs285_expert(write(tmp_path / "expert.pkl", content, protocol))
    obs = np.random.default_rng(1).normal(size=(6, 3))
    policy = content["GaussianPolicy"]
    standard = policy["obsnorm"]["Standardizer"]
    std = np.sqrt(standard["meansq_1_D"] - standard["mean_1_D"] ** 2)
    h = (obs - standard["mean_1_D"]) / (std + 1e-6)
    for name in ("layer_0", "layer_2"):
        layer = policy["hidden"]["FeedforwardNet"][name]["AffineLayer"]
        h = h @ layer["W"] + layer["b"]
        h = np.tanh(h) if nonlinearity == "tanh" else np.maximum(h, 0.01 * h)
    expected = h @ policy["out"]["AffineLayer"]["W"] + policy["out"]["AffineLayer"]["b"]
    np.testing.assert_allclose(expert(obs), expected, rtol=1e-5)
    assert expert(obs).dtype == np.float32


WRONG_SHAPES = homework_expert()
WRONG_SHAPES["GaussianPolicy"]["out"]["AffineLayer"]["W"] = np.zeros((7, 2))


@pytest.mark.parametrize(
    "content",
    [{"nonlin_type": "tanh"}, [1, 2], homework_expert("relu6"), WRONG_SHAPES],
    ids=["empty", "list", "nonlinearity", "shapes"],
)
def test_refuses_what_is_no_expert(tmp_path, content):
    with pytest.raises(UserError, match=r"expert\.pkl"):
        load_cs285_expert(write(tmp_path / "expert.pkl", content))


def test_demonstrations_become_trajectories(tmp_path):
    paths = homework_paths(lengths=(7, 5))
    found = load_cs285_demonstrations(write(tmp_path / "data.pkl", paths))
    assert [len(t) for t in found] == [7, 5]
    for trajectory, path in zip(found, paths):
        np.testing.assert_allclose(trajectory.obs[:-1], path["observation"], rtol=1e-6)
        np.testing.assert_allclose(trajectory.obs[1:], path["next_observation"], rtol=1e-6)
        np.testing.assert_array_equal(trajectory.acts, path["action"])
        np.testing.assert_array_equal(trajectory.rews, path["reward"])
        assert trajectory.terminal


@pytest.mark.parametrize("content", [{}, [], [{"observation": np.zeros((2, 1))}], [3]])
def test_refuses_what_are_no_demonstrations(tmp_path, content):
    with pytest.raises(UserError, match=r"data\.pkl"):
        load_cs285_demonstrations(write(tmp_path / "data.pkl", content))


@pytest.mark.parametrize(("wanted", "given"), [(111, 27), (8, 12)])
def test_an_expert_of_another_length_pads_or_cuts_and_says_so_once(wanted, given):
    rng = np.random.default_rng(0)
    layers = [(rng.normal(size=(wanted, 2)), np.zeros(2))]
    expert = CS285Expert(np.zeros(wanted), np.ones(wanted), layers, "tanh")
    obs = rng.normal(size=(5, given))
    fitted = np.pad(obs, ((0, 0), (0, max(0, wanted - given))))[:, :wanted]
    with pytest.warns(UserWarning, match=f"takes {wanted} numbers, observations have {given}"):
        actions = expert(obs)
    assert np.allclose(actions, expert(fitted))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        single, _ = expert.predict(obs[0], deterministic=True)
    assert np.allclose(single, actions[0])
