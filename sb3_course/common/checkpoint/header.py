"""What a checkpoint says of itself in plain JSON: its class, its environment, its attributes."""

import inspect
import json
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from sb3_course.common.checkpoint import plain
from sb3_course.common.checkpoint.archive import (
    SB3_DATA,
    CheckpointError,
    CheckpointPath,
    Members,
    NeedsPickleError,
    header_of,
    pack_arrays,
    read_members,
    unpack_arrays,
)
from sb3_course.common.checkpoint.description import description_of
from sb3_course.common.checkpoint.normalization import STATISTICS, normalization, wrappers_above
from sb3_course.common.errors import unknown
from sb3_course.common.validation import is_own

#: Libraries in which plain names of classes are looked up, in this order.
LIBRARIES = ("sb3_course", "stable_baselines3", "sb3_contrib")
ATTRIBUTES = "attributes.npz"
PICKLED = ":serialized:"
KINDS: dict[str, tuple[type, ...]] = {
    "class": (str,),
    "env": (str, type(None)),
    "env_settings": (dict,),
    "env_unknown": (list,),
    "module": (str,),
    "vec_normalize_class": (str,),
    "attributes": (dict,),
    "pickled": (dict,),
    "frozen": (list,),
}
"""Types of a header's entries; those of ``VecNormalize`` are checked where it is made."""


def describe(algorithm: BaseAlgorithm, members: Members) -> dict[str, Any]:
    """Return the header of a checkpoint, and add the arrays that it refers to.

    :param algorithm: Algorithm of this package or another
    :param members: Content by name of SB3's file, to which arrays are added
    :return: Header
    """
    described = description_of(algorithm)
    header: dict[str, Any] = {
        "class": type(algorithm).__name__,
        "version": version("sb3-course"),
        "env": described.env,
    }
    if described.settings:
        header["env_settings"] = described.settings
    if described.unknown:
        header["env_unknown"] = described.unknown
    module = type(algorithm).__module__
    if module.partition(".")[0] not in (*LIBRARIES, "__main__"):
        header["module"] = module  # where the class of one's own is imported from
    normalized = normalization_of(algorithm)
    if normalized is not None:
        header |= normalized
        members[STATISTICS] = pack_arrays(header.pop("statistics"))
    attributes: dict[str, Any] = {}
    pickled: dict[str, str] = {}
    arrays: dict[str, Any] = {}
    for name, item in json.loads(members[SB3_DATA]).items():
        if not _is_pickled(item):
            continue
        try:
            attributes[name] = plain.encode(getattr(algorithm, name), arrays)
        except plain.NotPlainError as error:
            pickled[name] = str(error)
    if arrays:
        members[ATTRIBUTES] = pack_arrays(arrays)
    return header | {"attributes": attributes, "pickled": pickled, **_frozen(algorithm)}


def _frozen(algorithm: BaseAlgorithm) -> dict[str, list[str]]:
    policy = vars(algorithm).get("policy")
    if policy is None:  # left out of the file
        return {}
    policy = getattr(policy, "_orig_mod", policy)  # of torch.compile, as in SB3's get_parameters
    return {"frozen": [name for name, p in policy.named_parameters() if not p.requires_grad]}


def freeze(algorithm: BaseAlgorithm, header: dict[str, Any]) -> None:
    """Freeze the parameters of a loaded policy that were frozen, and no others.

    :param algorithm: Loaded algorithm
    :param header: Header of its checkpoint; one of a former version names none
    """
    if (frozen := header.get("frozen")) is not None:
        for name, parameter in algorithm.policy.named_parameters():
            parameter.requires_grad_(name not in frozen)


def normalization_of(algorithm: BaseAlgorithm) -> dict[str, Any] | None:
    """Return the normalization that an algorithm learns behind, or was loaded with.

    :param algorithm: Algorithm of this package or another
    :return: What :func:`.wrap_normalized` needs, or None if there is none
    """
    venv = algorithm.get_vec_normalize_env()
    if not isinstance(venv, VecNormalize):
        kept: dict[str, Any] | None = vars(algorithm).get("_normalization")
        return kept  # of a file, loaded without an environment
    above = wrappers_above(algorithm.get_env(), venv)
    return {**normalization(venv), "above_vec_normalize": above}


