"""The names of what steps environments. This module imports neither torch nor SB3."""

from typing import Literal, TypeAlias

Backend: TypeAlias = Literal["auto", "envpool", "dummy", "subproc"]
