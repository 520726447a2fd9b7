"""Export a policy to a file that runs without Python, or without this package."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from torch.distributions import Distribution

from sb3_course.collection.observations import Obs, select
from sb3_course.common import checkpoint
from sb3_course.common.errors import UserError, in_words
from sb3_course.common.evaluation import takes_masks
from sb3_course.common.files import write_atomically
from sb3_course.loading import normalization_to_predict
from sb3_course.opening import open_policy
from sb3_course.publishing.configuration import installed, plain
from sb3_course.publishing.exported import METADATA, Format, compare, runner, sample_observations
from sb3_course.publishing.graph import ACTION, PolicyGraph

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".pt"}
N_CHECKED = 100
"""Observations on which an exported file is compared with the model before it is written."""


@dataclass(frozen=True)
class Exported:
    """What an export has written.

    :param path: File
    :param size: Its size in bytes
    :param difference: Largest difference of its actions from the model's, see :func:`.export_model`
    """

    path: Path
    size: int
    difference: float


def export_file(
    path: Path, to: Path, form: Format, name: str | None = None, trust: bool = False
) -> Exported:
    """Export the policy of a model file. Its environment need not be installed.

    :param path: Model file
    :param to: File to write
    :param form: ``"onnx"`` or ``"torchscript"``
    :param name: Name of the algorithm, for a file that does not name it
    :param trust: Whether to read pickles of a file that this user did not write here
    :return: What was written
    :raises UserError: If the file is not a model, is not trusted with what it needs, or its policy
        cannot be exported
    """
    return export_model(open_policy(path, name, trust), to, form)


def export_model(model: BaseAlgorithm, to: Path | str, form: Format) -> Exported:
    """Export a model's deterministic policy, with the normalization of its environment inside.

    Inputs are raw observations of shape (M, …) in the layout of ``model.observation_space``, one
    input for each key of a Dict. The output is M actions for the environment. The file is compared
    with ``model.predict`` before it is written.

    :param model: Model of this package, SB3 or sb3-contrib, on the CPU
    :param to: File to write, replaced atomically
    :param form: ``"onnx"``, or ``"torchscript"`` for ``torch.jit.load``
    :return: What was written; ``difference`` is the largest of an action in a Box, and the share of
        actions that differ where actions are whole numbers
    :raises UserError: If the policy cannot be exported; says why
    """
    require(form)
    _check_kind(model)
    graph = PolicyGraph(model.policy, normalization_to_predict(model))
    if ACTION in graph.inputs and form == "onnx":
        raise UserError(
            f"an observation is called {ACTION!r}, as the output is; allowed: --torchscript, whose "
            "inputs have no names, or another key"
        )
    observations = sample_observations(model, N_CHECKED)
    facts = metadata(model, graph)
    try:
        with _traceable():
            content = _WRITERS[form](graph, _tensors(select(observations, slice(2))), facts)
        run = runner(content, form)
    except Exception as error:
        raise UserError(
            f"the policy of {type(model).__name__} cannot be exported: {in_words(error)[:500]}"
        ) from error
    difference = compare(model, run, observations)
    write_atomically(Path(to), content)
    return Exported(Path(to), len(content), difference)


def require(form: Format) -> None:
    """Check that what a format needs is installed.

    :param form: Format
    :raises UserError: If it is not; names the extra
    """
    for module in ("onnxscript", "onnxruntime") if form == "onnx" else ():
        if find_spec(module) is None:
            raise UserError(f"--onnx needs {module}: pip install 'sb3-course[export]'")


def metadata(model: BaseAlgorithm, graph: PolicyGraph) -> dict[str, Any]:
    """Return what a file says of itself.

    :param model: Model
    :param graph: Its graph
    :return: Class, environment, inputs in their order, output and versions, as plain data; numbers
        that JSON lacks are the texts ``"inf"``, ``"-inf"`` and ``"nan"``
    """
    space: Any = model.action_space
    bounds = (
        {"low": space.low.tolist(), "high": space.high.tolist()}
        if isinstance(space, spaces.Box)
        else {}
    )
    venv: Any = normalization_to_predict(model)
    described = checkpoint.description_of(model)
    kind = {"dtype": str(np.result_type(np.float32, space.dtype))} if bounds else {}
    normalized = [] if venv is None or not venv.norm_obs else venv.norm_obs_keys or [*graph.inputs]
    found: dict[str, Any] = {
        "class": type(model).__name__,
        "env": described.env,
        "env_settings": described.settings,
        "inputs": [
            {"name": name, **_described(space), "normalized": name in normalized}
            for name, space in graph.inputs.items()
        ],
        "output": {"name": ACTION, **_described(space), **kind, **bounds},
        "versions": installed(),
    }
    return {key: plain(value) for key, value in found.items()}


def _described(space: spaces.Space[Any]) -> dict[str, Any]:
    shape, dtype = list(space.shape or ()), str(space.dtype)
    return {"space": type(space).__name__, "shape": shape, "dtype": dtype}


def _check_kind(model: BaseAlgorithm) -> None:
    """Refuse models whose actions are no function of one observation, or that are elsewhere."""
    name = type(model).__name__
    if hasattr(model.policy, "lstm_actor"):
        raise UserError(
            f"{name}: a recurrent policy cannot be exported, as its actions depend on past "
            "observations"
        )
    if takes_masks(model.policy):
        raise UserError(
            f"{name}: a policy with action masks cannot be exported, as its actions depend on them"
        )
    venv = model.get_vec_normalize_env()
    above = [] if venv is None else checkpoint.wrappers_above(model.get_env(), venv)
    if above and venv is not None and venv.norm_obs:
        raise UserError(
            f"{name}: its observations are normalized below {', '.join(above)}, which a graph "
            "of one observation cannot repeat; allowed: VecNormalize as the outermost wrapper"
        )
    if model.device.type != "cpu":
        raise UserError(f"{name} is on {model.device}: load it with device='cpu' to export it")


@contextmanager
def _traceable() -> Iterator[None]:
    """Make torch's distributions traceable, and keep the exporter quiet.

    Distributions check their arguments' values, on which a traced graph cannot branch.
    """
    checks, disabled = Distribution._validate_args, logging.root.manager.disable
    Distribution.set_default_validate_args(False)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), th.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        Distribution.set_default_validate_args(checks)


def _tensors(observations: Obs) -> list[th.Tensor]:
    arrays = observations.values() if isinstance(observations, dict) else [observations]
    return [th.as_tensor(array) for array in arrays]


def _to_onnx(graph: PolicyGraph, example: list[th.Tensor], facts: dict[str, Any]) -> bytes:
    batch = th.export.Dim("batch")
    program = th.onnx.export(
        graph,
        tuple(example),
        input_names=list(graph.inputs),
        output_names=[ACTION],
        dynamic_shapes=(tuple({0: batch} for _ in example),),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props[METADATA] = json.dumps(facts, allow_nan=False)
    content: bytes = program.model_proto.SerializeToString()
    return content


def _to_torchscript(graph: PolicyGraph, example: list[th.Tensor], facts: dict[str, Any]) -> bytes:
    graph.eval()
    jit: Any = th.jit  # without types
    traced = jit.freeze(jit.trace(graph, tuple(example)))  # frozen: the actor's weights alone
    buffer = io.BytesIO()
    jit.save(traced, buffer, _extra_files={METADATA: json.dumps(facts, allow_nan=False)})
    return buffer.getvalue()


_WRITERS: dict[Format, Callable[[PolicyGraph, list[th.Tensor], dict[str, Any]], bytes]] = {
    "onnx": _to_onnx,
    "torchscript": _to_torchscript,
}
