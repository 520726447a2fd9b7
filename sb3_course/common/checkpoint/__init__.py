"""One-file checkpoints: SB3's zip, and what SB3 leaves out of it.

======================  ============================================================================
member                  content
======================  ============================================================================
SB3's own               attributes in ``data`` (JSON with pickles), weights and optimizers in
                        ``*.pth``, which SB3 reads with ``torch.load(weights_only=True)``
``sb3_course.json``     class, environment, settings of ``VecNormalize``, plain attributes, digests
``attributes.npz``      arrays of the plain attributes
``vec_normalize.npz``   statistics of ``VecNormalize``
``training_state.*``    what an exact continuation needs (:mod:`.training_state`)
``environments.pkl``    states of the environments, the one pickle of ours (:mod:`.environments`)
======================  ============================================================================
"""

import tempfile
from pathlib import Path

from sb3_course.common.checkpoint.archive import (
    CheckpointError,
    CheckpointPath,
    Members,
    as_zip,
    is_sealed_here,
    pack_arrays,
    read_members,
    reading,
    resolve,
    unpack_arrays,
    write_members,
)
from sb3_course.common.checkpoint.description import description_of, remember
from sb3_course.common.checkpoint.header import (
    LIBRARIES,
    checked_header,
    describe,
    normalization_of,
    plain_attributes,
    read_header,
    sb3_data,
)
from sb3_course.common.checkpoint.normalization import (
    Normalize,
    normalization_in,
    wrap_normalized,
    wrappers_above,
)
from sb3_course.common.errors import UserError

__all__ = [
    "LIBRARIES",
    "CheckpointError",
    "CheckpointPath",
    "Members",
    "Normalize",
    "as_zip",
    "checked_header",
    "describe",
    "description_of",
    "is_sealed_here",
    "normalization_in",
    "normalization_of",
    "pack_arrays",
    "place_to_save",
    "plain_attributes",
    "read_header",
    "read_members",
    "reading",
    "remember",
    "resolve",
    "sb3_data",
    "unpack_arrays",
    "wrap_normalized",
    "wrappers_above",
    "write_members",
]


def place_to_save(path: Path) -> Path:
    """Check that a model can be saved, before it is trained.

    :param path: File to save to; ``.zip`` is added to a path without suffix, and missing folders
        are created
    :return: Path of the file
    :raises UserError: If the file cannot be written
    """
    given, path = path, resolve(path)
    try:
        if given.is_dir():
            raise UserError(f"--out: {given} is a folder; allowed: a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise UserError(f"--out: {path} cannot be written; allowed: a file, not a folder")
        # Permissions do not tell all: a file system may be full, or mounted for reading alone.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:
            file.write(b"x")
    except OSError as error:
        raise UserError(f"--out: {path} cannot be written ({error.strerror})") from error
    return path
