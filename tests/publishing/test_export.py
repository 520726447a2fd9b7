import json
import logging

import gymnasium as gym
import numpy as np
import onnxruntime
import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, SAC, TD3
from stable_baselines3.common.vec_env import VecFrameStack
from torch.distributions import Distribution

from sb3_course import NPG, loading, make_vec_env, opening
from sb3_course.common import checkpoint
from sb3_course.common.errors import UserError
from sb3_course.common.evaluation import evaluate, evaluation_envs
from sb3_course.common.files import shipped
from sb3_course.publishing import export
from sb3_course.publishing.exported import METADATA, compare, runner, sample_observations
from tests.contract.helpers import any_env
from tests.publishing.helpers import KINDS, make

ALIKE = {
    "mlp box()",
    "mlp matrix",
    "of matrix",
    "of bytes",
    "of multibinary",
    "float64 actions",
    "sac",
}
"""Kinds whose ONNX files `make test` leaves to `make slow`: each takes a second."""

FILES = [
    pytest.param(kind, form, marks=[pytest.mark.slow] * (form == "onnx" and kind in ALIKE))
    for kind in KINDS
    for form in ("onnx", "torchscript")
]


def raw(model, obs):
    """The model's actions for raw observations."""
    venv = model.get_vec_normalize_env()
    return model.predict(obs if venv is None else venv.normalize_obs(obs), deterministic=True)[0]