def read_header(path: CheckpointPath) -> dict[str, Any]:
    """Read a checkpoint's header, with the statistics of ``VecNormalize``.

    :param path: Checkpoint
    :return: Header, with arrays under ``statistics``; empty for a file of another library
    :raises CheckpointError: If the file is not a checkpoint, or is damaged
    :raises FileNotFoundError: If there is no such file
    """
    return checked_header(read_members(path))


def checked_header(members: Members) -> dict[str, Any]:
    """Return a checkpoint's header, with the statistics of ``VecNormalize``.

    :param members: Content by name, from :func:`.read_members`
    :return: Header, with arrays under ``statistics``; empty for a file of another library
    :raises CheckpointError: If its entries are of another type than :func:`describe` writes
    """
    header = header_of(members)
    for name, kinds in KINDS.items():
        if name in header and not isinstance(header[name], kinds):
            raise CheckpointError(f"{name} in the checkpoint's header is {header[name]!r}")
    statistics = unpack_arrays(members, STATISTICS)
    return header | ({"statistics": statistics} if statistics else {})


def plain_attributes(members: Members, given: dict[str, Any]) -> dict[str, Any]:
    """Return a value for each attribute that SB3's part of a checkpoint has pickled.

    As SB3's ``custom_objects`` they keep SB3 from unpickling anything.

    :param members: Content by name, from :func:`.read_members`
    :param given: The user's own ``custom_objects``, which come first
    :return: Values by name
    :raises NeedsPickleError: If there is an attribute that only a pickle holds; says what to do
    """
    header, arrays = checked_header(members), unpack_arrays(members, ATTRIBUTES)
    known = header.get("attributes", {})
    names = [name for name, item in sb3_data(members).items() if _is_pickled(item)]
    missing = [name for name in names if name not in known and name not in given]
    if missing:
        kinds = header.get("pickled", {})
        listed = ", ".join(f"{name} ({kinds.get(name, 'unknown')})" for name in missing)
        to_give = ", ".join(f"{name!r}: …" for name in missing)
        raise NeedsPickleError(
            f"weights_only=True reads no pickle, and only a pickle holds {listed}: pass "
            f"custom_objects={{{to_give}}}, or weights_only=False if you trust the file"
        )
    try:
        return {n: given[n] if n in given else plain.decode(known[n], arrays) for n in names}
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's attributes cannot be read: {error}") from error


def sb3_data(members: Members) -> dict[str, Any]:
    """Return SB3's JSON, with pickles as text, once it is known to be sound.

    :param members: Content by name
    :return: Values by name of the attribute
    :raises CheckpointError: If it is missing or malformed
    """
    try:
        data = json.loads(members[SB3_DATA])
    except KeyError:
        raise CheckpointError("not a checkpoint: SB3's member 'data' is missing") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"SB3's member 'data' is damaged: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError("SB3's member 'data' is damaged: it is not a mapping")
    return data


def _is_pickled(item: Any) -> bool:
    return isinstance(item, dict) and PICKLED in item


def check_class(cls: type[BaseAlgorithm], path: CheckpointPath, saved: str | None) -> None:
    """Refuse a file of another class; a user's class loads the files of its bases as well.

    :param cls: Class that loads the file
    :param path: File, for the message
    :param saved: Class in its header
    :raises CheckpointError: It is another class's
    """
    known = {cls.__name__} if is_own(cls) else {base.__name__ for base in cls.__mro__}
    if saved not in known:
        use = f": use {saved}.load" if saved else ""
        raise CheckpointError(
            f"{path} was saved by {saved or 'another library'}, not by {cls.__name__}{use}"
        )


def check_arguments(cls: type[BaseAlgorithm], given: Iterable[str], saved: Iterable[str]) -> None:
    """Refuse what is neither in the file nor an argument of the constructor.

    :param cls: Class that loads the file
    :param given: Names of attributes to change on loading
    :param saved: Names of attributes in the file
    :raises TypeError: One of them is unknown
    """
    arguments = (inspect.signature(base).parameters for base in cls.__mro__[:-1])
    known = {*saved, *(name for names in arguments for name in names)}
    for name in given:
        if name == "policy":
            raise TypeError(
                "policy is the file's and no argument of load: to load another policy class, pass "
                'custom_objects={"policy_class": ...}'
            )
        if name not in known:
            allowed = {"weights_only", *(n for n in known if not n.startswith("_"))}
            raise TypeError(unknown(f"argument of {cls.__name__}.load", name, allowed))
