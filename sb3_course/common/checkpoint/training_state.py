"""What an exact continuation needs beside a model's attributes and weights.

All random states, the current observations, the statistics of past episodes, an algorithm's own
memory, and the states of the environments. It is complete between two batches, such as after
``learn`` or when a callback's ``on_rollout_start`` is called; inside a batch the environments'
episodes are left out, since the part of the batch that was collected is not in the file.
"""

import json
import random
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_course.common.checkpoint import environments, plain
from sb3_course.common.checkpoint.archive import (
    CheckpointError,
    Members,
    pack_arrays,
    unpack_arrays,
)
from sb3_course.common.checkpoint.memory import NotKeptError

STATE, STATE_ARRAYS = "training_state.json", "training_state.npz"
ENVIRONMENTS = "environments.pkl"

# Present in every SB3 algorithm; SB3's load forgets the first of them, and so resets.
_EPISODES = ("_last_obs", "_last_original_obs", "_last_episode_starts")
_BUFFERS = ("ep_info_buffer", "ep_success_buffer")


@dataclass(frozen=True)
class TrainingState:
    """State of a training between two batches.

    :param random: States of the random generators of Python, NumPy and torch
    :param episodes: Current observations and which of them begin an episode; empty inside a batch
    :param buffers: SB3's statistics of past episodes
    :param memory: What the algorithm's ``_training_memory`` returned
    :param environments: Pickled states of the environments; None if they cannot be kept
    :param why_not: Why they cannot
    """

    random: dict[str, Any]
    episodes: dict[str, Any]
    buffers: dict[str, Any]
    memory: dict[str, Any]
    environments: bytes | None
    why_not: str


def take(model: BaseAlgorithm) -> TrainingState:
    """Return the state of a model's training.

    :param model: Algorithm of this package or another
    :return: Its state
    """
    states, why_not, env = None, "the model has no environment", model.get_env()
    if vars(model).get("_inside_batch"):
        why_not = "it was saved inside a batch"
    elif vars(model).get("_last_obs") is None:
        why_not = ""  # there were none
    elif env is not None:
        try:
            seen_in, first = vars(model).get("_first_look", (None, None))
            seen = first if seen_in is env else None
            states = environments.take(env, seen, vars(model).get("policy"))
        except NotKeptError as error:
            why_not = str(error)
    memory: dict[str, Any] = getattr(model, "_training_memory", dict)()
    episodes = {} if states is None else _present(model, _EPISODES)
    if not _is_plain(episodes):
        episodes, states, why_not = {}, None, "its observations are of a kind of their own"
    return TrainingState(
        random=_random_states(model.device),
        episodes=episodes,
        buffers={k: v for k, v in _present(model, _BUFFERS).items() if _is_plain(v)},
        memory=memory,
        environments=states,
        why_not=why_not,
    )


def look(model: BaseAlgorithm) -> None:
    """Remember what a model's environments hold, if they are new to it.

    :param model: Model, before its training begins
    """
    env, ours = model.get_env(), hasattr(type(model), "_first_look")  # SB3 would save the look
    if not ours or env is None or vars(model).get("_first_look", (None, None))[0] is env:
        return
    try:
        vars(model)["_first_look"] = env, environments.look(env)
    except NotKeptError:
        vars(model)["_first_look"] = env, None  # their states cannot be kept either


def put(model: BaseAlgorithm, state: TrainingState) -> str | None:
    """Set a model, its environments and all random generators to a state.

    :param model: Loaded model, with environments
    :param state: State
    :return: Why the running episodes are lost, or None if they go on
    """
    look(model)  # at the environments as they were made
    if state.random:
        _set_random_states(state.random, model.device)
    size = model._stats_window_size  # which may have been changed by load()
    vars(model).update({name: deque(past, size) for name, past in state.buffers.items()})
    put_memory(model, state)
    env = model.get_env()
    if state.environments is None or env is None:
        return state.why_not or None
    try:
        environments.put(env, state.environments)
    except NotKeptError as error:
        return str(error)
    vars(model).update(state.episodes)
    return None


def put_memory(model: BaseAlgorithm, state: TrainingState) -> str | None:
    """Restore the algorithm's own memory, which a new count of steps does not end.

    :param model: Loaded model
    :param state: State
    :return: Why it is left out, if it is of another task; None if it is not
    """
    env, states = model.get_env(), state.environments
    if not state.memory:
        return None
    if env is not None and states is not None:
        how = environments.made_otherwise(env, states)
        if how is not None:
            return f"the environment was made otherwise: {how}"
    owner: Any = model  # whose class returned the memory, and so takes it
    owner._set_training_memory(state.memory)
    return None


def seeded_anew(state: TrainingState) -> TrainingState:
    """Return a state without what a new seed replaces: random states and running episodes.

    :param state: State
    :return: The rest of it
    """
    why_not = "a seed was given after loading"
    return replace(state, random={}, episodes={}, environments=None, why_not=why_not)


def write(state: TrainingState, members: Members) -> None:
    """Add a state to a checkpoint; all but the environments' are JSON and plain arrays.

    :param state: State
    :param members: Content by name, to which it is added
    """
    arrays: dict[str, Any] = {}
    parts = {
        "random": state.random,
        "episodes": state.episodes,
        "buffers": state.buffers,
        "memory": state.memory,
        "why_not": state.why_not,
    }
    members[STATE] = json.dumps(plain.encode(parts, arrays)).encode()
    members[STATE_ARRAYS] = pack_arrays(arrays)
    if state.environments is not None:
        members[ENVIRONMENTS] = state.environments


def read(members: Members, trusted: bool) -> TrainingState | None:
    """Return the state in a checkpoint.

    :param members: Content by name
    :param trusted: Whether the environments' states, which are a pickle, may be read
    :return: State, or None if there is none
    :raises CheckpointError: If it is malformed
    """
    if STATE not in members:
        return None
    states = members.get(ENVIRONMENTS) if trusted else None
    try:
        parts = plain.decode(json.loads(members[STATE]), unpack_arrays(members, STATE_ARRAYS))
        why_not = parts["why_not"]
        if ENVIRONMENTS in members and not trusted:
            why_not = "weights_only=True does not read the environments' states, a pickle"
        names = ("random", "episodes", "buffers", "memory")
        if not all(isinstance(parts[name], dict) for name in names):
            raise CheckpointError("the checkpoint's training state is malformed")
        given = {name: parts[name] for name in names}
        return TrainingState(**given, environments=states, why_not=str(why_not))
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the checkpoint's training state is malformed: {error}") from error


def _present(model: BaseAlgorithm, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: vars(model)[name] for name in names if vars(model).get(name) is not None}


def _is_plain(value: Any) -> bool:
    try:
        plain.encode(value, {})
    except plain.NotPlainError:
        return False
    return True


def _random_states(device: th.device) -> dict[str, Any]:
    states = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": th.get_rng_state(),
    }
    if device.type != "cpu":
        states[device.type] = th.get_device_module(device).get_rng_state(device)
    return states


def _set_random_states(states: dict[str, Any], device: th.device) -> None:
    try:
        random.setstate(states["python"])
        np.random.set_state(states["numpy"])
        th.set_rng_state(states["torch"])
        if device.type != "cpu" and device.type in states:
            th.get_device_module(device).set_rng_state(states[device.type], device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint's random states are malformed: {error}") from error
