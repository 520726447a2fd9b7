"""How fast everything is: our classes beside their peers and beside what bounds them.

    python benchmarks/speed/table.py                  # every row, into results/speed: 25 minutes
    python benchmarks/speed/table.py --quick          # does every row work? Prints alone
    python benchmarks/speed/table.py --row online --row bc --n-envs 32 --rounds 10 --out ''
    python benchmarks/speed/table.py --without tianshou-npg

Contenders of a row alternate in one process (``turns.py``); each repetition has processes of its
own. What is measured again replaces the stored cells, the others stay: each says with which commit,
versions and processor, and how busy the machine was. ``rows.py`` lists the rows.
"""

import os
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import summary
import tianshou_peer
import typer
from rich.console import Console
from rows import COUNTS, ROWS, Cell
from turns import Contender, alternate

RESULTS = Path(__file__).resolve().parents[2] / "results" / "speed"
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
IMITATION = ("bc", "bc32", "dagger")


def measure(row: str, cell: Cell, rounds: int, seconds: float, peer: Path) -> dict[str, Any]:
    """Measure a row in one cell; called in a process of its own."""
    import tempfile
    import warnings

    import torch as th

    from sb3_course.benchmark.storage import provenance

    warnings.filterwarnings("ignore")
    th.set_num_threads(1)
    load = os.getloadavg()[0]
    versions: dict[str, str | None] = provenance.versions()
    with ExitStack() as stack:
        tempfile.tempdir = stack.enter_context(tempfile.TemporaryDirectory())
        stack.callback(setattr, tempfile, "tempdir", None)
        names = [name for name in ROWS[row].contenders if not name.startswith("Tianshou")]
        contenders: dict[str, Contender] = {name: local(row, name, cell) for name in names}
        if row.startswith("tianshou"):
            made = {ROWS[row].reference: peer_settings(row, cell)}
            started = tianshou_peer.tianshou(tianshou_peer.environment(peer), made)
            remote, their_versions = stack.enter_context(started)
            contenders |= remote
            versions |= {f"Tianshou's {name}": number for name, number in their_versions.items()}
        turns = alternate(contenders, rounds, seconds)
    return {
        "row": row,
        "cell": asdict(cell),
        "turns": {name: [turn._asdict() for turn in took] for name, took in turns.items()},
        "git_commit": provenance.git_commit(),
        "load_before": round(load, 2),
        "machine": provenance.machine(),
        "versions": versions,
    }


def local(row: str, name: str, cell: Cell) -> Contender:
    """Make a contender of this process; imports only what the row needs."""
    if row in IMITATION:
        import imitators

        return imitators.contender(name, cell)
    import learners

    return learners.contender(name, cell)


def peer_settings(row: str, cell: Cell) -> dict[str, Any]:
    """Return what Tianshou's learner is made with: the same batch and as many threads as ours."""
    import learners

    steps = {
        "tianshou-reinforce": learners.EPISODE_STEPS * cell.n_envs,
        "tianshou-online": 5 * cell.n_envs,
    }.get(row, learners.BATCH)
    threads = min(cell.n_envs, len(os.sched_getaffinity(0)))
    return {"env_id": cell.env_id, "n_envs": cell.n_envs, "threads": threads, "steps": steps}


def plan(rows: Iterable[str], counts: Iterable[int]) -> list[tuple[str, Cell]]:
    """List what to measure; a cell without environments is always among it."""
    wanted = {0, *counts}
    return [(row, cell) for row in rows for cell in ROWS[row].cells if cell.n_envs in wanted]


def main(
    row: Annotated[
        list[str] | None, typer.Option(help=f"Row to measure, several times: {', '.join(ROWS)}.")
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="Row to leave out.")] = None,
    n_envs: Annotated[
        list[int] | None, typer.Option(help="Count of environments, several times.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = 3,
    repetitions: Annotated[int, typer.Option(min=1, help="Processes of each row.")] = 3,
    seconds: Annotated[float, typer.Option(help="Wall time of a turn, in whole batches.")] = 0.3,
    quick: Annotated[
        bool, typer.Option(help="One short turn at 8 and 32; stores nothing.")
    ] = False,
    out: Annotated[str, typer.Option(help="Folder; '' to print alone.")] = str(RESULTS),
    peer: Annotated[
        Path, typer.Option(help="Tianshou's Python environment, made where it is missing.")
    ] = tianshou_peer.FOLDER,
) -> None:
    """Measure, print and store."""
    unknown = {*(row or ()), *(without or ())} - ROWS.keys()
    if unknown:
        raise typer.BadParameter(f"no row {', '.join(sorted(unknown))}: {', '.join(ROWS)}")
    if quick:
        n_envs, rounds, repetitions, seconds, out = n_envs or [8, 32], 1, 1, 0.05, ""
    chosen = [name for name in row or ROWS if name not in (without or ())]
    todo = plan(chosen, n_envs or COUNTS)
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    console = Console()
    records: list[dict[str, Any]] = []
    failures = 0
    for repetition in range(repetitions):
        for name in dict.fromkeys(row for row, _ in todo):
            # a process for each row, so that none inherits the memory and threads of another
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                for cell in (cell for row, cell in todo if row == name):
                    where = f"{repetition + 1}/{repetitions} {name}, {cell.task}, {cell.n_envs}"
                    try:
                        done = process.submit(measure, name, cell, rounds, seconds, peer).result()
                    except Exception as error:
                        failures += 1
                        console.print(
                            f"{where}: {type(error).__name__}: {error}", style="red", soft_wrap=True
                        )
                        continue
                    records.append(done | {"repetition": repetition})
                    if out:
                        summary.write(Path(out), summary.merged(summary.read(Path(out)), records))
                    console.print(f"{where}: {outcome(done)}", highlight=False, soft_wrap=True)
    for name, text in summary.pages(records).items():
        if name in ("ratios.md", "counts.md", "bound.md"):
            console.print(f"\n{name}: {text}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1 if failures else 0)


def outcome(record: dict[str, Any]) -> str:
    """Say in a line how the contenders of a cell compare, in CPU time."""
    names = ROWS[record["row"]].contenders[:-1]
    return "; ".join(f"{n} {summary.spread(summary.ratios([record], n, 'cpu'))}" for n in names)


if __name__ == "__main__":
    typer.run(main)
