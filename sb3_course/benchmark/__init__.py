"""Benchmark suite: from a grid file, or anybody's logs, to returns, interval estimates and reports.

=================  =============================================================================
package            contents
=================  =============================================================================
``definition``     definition of the runs: the grid file, and checks of every name in it
``execution``      execution of the runs: processes, queue, progress
``storage``        results of the runs, and the code and machine that they were made with
``logs``           returns in the logs of other programs
``statistics``     estimates with intervals, computed from stored returns
``reporting``      tables, figures and pages of the estimates
``references``     returns of random actions, the zero of scores
``plan``           what there is to do of a grid, and doing it
``api``            Python interface: ``run_grid``, ``load_results``, ``write_report``
``until_settled``  a grid whose seeds are added in rounds
``tuning``         better settings, searched on seeds that are not published (Optuna)
=================  =============================================================================

Imports go ``reporting → statistics → storage ← execution → definition``, and ``reporting → logs →
storage``. Importing this package imports none of its parts, so that the command line starts fast.
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
