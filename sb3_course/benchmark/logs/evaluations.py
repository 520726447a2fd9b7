"""The file ``evaluations.npz`` that SB3's ``EvalCallback`` writes."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib import format as npy
from numpy.typing import NDArray

from sb3_course.benchmark.logs.points import LARGEST_LOG, points
from sb3_course.common.errors import UserError, in_words

NEEDED = ("timesteps", "results")


def read_evaluations(path: Path) -> pd.DataFrame:
    """Read the evaluations of a run.

    :param path: File with ``timesteps`` of shape (n_evaluations,), ``results`` and perhaps
        ``ep_lengths``, both of shape (n_evaluations, n_episodes)
    :return: Points of the run, see :func:`.points`; training times are unknown
    :raises UserError: The file is not such a file; gives the reason alone
    """
    arrays = _arrays(path)
    lacking = [name for name in NEEDED if name not in arrays]
    if lacking:
        raise UserError(f"without {' and '.join(lacking)}, so no file of SB3's EvalCallback")
    steps, returns = arrays["timesteps"], arrays["results"]
    lengths = arrays.get("ep_lengths")
    if steps.ndim != 1 or returns.ndim != 2 or len(steps) != len(returns) or not returns.shape[1]:
        raise UserError(
            f"timesteps of shape {steps.shape} and results of shape {returns.shape}; allowed: "
            "(n_evaluations,) and (n_evaluations, n_episodes)"
        )
    if lengths is not None and lengths.shape != returns.shape:
        lengths = None
    with np.errstate(all="ignore"):  # returns that are not finite are told by `points`
        return points(
            steps,
            returns.mean(axis=1),
            deviations=returns.std(axis=1),
            lengths=None if lengths is None else lengths.mean(axis=1),
            episodes=returns.tolist(),
        )


def _arrays(path: Path) -> Mapping[str, NDArray[np.float64]]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > LARGEST_LOG:
                raise UserError(f"{size:,} bytes of arrays; allowed: {LARGEST_LOG:,}")
            names = {name: name.removesuffix(".npy") for name in archive.namelist()}
            return {
                name: _array(archive, member)
                for member, name in names.items()
                if name in (*NEEDED, "ep_lengths")
            }
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError("removed meanwhile") from None
    except Exception as error:  # zipfile and NumPy raise any kind where bytes are wrong
        raise UserError(f"damaged, or still being written ({in_words(error)[:200]})") from error


def _array(archive: zipfile.ZipFile, member: str) -> NDArray[np.float64]:
    """Read one array of numbers; what its header says is checked before memory is taken."""
    size = archive.getinfo(member).file_size
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            raise UserError(f"{member} has version {version} of NumPy's format")
        shape, _, dtype = read(file)
    if dtype.hasobject:
        raise UserError(f"{member} holds pickled objects, which could run any code")
    if dtype.kind not in "iuf":
        raise UserError(f"{member} holds {dtype}; allowed: numbers")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > size:
        raise UserError(f"{member} is shorter than its shape {shape}")
    with archive.open(member) as file:
        array = npy.read_array(file, allow_pickle=False)
    return np.asarray(array, dtype=np.float64)
