"""One-file checkpoints: SB3's zip, and what SB3 leaves out of it.

======================  ============================================================================
member                  content
======================  ============================================================================
SB3's own               attributes in ``data`` (JSON with pickles), weights and optimizers in
                        ``*.pth``, which SB3 reads with ``torch.load(weights_only=True)``
``sb3_course.json``     class, environment, settings of ``VecNormalize``, plain attributes, digests
``attributes.npz``      arrays of the plain attributes
``vec_normalize.npz``   statistics of ``VecNormalize``
``demonstrations.npz``  observations and expert's actions of BC and DAgger
``training_state.*``    what an exact continuation needs (:mod:`.training_state`)
``environments.pkl``    states of the environments, the one pickle of ours (:mod:`.environments`)
======================  ============================================================================
"""

from sb3_course.common.checkpoint.archive import (
    CheckpointError,
    CheckpointPath,
    Members,
    NeedsPickleError,
    as_zip,
    existing,
    is_sealed_here,
    pack_arrays,
    place_to_save,
    read_members,
    reading,
    resolve,
    unpack_arrays,
    write_members,
)
from sb3_course.common.checkpoint.description import description_of, remember, remember_env
from sb3_course.common.checkpoint.header import (
    LIBRARIES,
    check_arguments,
    check_class,
    checked_header,
    describe,
    freeze,
    normalization_of,
    plain_attributes,
    read_header,
    sb3_data,
)
from sb3_course.common.checkpoint.normalization import (
    Normalize,
    keep_frozen,
    normalization_in,
    normalize_as_saved,
    normalizes_obs,
    wrap_normalized,
    wrappers_above,
)

__all__ = [
    "LIBRARIES",
    "CheckpointError",
    "CheckpointPath",
    "Members",
    "NeedsPickleError",
    "Normalize",
    "as_zip",
    "check_arguments",
    "check_class",
    "checked_header",
    "describe",
    "description_of",
    "existing",
    "freeze",
    "is_sealed_here",
    "keep_frozen",
    "normalization_in",
    "normalization_of",
    "normalize_as_saved",
    "normalizes_obs",
    "pack_arrays",
    "place_to_save",
    "plain_attributes",
    "read_header",
    "read_members",
    "reading",
    "remember",
    "remember_env",
    "resolve",
    "sb3_data",
    "unpack_arrays",
    "wrap_normalized",
    "wrappers_above",
    "write_members",
]
