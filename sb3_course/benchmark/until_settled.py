"""Add seeds to a grid in rounds, until its questions are settled by a sequential test."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count, islice
from pathlib import Path

from rich.console import Console

from sb3_course.benchmark.definition.field_types import MAX_SEED, MAX_SEEDS
from sb3_course.benchmark.definition.grid import Grid, load_grid
from sb3_course.benchmark.definition.yaml_source import GridSource, Source
from sb3_course.benchmark.plan import (
    GridOutcome,
    GridPlan,
    plan_grid,
    publish_grid,
)
from sb3_course.benchmark.statistics.analysis import complete_runs
from sb3_course.benchmark.statistics.answers import answers
from sb3_course.benchmark.statistics.design import design_of
from sb3_course.benchmark.storage.grids import stored_grid
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.returns_table import tidy
from sb3_course.benchmark.storage.rounds import Rounds, read_rounds, with_rounds, write_rounds
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError

Execute = Callable[[GridPlan], GridOutcome]


def in_rounds(
    grid: GridSource,
    max_seeds: int,
    results: Path,
    execute: Execute,
    console: Console,
    keep: bool = False,
) -> GridOutcome:
    """Run a grid with more and more seeds, until each of its questions is settled.

    A round has as many seeds as the grid. After each one, every open question is looked at; the
    algorithms of those that stay open take part in the next round. Of all questions together, at
    most one in twenty grids without any difference ends with one settled, however often they are
    looked at (:mod:`.sequential_test`; the questions share the level equally).

    A question is not looked at, and gets no further round, if a round left no run of one of its
    algorithms: it would stay open for ever.

    :param grid: Grid file, or its content as a mapping
    :param max_seeds: Largest number of seeds of an algorithm, which plans the number of looks
    :param results: Folder of all results
    :param execute: Function that executes the runs of a plan
    :param console: Console on which the answers of each round are shown
    :param keep: Whether to keep finished runs although a module of the user has changed since
    :return: Results of all runs, and the page of the report
    :raises GridError: If the grid has mistakes
    :raises UserError: If it has no questions, fewer seeds are allowed than it has, or its rounds
        were begun with another plan, seeds or questions
    """
    plan_grid(grid, results=results, keep=keep)  # tells mistakes, before a plan is kept
    grid = Source(grid).data  # as it is now: the file may be edited while rounds of it run
    loaded = load_grid(grid)
    folder = results / loaded.name
    rounds = _begun(loaded, max_seeds, folder)
    going, only = _open(grid, results, rounds), list[str]()
    stuck: dict[str, str] = {}
    while True:
        rounds = _kept(folder, _with_another(loaded, rounds, going))
        outcome = execute(plan_grid(grid, only=only, results=results, keep=keep))
        reasons = {q: _not_whole(loaded, rounds, q, outcome.results) for q in going}
        stuck |= {question: why for question, why in reasons.items() if why}
        looked = {q: _rounds_of(loaded, rounds, q) for q in going if q not in stuck}
        rounds = _kept(folder, rounds.model_copy(update={"looked": {**rounds.looked, **looked}}))
        still_open = _open(grid, results, rounds)
        n_settled = len(loaded.questions) - len(still_open)
        console.print(
            f"round {max(rounds.started.values())} of {len(rounds.seeds)}: {n_settled} of "
            f"{len(loaded.questions)} questions settled",
            *(f"\n  open: {question}{stuck.get(question, '')}" for question in still_open),
            markup=False,
            highlight=False,
            sep="",
        )
        going = [
            question
            for question in still_open
            if question not in stuck and rounds.looked.get(question, 0) < len(rounds.seeds)
        ]
        if not going:
            break
        due = {name for question in going for name in loaded.questions[question]}
        only = [f"algorithm={name}" for name in loaded.algorithms if name in due]
    extended, store = stored_grid(grid, results), Store(folder)
    return GridOutcome(store.read(extended.runs()), publish_grid(extended, store))


def _kept(folder: Path, rounds: Rounds) -> Rounds:
    """Write rounds, together with what another command has added to them; return both."""
    other = read_rounds(folder)
    if other is not None:
        started = Counter(rounds.started) | Counter(other.started)  # the higher of two numbers
        looked = Counter(rounds.looked) | Counter(other.looked)
        rounds = rounds.model_copy(update={"started": dict(started), "looked": dict(looked)})
    write_rounds(folder, rounds)
    return rounds


def _not_whole(
    grid: Grid, rounds: Rounds, question: str, results: Sequence[RunResult]
) -> str | None:
    """Return why a question cannot be looked at, since a round left nothing of an algorithm."""
    n_rounds = _rounds_of(grid, rounds, question)
    found = {(*r.spec.names, r.spec.seed) for r in results if r.failure is None}
    tasks = {run[:2] for run in found}
    pair = grid.questions[question]
    shared = [e for e in grid.environments if all((name, e) in tasks for name in pair)]
    for name in pair:
        for seeds in rounds.seeds[:n_rounds]:
            lacking = [
                environment
                for environment in shared or grid.environments
                if not any((name, environment, seed) in found for seed in seeds)
            ]
            if lacking:
                return (
                    f" (no run of {name} on {lacking[0]} finished with seeds "
                    f"{', '.join(map(str, seeds))}; the same command tries them again)"
                )
    return None


def _begun(grid: Grid, max_seeds: int, folder: Path) -> Rounds:
    """Return the rounds that were begun, or new ones, whose seeds no search has chosen by."""
    if not grid.questions:
        raise UserError(
            "--until-settled needs questions: in the grid, as in "
            "`questions: {Is NPG better than A2C?: [NPG, A2C]}`"
        )
    if own := [name for name, algorithm in grid.algorithms.items() if algorithm.seeds is not None]:
        raise UserError(f"--until-settled adds seeds itself: remove `seeds` of {', '.join(own)}")
    block = len(grid.seeds)
    if max_seeds < block:
        raise UserError(f"--max-seeds {max_seeds}; allowed: at least the grid's {block} seeds")
    if max_seeds > MAX_SEEDS:
        raise UserError(f"--max-seeds {max_seeds}; allowed: up to {MAX_SEEDS:,}")
    first, n_more = max(grid.seeds) + 1, max_seeds // block - 1
    search = grid.search
    taken = set() if search is None else {*search.seeds, *search.fresh_seeds()}
    free = list(islice((seed for seed in count(first) if seed not in taken), n_more * block))
    if free and free[-1] > MAX_SEED:
        raise UserError(
            f"--max-seeds {max_seeds} adds seeds from {first} upwards; allowed: seeds up to "
            f"{MAX_SEED}"
        )
    more = [free[i * block : (i + 1) * block] for i in range(n_more)]
    planned = Rounds(seeds=[list(grid.seeds), *more], questions=grid.questions)
    begun = read_rounds(folder)
    if begun is None:
        return planned
    with_rounds(grid, begun)  # the seeds have not changed
    if begun.questions != planned.questions:
        raise UserError(
            f"{folder} was begun with the questions {', '.join(map(repr, begun.questions))}, which "
            "share the level of its test: restore them and their algorithms; otherwise `report` "
            "answers none of them"
        )
    if begun.seeds != planned.seeds:
        n_seeds = sum(map(len, begun.seeds))
        raise UserError(
            f"{folder} was begun with {len(begun.seeds)} rounds of {len(begun.seeds[0])} seeds, "
            f"which the bounds of its test depend on: continue with --max-seeds {n_seeds}"
        )
    return begun


def _rounds_of(grid: Grid, rounds: Rounds, question: str) -> int:
    """Return how many rounds both algorithms of a question have taken part in."""
    return min(rounds.started[name] for name in grid.questions[question])


def _with_another(grid: Grid, rounds: Rounds, open_questions: list[str]) -> Rounds:
    """Start a round: the first one for all, a later one for those of open questions.

    A round that was started and not looked at, since it was interrupted, is gone on with.
    """
    started = {name: max(1, rounds.started.get(name, 1)) for name in grid.algorithms}
    for question in open_questions:
        due = rounds.looked.get(question, 0) + 1
        for name in grid.questions[question]:
            started[name] = max(started[name], min(due, len(rounds.seeds)))
    return rounds.model_copy(update={"started": started})


def _open(grid: GridSource, results: Path, rounds: Rounds) -> list[str]:
    """Return the questions that no look has settled."""
    loaded = stored_grid(grid, results)
    finished = Store(results / loaded.name).read(loaded.runs())
    design = design_of(loaded, rounds=rounds)
    table = tidy([result for result in finished if result.failure is None])
    settled = answers(design, *complete_runs(design, table)).set_index("question")["settled"]
    return [question for question in loaded.questions if not settled[question]]