@pytest.mark.parametrize(("kind", "form"), FILES)
def test_a_file_acts_as_predict_does(kind, form, tmp_path):
    model = make(kind)
    export.export_model(model, tmp_path / "policy", form)
    run = runner((tmp_path / "policy").read_bytes(), form)
    obs = sample_observations(model, 1_000, seed=1)
    expected, given = raw(model, obs), run(obs)
    space = model.action_space
    dtype = (
        np.result_type(np.float32, space.dtype) if isinstance(space, spaces.Box) else space.dtype
    )
    assert given.shape == expected.shape and given.dtype == dtype
    if isinstance(space, spaces.Box):
        np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5)
        assert (space.low <= given).all() and (given <= space.high).all()
        if not model.policy.squash_output:
            assert ((given == space.low) | (given == space.high)).any()
        assert ((space.low < given) & (given < space.high)).any()
    else:
        assert np.array_equal(given, expected)
        assert len(np.unique(given)) > 1
    one = {k: v[:1] for k, v in obs.items()} if isinstance(obs, dict) else obs[:1]
    np.testing.assert_allclose(run(one), expected[:1], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def cheetah(tmp_path_factory):
    """The expert on HalfCheetah, and the function that its ONNX file computes."""
    path = tmp_path_factory.mktemp("cheetah") / "expert.onnx"
    expert = shipped("results/experts/HalfCheetah-v4.zip")
    export.export_file(expert, path, "onnx")
    return opening.open_policy(expert, None, False), runner(path.read_bytes(), "onnx")


class Runs:
    """An exported policy in place of a model."""

    def __init__(self, run):
        self.run = run

    def get_vec_normalize_env(self):
        return None

    def predict(self, obs, state, episode_start, deterministic):
        return self.run(obs), None


def test_an_exported_expert_drives_half_cheetah_as_far(cheetah):
    """Rounding grows to another gait within an episode: the returns are alike, not equal."""
    model, run = cheetah
    envs = evaluation_envs("HalfCheetah-v4", 4)
    expected, lengths = evaluate(model, envs, seed=7)
    given, _ = evaluate(Runs(run), envs, seed=7)
    assert (lengths == 1_000).all()
    assert expected.mean() > 3_500
    assert given.mean() == pytest.approx(expected.mean(), rel=0.05)


def test_a_file_tells_of_itself(tmp_path):
    model = make("normalized dict")
    vars(model)["env_id"] = "Arm-v0"
    export.export_model(model, tmp_path / "a.onnx", "onnx")
    export.export_model(model, tmp_path / "a.pt", "torchscript")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    facts = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    extra = {METADATA: ""}
    th.jit.load(tmp_path / "a.pt", _extra_files=extra)
    assert json.loads(extra[METADATA]) == facts
    assert (facts["class"], facts["env"], facts["env_settings"]) == ("PPO", "Arm-v0", {})
    assert facts["inputs"] == [
        {"name": name, "space": kind, "shape": shape, "dtype": dtype, "normalized": name == "arm"}
        for name, kind, shape, dtype in [
            ("arm", "Box", [3], "float32"),
            ("camera/left", "Box", [3, 36, 36], "uint8"),
            ("grid", "MultiDiscrete", [2], "int64"),
            ("switches", "MultiBinary", [2], "int8"),
            ("which", "Discrete", [], "int64"),
        ]
    ]
    assert facts["output"] == {
        **{"name": "action", "space": "Box", "shape": [2], "dtype": "float32"},
        **{"low": [-1.0, 0.0], "high": [2.0, 3.0]},
    }
    assert th.__version__.startswith(facts["versions"]["torch"])
    inputs = [(i.name, i.shape[1:]) for i in session.get_inputs()]
    assert inputs == [(i["name"], i["shape"]) for i in facts["inputs"]]


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_observations_keep_the_order_of_their_keys(form, tmp_path):
    """Gymnasium sorts the keys of a mapping, and keeps the order of pairs."""
    space = spaces.Dict([("goal", spaces.Discrete(3)), ("arm", spaces.Box(-1, 1, (3,)))])
    model = NPG("MultiInputPolicy", any_env(space), n_steps=16, seed=0, device="cpu")
    assert list(sample_observations(model, 2)) == ["goal", "arm"]
    loading.save(model, tmp_path / "m.zip")
    done = export.export_file(tmp_path / "m.zip", tmp_path / f"m.{form}", form)
    assert done.difference == 0


def test_bounds_as_large_as_a_float_are_none():
    """Observations of 1e38 overflow a network of ReLUs, and say nothing of those that there are."""
    largest = np.finfo(np.float32).max
    low, high = np.float32([-1, -largest, 0]), np.float32([1, largest, largest])
    box = spaces.Box(low, high)
    for space in (box, spaces.Dict({"a": box, "b": spaces.Discrete(3)})):
        env = any_env(space)
        policy = "MlpPolicy" if space is box else "MultiInputPolicy"
        obs = sample_observations(NPG(policy, env, n_steps=16, device="cpu"), 1000)
        sampled = obs if space is box else obs["a"]
        assert np.abs(sampled).max() < 100
        assert np.abs(sampled[:, 0]).max() <= 1 and sampled[:, 2].min() >= 0
        assert sampled[:, 1].std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("algorithm", [A2C, NPG])
def test_a_file_is_exported_where_its_environment_does_not_exist(tmp_path, algorithm):
    env = make_vec_env("Pendulum-v1", 2, seed=0, normalize=True, backend="dummy")
    model = algorithm("MlpPolicy", env, n_steps=16, seed=0, device="cpu").learn(64)
    vars(model)["env_id"] = "nowhere:Pendulum-v1"
    loading.save(model, tmp_path / "model.zip")
    export.export_file(tmp_path / "model.zip", tmp_path / "model.pt", "torchscript")
    obs = sample_observations(model, 50)
    given = runner((tmp_path / "model.pt").read_bytes(), "torchscript")(obs)
    np.testing.assert_allclose(given, raw(model, obs), rtol=0, atol=1e-5)
    extra = {METADATA: ""}
    th.jit.load(tmp_path / "model.pt", _extra_files=extra)
    assert json.loads(extra[METADATA])["env"] == "nowhere:Pendulum-v1"


@pytest.mark.parametrize("algorithm", [SAC, TD3])
def test_rounding_is_compared_with_the_range_that_actions_are_stretched_over(algorithm, tmp_path):
    env = any_env(spaces.Box(-100, 100, (3,)), spaces.Box(-1000, 1000, (2,)))
    model = algorithm("MlpPolicy", env, seed=0, device="cpu")
    written = export.export_model(model, tmp_path / "a.onnx", "onnx")
    assert written.difference < 1e-5

    def wrong(obs):
        return model.predict(obs, deterministic=True)[0] + 0.1

    with pytest.raises(UserError, match=r"by 0.0001, more than 1e-05"):
        compare(model, wrong, sample_observations(model, 10))


def test_a_file_of_sb3_needs_its_class_and_trust(tmp_path):
    A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save(tmp_path / "a2c.zip")
    for name, trust, message in [
        (None, True, "add it, as in --algo A2C"),
        ("A2C", False, "add --trust"),
    ]:
        with pytest.raises(UserError, match=message):
            export.export_file(tmp_path / "a2c.zip", tmp_path / "a", "torchscript", name, trust)
    export.export_file(tmp_path / "a2c.zip", tmp_path / "a", "torchscript", "A2C", True)
    assert (tmp_path / "a").exists()


class Contrary(NPG):
    """A class whose predict does not return the policy's actions."""

    def predict(self, *args, **kwargs):
        actions, state = super().predict(*args, **kwargs)
        return 1 - actions, state


def test_what_cannot_be_exported_is_told_and_nothing_written(tmp_path):
    env = make_vec_env("CartPole-v1", 1, backend="dummy")
    for model, message in [
        (RecurrentPPO("MlpLstmPolicy", env, device="cpu"), "a recurrent policy cannot be exported"),
        (MaskablePPO("MlpPolicy", env, device="cpu"), "action masks cannot be exported"),
        (Contrary("MlpPolicy", env, device="cpu"), "differ from predict's by 1"),
    ]:
        with pytest.raises(UserError, match=message):
            export.export_model(model, tmp_path / "a.pt", "torchscript")
    assert list(tmp_path.iterdir()) == []


def test_normalization_below_other_wrappers_is_refused(tmp_path):
    env = make_vec_env("CartPole-v1", 1, normalize=True, backend="dummy")
    model = NPG("MlpPolicy", VecFrameStack(env, 2), device="cpu")
    model.save(tmp_path / "model.zip")
    with pytest.raises(UserError, match=r"normalized below VecFrameStack"):
        export.export_model(model, tmp_path / "a.pt", "torchscript")
    with pytest.raises(UserError, match=r"below VecFrameStack"):
        export.export_file(tmp_path / "model.zip", tmp_path / "a.pt", "torchscript")


def test_a_failure_leaves_torch_and_logging_as_they_were(tmp_path, monkeypatch):
    def fail(*args):
        assert not Distribution._validate_args
        raise RuntimeError("made to fail")

    monkeypatch.setitem(export._WRITERS, "onnx", fail)
    with pytest.raises(UserError, match=r"policy of NPG cannot be exported: .*made to fail"):
        export.export_model(make("mlp box"), tmp_path / "a.onnx", "onnx")
    assert Distribution._validate_args
    assert logging.root.manager.disable == logging.NOTSET


def test_a_model_goes_on_training_as_if_it_had_not_been_exported(tmp_path):
    def train(exported):
        env = make_vec_env("CartPole-v1", 2, seed=0, normalize=True, backend="dummy")
        model = NPG("MlpPolicy", env, n_steps=16, seed=0, device="cpu").learn(64)
        if exported:
            export.export_model(model, tmp_path / "a.pt", "torchscript")
        model.learn(64, reset_num_timesteps=False)
        return checkpoint.normalization_of(model)["statistics"], [
            value.tolist() for value in model.policy.state_dict().values()
        ]

    plain, exported = train(False), train(True)
    assert plain[1] == exported[1]
    assert all(np.array_equal(plain[0][key], exported[0][key]) for key in plain[0])


def test_a_missing_library_is_told_with_its_extra(monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs onnxscript: pip install 'sb3-course\[export\]'"):
        export.require("onnx")
    export.require("torchscript")


class Boxes(gym.Env):
    """Actions in a Box, and observations in as many as there are keys."""

    action_space = spaces.Box(-1, 1, (2,))

    def __init__(self, *keys):
        box = spaces.Box(-1, 1, (3,))
        self.observation_space = spaces.Dict(dict.fromkeys(keys, box)) if keys else box

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}


def test_a_file_tells_numbers_that_json_lacks_as_text(tmp_path):
    model = A2C("MlpPolicy", Boxes(), device="cpu")
    settings = {"kwargs": {"contact_cost_range": [float("-inf"), 10.0]}}
    vars(model).update(env_id="Humanoid-v5", env_settings=settings)
    export.export_model(model, tmp_path / "m.pt", "torchscript")
    extra = {METADATA: ""}
    th.jit.load(tmp_path / "m.pt", _extra_files=extra)

    def refuse(constant):
        raise ValueError(constant)

    facts = json.loads(extra[METADATA], parse_constant=refuse)
    assert facts["env_settings"] == {"kwargs": {"contact_cost_range": ["-inf", 10.0]}}


def test_the_type_of_actions_that_a_file_tells_is_the_one_it_returns(tmp_path):
    env = Boxes()
    env.action_space = spaces.Box(0, 9, (2,), np.int64)
    model = A2C("MlpPolicy", env, device="cpu")
    export.export_model(model, tmp_path / "m.pt", "torchscript")
    extra = {METADATA: ""}
    th.jit.load(tmp_path / "m.pt", _extra_files=extra)
    given = runner((tmp_path / "m.pt").read_bytes(), "torchscript")(sample_observations(model, 2))
    assert json.loads(extra[METADATA])["output"]["dtype"] == str(given.dtype) == "float64"


def test_an_observation_called_as_the_output_is_refused(tmp_path):
    model = A2C("MultiInputPolicy", Boxes("joints", "action"), device="cpu")
    with pytest.raises(UserError, match="an observation is called 'action', as the output is"):
        export.export_model(model, tmp_path / "m.onnx", "onnx")
    assert export.export_model(model, tmp_path / "m.pt", "torchscript").difference < 1e-5
