"""Names of the backends that step environments. This module imports neither torch nor SB3."""

from typing import Literal, TypeAlias

Backend: TypeAlias = Literal["auto", "envpool", "dummy", "subproc", "gymnasium"]
