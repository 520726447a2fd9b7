"""Is tuning over several seeds worth its steps? This tuner against RL Zoo's way, at equal steps.

`python benchmarks/tuning/against_one_seed.py` searches the same ranges of NPG on two tasks in both
ways, several times each (with `--tasks CartPole-v1=3 Acrobot-v1=1` so many), and runs every setting
that was chosen on the same fresh seeds:

- *several seeds*: `sb3-course tune`, with all of its steps, those of the confirmation included;
- *one seed*: RL Zoo's `--optimize` (its defaults: TPE, the median pruner, the last evaluation as
  the value, a new seed for each trial), until it has taken as many steps; the best trial is chosen.

The first way may keep the constructor's defaults, which it runs on fresh seeds as well; the second
has no such way out. The table counts how often that was done.

Everything is kept in `results/tuning_against_one_seed`, and the same command continues. The table
at the end is written to `README.md` there.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import Trial, TrialState
from rich.console import Console

from sb3_course.benchmark.definition.grid import RunSpec, load_grid
from sb3_course.benchmark.definition.search import with_settings
from sb3_course.benchmark.execution import runner
from sb3_course.benchmark.execution.evaluation_callback import EvaluationCallback
from sb3_course.benchmark.execution.executors import make_executor
from sb3_course.benchmark.storage.store import Store
from sb3_course.benchmark.tuning.finals import chosen_of
from sb3_course.benchmark.tuning.journal import open_journal
from sb3_course.benchmark.tuning.space import settings_of, suggest
from sb3_course.benchmark.tuning.subject import Subject, subjects_of
from sb3_course.benchmark.tuning.tuner import tune_grid
from sb3_course.building import build
from sb3_course.common.files import write_whole

FOLDER = Path("results/tuning_against_one_seed")
TASKS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {"total_timesteps": 10_000, "n_envs": 8},
    "Acrobot-v1": {"total_timesteps": 20_000, "n_envs": 8, "normalize": True},
}
RANGES = {
    "target_kl": {"low": 0.003, "high": 0.3, "log": True, "decay": [True, False]},
    "n_steps": [8, 16, 32, 64, 128],
    "gamma": [0.9, 0.95, 0.98, 0.99, 0.995],
    "gae_lambda": [0.8, 0.9, 0.95, 0.98, 1.0],
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "cg_damping": {"low": 0.003, "high": 0.3, "log": True},
}
FRESH = 500_000
"""First of the seeds on which every chosen setting is run."""


def grid_of(task: str, repetition: int, trials: int) -> dict[str, Any]:
    """Return the grid that one repetition searches, on seeds of its own.

    :param task: Name of the environment
    :param repetition: Number of the repetition
    :param trials: Number of trials
    :return: Content of a grid file
    """
    first = 1000 * (repetition + 1)
    return {
        "name": f"{task}_{repetition}",
        "seeds": 1,
        "evaluation": {"n_points": 6, "episodes": 5},
        "environments": {task: TASKS[task]},
        "algorithms": {"NPG": {"class": "NPG"}},
        "search": {
            "algorithms": {"NPG": RANGES},
            "trials": trials,
            "seeds": [first, first + 1, first + 2, first + 3],
            "confirm": {"best": 2, "seeds": [first + 10 + i for i in range(4)]},
        },
    }


def several_seeds(grid: dict[str, Any], folder: Path, workers: int) -> tuple[dict[str, Any], int]:
    """Search with several seeds a trial.

    :param grid: Grid with its search
    :param folder: Folder of results
    :param workers: Number of runs at a time
    :return: Chosen settings, and the environment steps of all runs
    """
    outcome = tune_grid(grid, results=folder, workers=workers, console=Console(stderr=True))
    ((subject, finals),) = outcome.finals
    return chosen_of(finals), steps_in(subject, folder / grid["name"] / "tuning")


def steps_in(subject: Subject, folder: Path) -> int:
    """Count the environment steps of the stored runs of a study.

    :param subject: What was tuned
    :param folder: Folder of tuning
    :return: Steps of all runs together
    """
    total = 0
    for line in (folder / "runs.jsonl").read_text().splitlines():
        config = RunSpec.model_validate(json.loads(line)["spec"]).config
        total += config.stop_at or config.total_timesteps
    assert total > 0, subject.label
    return total


class Pruned(EvaluationCallback):
    """Evaluations that are reported to a trial, which ends the run if it is pruned."""

    trial: Trial
    pruned = False

    def _on_step(self) -> bool:
        before = len(self.measurements)
        super()._on_step()
        for measurement in self.measurements[before:]:
            if measurement.step > 0:
                self.trial.report(float(np.mean(measurement.returns)), measurement.step)
                self.pruned = self.trial.should_prune()
        if self.pruned:
            self._pending = []
        return not self.pruned


def one_seed(subject: Subject, folder: Path, budget: int) -> dict[str, Any]:
    """Search with one seed a trial and the median pruner, for a number of environment steps.

    :param subject: What is tuned
    :param folder: Folder of the journal
    :param budget: Environment steps
    :return: Settings of the best trial
    """
    config = subject.grid.config(subject.algorithm, subject.environments[0])
    n_evaluations = len(config.evaluation_steps) - 1
    study = optuna.create_study(
        storage=open_journal(folder),
        study_name="one seed",
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=10, n_warmup_steps=config.evaluation_steps[n_evaluations // 3]
        ),
        load_if_exists=True,
    )
    for left in study.get_trials(states=(TrialState.RUNNING,)):  # of a killed command
        study.tell(left.number, state=TrialState.FAIL)
    while (done := sum(t.user_attrs.get("steps", 0) for t in study.trials)) < budget:
        number = len(study.trials)
        seed = subject.search.seeds[0] + 100 + number
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        trial = study.ask()
        suggest(trial, subject.ranges)
        params = with_settings(config.params, settings_of(trial.params, subject.ranges))
        steps, value, pruned = _train(subject, config, params, seed, trial)
        trial.set_user_attr("steps", steps)
        if pruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, value)
        print(f"one seed: trial {number}: {value:,.1f}, {done + steps:,} of {budget:,} steps")
    return settings_of(study.best_trial.params, subject.ranges)


def _train(
    subject: Subject, config: Any, params: dict[str, Any], seed: int, trial: Trial
) -> tuple[int, float, bool]:
    (spec,) = [s for s in subject.runs({}, subject.rungs[-1]) if s.seed == subject.search.seeds[0]]
    model = build("NPG", params, spec.env, config.n_envs, seed, config.backend, config.normalize)
    callback = Pruned(spec.env, config.evaluation_steps, config.evaluation_episodes, seed)
    callback.trial = trial
    model.learn(config.total_timesteps, callback=callback)
    value = float(np.mean(callback.measurements[-1].returns))
    env = model.get_env()
    assert env is not None
    env.close()
    return min(model.num_timesteps, config.total_timesteps), value, callback.pruned


def judged(
    task: str, settings: Sequence[dict[str, Any]], seeds: int, workers: int
) -> list[list[float]]:
    """Run chosen settings on fresh seeds.

    :param task: Name of the environment
    :param settings: Chosen settings
    :param seeds: Number of seeds
    :param workers: Number of runs at a time
    :return: Final return of each run, by setting
    """
    content = {key: value for key, value in grid_of(task, 0, 1).items() if key != "search"}
    content["seeds"] = [FRESH + i for i in range(seeds)]
    content["algorithms"] = {
        f"setting {i}": {"class": "NPG", "params": with_settings({}, each)}
        for i, each in enumerate(settings)
    }
    grid = load_grid(content | {"name": f"judged_{task}"})
    store = Store(FOLDER / grid.name)
    specs = grid.runs()
    if todo := runner.to_do(specs, store):
        executor = make_executor("local", grid, store.folder, len(todo), workers)
        runner.run_all(todo, store, executor, Console(stderr=True))
    store.pack()
    returns: dict[str, list[float]] = {}
    for result in store.read(specs):
        value = float(np.mean(result.measurements[-1].returns)) if result.measurements else np.nan
        returns.setdefault(result.spec.algorithm, []).append(value)
    return [returns[f"setting {i}"] for i in range(len(settings))]


def repeated(text: str) -> tuple[str, int]:
    """Read a task and its number of searches.

    :param text: Name of the task, or ``NAME=NUMBER``
    :return: Name and number
    :raises argparse.ArgumentTypeError: It is another task
    """
    task, _, number = text.partition("=")
    if task not in TASKS:
        raise argparse.ArgumentTypeError(f"{task}; allowed: {', '.join(TASKS)}")
    return task, int(number or 5)


def main() -> None:
    """Search in both ways, judge, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tasks", nargs="+", type=repeated, default=[(t, 5) for t in TASKS])
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = []
    for task, repetitions in given.tasks:
        chosen: dict[str, list[dict[str, Any]]] = {"several seeds": [], "one seed": []}
        steps = []
        for repetition in range(repetitions):
            grid = grid_of(task, repetition, given.trials)
            settings, taken = several_seeds(grid, FOLDER, given.workers)
            (subject,) = subjects_of(load_grid(grid), {})
            folder = FOLDER / grid["name"] / "one_seed"
            chosen["several seeds"].append(settings)
            chosen["one seed"].append(one_seed(subject, folder, taken))
            steps.append(taken)
        every = [each for way in chosen.values() for each in way]
        values = np.array(judged(task, every, given.seeds, given.workers)).mean(axis=1)
        several, one = values[:repetitions], values[repetitions:]
        gap = several - one
        spread = f" ± {gap.std(ddof=1) / np.sqrt(len(gap)):,.1f}" if len(gap) > 1 else ""
        rows.append(
            f"| {task} | {np.mean(steps):,.0f} | {several.mean():,.1f} | {one.mean():,.1f} | "
            f"{gap.mean():+,.1f}{spread} | {(gap > 0).sum()} of {len(gap)} | "
            f"{sum(not each for each in chosen['several seeds'])} | "
            f"{', '.join(f'{v:,.0f}' for v in several)} | {', '.join(f'{v:,.0f}' for v in one)} |"
        )
    head = (
        "# Tuning over several seeds, against one seed a trial, at equal environment steps\n\n"
        f"NPG, {given.trials} trials; mean final return of the chosen settings on {given.seeds} "
        "fresh seeds. Made by `benchmarks/tuning/against_one_seed.py`.\n\n"
        "| task | steps of a search | several seeds | one seed | difference | better in "
        "| defaults kept by several | each of several | each of one |\n"
        "|---|---:|---:|---:|---:|---:|---:|---|---|\n"
    )
    text = head + "\n".join(rows) + "\n"
    write_whole(FOLDER / "README.md", text)
    print(text)


if __name__ == "__main__":
    main()
