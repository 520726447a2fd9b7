"""RL Zoo's command line with this package's algorithms."""

import runpy
import sys
from importlib import import_module
from typing import Any

from sb3_course.common.errors import UserError, show_anywhere, unknown
from sb3_course.zoo.registration import register

COMMANDS = ("train", "enjoy", "plot_train", "plot_from_file", "all_plots")
"""What RL Zoo's own command runs."""
MODULES = ("record_video", "push_to_hub", "load_from_hub")
"""What RL Zoo runs as ``python -m rl_zoo3.NAME``, but what starts processes of RL Zoo alone."""


def main() -> None:
    """Run a command of RL Zoo, whose options follow its name; exit if there is no such command."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in (*COMMANDS, *MODULES):
        sys.exit("sb3_course.zoo: " + unknown("command of RL Zoo", command, (*COMMANDS, *MODULES)))
    try:
        register()
        zoo: Any = import_module("rl_zoo3.cli") if command in COMMANDS else None
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install 'sb3-course[zoo]'")
    if command in COMMANDS:
        zoo.main()
    else:
        del sys.argv[1]
        runpy.run_module(f"rl_zoo3.{command}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    show_anywhere()
    try:
        main()
    except UserError as error:  # of hyper-parameters
        sys.exit(f"sb3_course.zoo: {error}")
