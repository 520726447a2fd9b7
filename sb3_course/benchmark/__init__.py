"""The benchmark suite: from one grid file to tidy returns, interval estimates, figures and a page.

===============  ===============================================================================
package          its one idea
===============  ===============================================================================
``definition``   what is to be run: the grid file, and checks of all that it names
``execution``    runs happen: processes, queue, progress; it knows no statistics
``storage``      what has been run, and with what
``statistics``   from stored returns to estimates with intervals
``reporting``    tables, figures and pages of these estimates
``api``          the suite from Python: ``run_grid``, ``load_results``, ``write_report``
===============  ===============================================================================

Imports go ``reporting → statistics → storage ← execution → definition``. Importing this package
imports none of them, so that the command line starts at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sb3_course.benchmark.api import load_results, run_grid, write_report

__all__ = ["load_results", "run_grid", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("sb3_course.benchmark.api"), name)
