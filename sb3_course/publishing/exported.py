"""What an exported file computes, and whether it is what the model computes."""

import copy
import io
import json
import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd

from sb3_course.collection.observations import Array, Obs, stack_obs
from sb3_course.common.errors import UserError
from sb3_course.loading import normalization_to_predict

Format: TypeAlias = Literal["onnx", "torchscript"]

METADATA = "sb3_course"
"""Under this name a file tells of itself, as JSON."""

FAR = 1e6
"""Bounds of observations beyond which there are none: the largest float is no observation."""
TOLERANCE = 1e-5
"""Largest difference of actions in a Box, relative to those above 1; to half the Box's range where
the policy's output is squashed and then stretched over it."""

MOST_TIES = 0.01
"""Share of the observations whose whole-numbered action may differ: two logits may be equal but
for the rounding, which depends on the order in which a library adds."""


def runner(content: bytes, form: Format) -> Callable[[Obs], Array]:
    """Return the function that an exported file computes, on one thread.

    :param content: Content of the file
    :param form: Its format
    :return: Function from M raw observations, of shape (M, …) or a dict of such arrays, to M
        actions
    """
    if form == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        names = [item.name for item in session.get_inputs()]

        def run(obs: Obs) -> Array:
            given = obs if isinstance(obs, dict) else {names[0]: obs}
            return np.asarray(session.run(None, given)[0])

        return run
    extra = {METADATA: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, in favor of its export
        jit: Any = th.jit  # without types
        module = jit.load(io.BytesIO(content), _extra_files=extra)
    keys = [item["name"] for item in json.loads(extra[METADATA])["inputs"]]

    def call(obs: Obs) -> Array:
        given = [obs[key] for key in keys] if isinstance(obs, dict) else [obs]
        with th.no_grad():
            actions: th.Tensor = module(*map(th.from_numpy, given))
        return actions.numpy()

    return call


def sample_observations(model: BaseAlgorithm, n: int, seed: int = 0) -> Obs:
    """Sample raw observations as a policy might see them.

    :param model: Model, whose random states stay as they are
    :param n: Number of observations
    :param seed: Seed
    :return: Samples of the observation space, in which bounds beyond :data:`FAR` are none; where
        observations are normalized, of a Gaussian with the running moments
    """
    space = _within_reach(model.observation_space)
    space.seed(seed)
    sampled = stack_obs([space.sample() for _ in range(n)])
    venv, generator = normalization_to_predict(model), np.random.default_rng(seed)
    if venv is None or not venv.norm_obs:
        return sampled

    def gaussian(moments: RunningMeanStd, like: Array) -> Array:
        noise = generator.standard_normal(like.shape)
        return (moments.mean + np.sqrt(moments.var) * noise).astype(like.dtype)

    rms: Any = venv.obs_rms
    if isinstance(sampled, dict):
        return sampled | {key: gaussian(moments, sampled[key]) for key, moments in rms.items()}
    return gaussian(rms, sampled)


def _within_reach(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """Return a copy of a space, unbounded where its bounds say no more than that."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict([(key, _within_reach(each)) for key, each in space.items()])  # in order
    if isinstance(space, spaces.Box) and space.dtype.kind == "f":
        low = np.where(space.low < -FAR, -np.inf, space.low)
        high = np.where(space.high > FAR, np.inf, space.high)
        return spaces.Box(low, high, dtype=space.dtype.type)
    return copy.deepcopy(space)


def compare(model: BaseAlgorithm, run: Callable[[Obs], Array], observations: Obs) -> float:
    """Compare the actions of an exported policy with the model's.

    :param model: Model
    :param run: The function that the exported file computes
    :param observations: Raw observations
    :return: The largest difference of actions in a Box, or the share of other actions that differ
    :raises UserError: If they differ by more than :data:`TOLERANCE` or :data:`MOST_TIES`
    """
    venv = normalization_to_predict(model)
    seen: Any = observations if venv is None else venv.normalize_obs(observations)
    expected, given = model.predict(seen, deterministic=True)[0], run(observations)
    if given.shape != expected.shape:
        raise UserError(
            f"{type(model).__name__} cannot be exported: the graph returns actions of shape "
            f"{given.shape}, predict of {expected.shape}"
        )
    if isinstance(model.action_space, spaces.Box):
        error = np.abs(given.astype(np.float64) - expected)
        scale = np.maximum(1, np.abs(expected))
        if getattr(model.policy, "squash_output", False):
            scale = np.maximum(scale, (model.action_space.high - model.action_space.low) / 2)
        difference, most = float((error / scale).max()), TOLERANCE
    else:
        wrong = (given != expected).reshape(len(given), -1).any(axis=1)
        difference, most = float(wrong.mean()), MOST_TIES
    if not difference <= most:
        raise UserError(
            f"{type(model).__name__} cannot be exported: the graph's actions differ from predict's "
            f"by {difference:.3g}, more than {most:g}; does a class of your own override predict?"
        )
    return difference
