"""A Slurm array: one script, whose tasks are commands that work on one grid.

Each task runs ``sb3-course run`` and takes the runs that no other one has. Slurm puts a task that
it preempts, or whose node fails, back into its queue; one that runs out of time does so itself. It
then goes on, each interrupted run from its last checkpoint.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from sb3_course.benchmark.definition.grid import Grid
from sb3_course.common.errors import UserError

LEAD = 120
"""Seconds before the time limit at which Slurm warns a task; its signals may come 60 s early."""
MOST_RESTARTS = 100
"""How often a task that has run out of time puts itself back into the queue."""
OF_THE_SCRIPT = (
    *("array", "cpus-per-task", "dependency", "job-name", "nodes", "no-requeue", "ntasks"),
    *("open-mode", "output", "parsable", "requeue", "signal", "time"),
)
"""Options of sbatch that the script sets itself."""
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_SCRIPT = Template(
    r"""#!/bin/bash
# Written by: $command
# Submit it from this folder: bash FILE. It submits an array of $tasks tasks, each of which executes
# runs of the grid that no other task has, and a job that writes the report after them.
$headers
set -euo pipefail

case "$${1:-submit}" in
submit)
  mkdir -p $logs
  array=$$(sbatch --parsable --array=0-$last --cpus-per-task=$cpus --requeue \
    --signal=B:USR1@$lead "$$0" run)
  # After any end: a report says which runs have failed or are missing.
  report=$$(sbatch --parsable --dependency="afterany:$${array%%;*}" --cpus-per-task=1 "$$0" report)
  echo "submitted: array $${array%%;*}, report $${report%%;*}"
  ;;
run)
  command= out_of_time= stopped= signaled=
  stop() {
    stopped=yes signaled=yes
    [ -z "$$command" ] || kill -TERM "$$command" || true
  }
  # The time limit is near: stop, and let Slurm start this task again.
  trap 'out_of_time=yes; stop' USR1
  # Preempted or canceled: stop. What it preempts, Slurm starts again by itself.
  trap stop TERM
  $run &
  command=$$!
  [ -z "$$stopped" ] || stop # a signal came before there was a command
  while # a signal ends the wait with a code of its own, which is not the command's
    signaled= code=0
    wait "$$command" || code=$$?
    [ -n "$$signaled" ]
  do :; done
  if [ -n "$$out_of_time" ] && [ "$$code" -ne 0 ] &&
    [ "$${SLURM_RESTART_COUNT:-0}" -lt $most_restarts ]; then
    scontrol requeue "$$SLURM_JOB_ID"
  fi
  exit "$$code"
  ;;
report)
  $report
  ;;
*)
  echo "usage: bash FILE" >&2
  exit 2
  ;;
esac
"""
)


@dataclass(frozen=True)
class SlurmArray:
    """What a Slurm array asks for.

    :param tasks: Number of tasks, each of which may run on another machine
    :param time: Time limit of a task, as sbatch takes it: minutes, ``4:00:00``, ``1-12``
    :param cpus: CPUs of a task, on each of which one run executes at a time
    :param options: Further options of sbatch without their dashes, as in ``partition=long``
    :raises UserError: If one of them is none
    """

    tasks: int
    time: str
    cpus: int = 1
    options: Sequence[str] = ()

    def __post_init__(self) -> None:
        seconds_of(self.time)
        for option in self.options:
            if not re.fullmatch(r"[a-z][a-z-]*(=[^\s\"'\\]+)?", option):
                raise UserError(
                    f"--sbatch {option!r}; allowed: an option without dashes, spaces and quotes, "
                    "as in partition=long"
                )
            name = option.partition("=")[0]
            if name in OF_THE_SCRIPT:
                raise UserError(f"--sbatch {option!r}: the script sets {name} itself")


def seconds_of(time: str) -> int:
    """Return a time limit of Slurm in seconds.

    :param time: ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M`` or ``D-H:M:S``
    :return: Seconds
    :raises UserError: If it is anything else, or no longer than the warning before its end
    """
    found = _TIME.fullmatch(time)
    if found is None:
        raise UserError(f"--time {time!r}; allowed: minutes, or a time as in 4:00:00 or 1-12:00")
    days, *rest = found.groups()
    given = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, minutes, seconds = [*given, 0, 0][:3]
    elif len(given) == 3:
        hours, minutes, seconds = given
    else:
        hours, (minutes, seconds) = 0, [*given, 0][:2]
    total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    if total <= 2 * LEAD:
        raise UserError(f"--time {time!r} is {total} s; allowed: more than {2 * LEAD} s")
    return total


def script(
    grid: Grid, file: Path, array: SlurmArray, results: Path, command: str = "sb3-course slurm"
) -> str:
    """Return the script that submits an array, and that its tasks are.

    :param grid: Grid
    :param file: Its file, as found from the folder of submission
    :param array: What the array asks for
    :param results: Folder of all results, which all machines share
    :param command: Command that wrote the script, for its first line
    :return: Text for bash
    :raises UserError: If the folder of results has a name that sbatch does not take
    """
    logs = results / grid.name / "logs"
    if not str(logs).isprintable() or set(str(logs)) & set('"\\'):
        raise UserError(
            f"--results {str(results)!r}; allowed: a path without quotes and backslashes"
        )
    where = ["--results", str(results)]
    run = ["sb3-course", "run", str(file), "--workers", str(array.cpus), "--no-wait", *where]
    output = str(logs / "slurm-").replace("%", "%%") + "%x-%j.out"
    headers = [
        f"--job-name={grid.name}",
        f'--output="{output}"',
        "--open-mode=append",
        "--nodes=1",
        "--ntasks=1",
        f"--time={array.time}",
        *(f"--{option}" for option in array.options),
    ]
    return _SCRIPT.substitute(
        command=" ".join(command.split()),
        tasks=array.tasks,
        last=array.tasks - 1,
        headers="\n".join(f"#SBATCH {header}" for header in headers),
        logs=shlex.quote(str(logs)),
        cpus=array.cpus,
        lead=LEAD,
        run=shlex.join(run),
        report=shlex.join(["sb3-course", "report", str(file), *where]),
        most_restarts=MOST_RESTARTS,
    )


def notes(grid: Grid, array: SlurmArray) -> list[str]:
    """Return what the user of an array should know before submitting it.

    :param grid: Grid
    :param array: What the array asks for
    :return: Lines, none where all is well
    """
    lines, n_runs = [], len(grid.runs())
    if array.tasks * array.cpus > n_runs:
        lines.append(
            f"{array.tasks} tasks of {array.cpus} CPUs for {n_runs} runs: "
            f"{array.tasks * array.cpus - n_runs} CPUs have nothing to do"
        )
    if grid.checkpoint_every is None:
        hours = seconds_of(array.time) / 3600
        lines.append(
            "the grid has no checkpoint_every: a run that is interrupted starts anew, and one that "
            f"takes more than --time {array.time} ({hours:g} h) never ends"
        )
    return lines
