"""Names of the backends that step environments. This module imports neither torch nor SB3."""

import os
from typing import Literal, TypeAlias

Backend: TypeAlias = Literal["auto", "envpool", "dummy", "subproc", "gymnasium"]


def usable_cores() -> int:
    """Return the number of cores that this process may run on.

    :return: Number of cores, at least 1
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
