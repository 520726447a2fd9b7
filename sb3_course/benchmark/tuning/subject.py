"""What one study is about: an algorithm, its environments, and the runs of a setting."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sb3_course.benchmark.definition.grid import Grid, RunConfig, RunSpec
from sb3_course.benchmark.definition.search import Ranges, Search, same_choice, with_settings
from sb3_course.benchmark.statistics import metrics
from sb3_course.benchmark.statistics.environments import (
    at_the_end,
    best_of_the_run,
    over_the_run,
)
from sb3_course.benchmark.statistics.scores import Reference, references_of
from sb3_course.benchmark.storage.references import read_references
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.tuning.rungs import Rung, rungs_of, stop_of
from sb3_course.benchmark.tuning.space import params_of, settings_of, settings_of_grid
from sb3_course.common.errors import UserError

OBJECTIVES = {"final": at_the_end, "mean": over_the_run, "best": best_of_the_run}


@dataclass(frozen=True)
class Subject:
    """An algorithm of a grid that is tuned on one environment, or on several together.

    :param grid: Grid with a search
    :param search: Its search
    :param algorithm: Name of the algorithm in the grid
    :param environments: Names of environments in the grid
    :param references: Reference returns, for scores; of several environments each has some
    """

    grid: Grid
    search: Search
    algorithm: str
    environments: Sequence[str]
    references: Mapping[str, Reference]

    @property
    def ranges(self) -> Ranges:
        """Values that are tried."""
        return self.search.algorithms[self.algorithm]

    @property
    def label(self) -> str:
        """Name in tables and messages."""
        where = self.environments[0] if not self.search.shared else "all environments"
        return f"{self.algorithm} on {where}"

    @cached_property
    def rungs(self) -> list[Rung]:
        """Rungs that a setting goes through; no first look where it would be a whole run."""
        first, *others = rungs_of(self.search)
        steps = [self._config(name).evaluation_steps for name in self.environments]
        looks = any(stop_of(each, first.fraction) is not None for each in steps)
        return [first, *others] if first.fraction == 1 or looks else others

    @property
    def name(self) -> str:
        """Name of the study, with a hash of what its values depend on: ranges, seeds, steps, scale.

        Numbers of trials and what follows them are not among them.
        """
        facts = {
            "search": self.search.model_dump(
                mode="json", exclude={"trials", "confirm", "algorithms", "sensitivity"}
            ),
            "ranges": {key: value.model_dump(mode="json") for key, value in self.ranges.items()},
            "configs": [self._config(name).model_dump(mode="json") for name in self.environments],
        }
        if self.search.shared:
            scales = {name: self.references[name] for name in self.environments}
            facts["scales"] = {name: (r.random, r.expert) for name, r in scales.items()}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return f"{self.label} {digest[:12]}"

    @cached_property
    def own_settings(self) -> dict[str, Any]:
        """Values that the grid has of what is searched; none where its environments differ."""
        first, *others = (
            settings_of_grid(config.algorithm_class, config.params, self.ranges)
            for config in map(self._config, self.environments)
        )
        return first if all(same_choice(first, other) for other in others) else {}

    @cached_property
    def own_params(self) -> dict[str, Any] | None:
        """What Optuna holds of these; None if they are not among the values that are tried."""
        return params_of(self.own_settings, self.ranges) if self.own_settings else None

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the hyper-parameters of a trial by name.

        :param params: What Optuna holds of the trial
        :return: Values as in a grid; none for a trial of the grid's own, however they are written
        """
        return {} if params == self.own_params else settings_of(params, self.ranges)

    @property
    def rung_names(self) -> list[str]:
        """Names of the rungs, such as ``1 seed, 33% of the steps`` where runs are stopped early."""
        names = []
        for rung in self.rungs:
            configs = [spec.config for spec in self.runs({}, rung)]
            share = min((c.stop_at or c.total_timesteps) / c.total_timesteps for c in configs)
            part = "" if rung.fraction == 1 else f", {share:.0%} of the steps"
            names.append(f"{rung.n_seeds} seed{'s' * (rung.n_seeds > 1)}{part}")
        return names

    @property
    def most_runs(self) -> int:
        """Number of runs of all trials, if none is stopped early."""
        return self.search.trials * len(self.search.seeds) * len(self.environments)

    def runs(self, settings: Mapping[str, Any], rung: Rung) -> list[RunSpec]:
        """Return the runs of a setting on a rung.

        :param settings: Hyper-parameters by name, as of :func:`.settings_of`
        :param rung: Rung
        :return: Runs on every environment
        """
        return self._runs(settings, self.search.seeds[: rung.n_seeds], rung.fraction)

    def fresh_runs(self, settings: Mapping[str, Any]) -> list[RunSpec]:
        """Return the runs of a setting on seeds that no trial has seen.

        :param settings: Hyper-parameters by name
        :return: Whole runs on every environment
        """
        return self._runs(settings, self.search.fresh_seeds(), 1.0)

    def expected_steps(self) -> int:
        """Return about how many environment steps trials and fresh seeds take."""
        trials, total, known = float(self.search.trials), 0.0, set[str]()
        for rung in self.rungs:
            specs = [spec for spec in self.runs({}, rung) if spec.id not in known]
            total += trials * sum(s.config.stop_at or s.config.total_timesteps for s in specs)
            known.update(spec.id for spec in specs)
            trials = max(trials / self.search.halving, 1.0)
        fresh = sum(spec.config.total_timesteps for spec in self.fresh_runs({}))
        return round(total + (self.search.confirm.best + 1) * fresh)

    def value(self, results: Sequence[RunResult]) -> float:
        """Return what a setting is compared by.

        :param results: Results of its runs
        :return: Mean over seeds of each run's return; for several environments together, the
            interquartile mean of normalized scores over seeds and environments
        """
        if not self.search.shared:
            return float(np.mean([self.run_value(result) for result in results]))
        return float(metrics.iqm(np.array([[self.run_value(r)] for r in results])))

    def run_value(self, result: RunResult) -> float:
        """Return the value of one run: its return at the end, on average, or at best.

        :param result: Result of the run
        :return: Return; for several environments together, the normalized score
        """
        curve = np.array([np.mean(m.returns) for m in result.measurements])
        value = float(OBJECTIVES[self.search.objective](curve))
        if self.search.shared:
            scale = self.references[result.spec.environment]
            value = (value - scale.random) / (scale.expert - scale.random)
        return value

    def _runs(
        self, settings: Mapping[str, Any], seeds: Sequence[int], fraction: float
    ) -> list[RunSpec]:
        found = []
        for environment in self.environments:
            config = self._config(environment)
            stop = stop_of(config.evaluation_steps, fraction)
            steps = [s for s in config.evaluation_steps if stop is None or s <= stop]
            changes = {
                "params": with_settings(config.params, settings),
                "evaluation_steps": steps,
                "stop_at": stop,
            }
            changed = config.model_copy(update=changes)
            found += [
                RunSpec(
                    algorithm=self.algorithm, environment=environment, seed=seed, config=changed
                )
                for seed in seeds
            ]
        return found

    def _config(self, environment: str) -> RunConfig:
        return self.grid.config(self.algorithm, environment)


def references_for(grid: Grid, results: Path) -> dict[str, Reference]:
    """Return the reference returns of a grid's environments, all of which a shared search needs.

    :param grid: Grid
    :param results: Folder of its results, where they may have been measured
    :return: References by environment
    :raises UserError: If one of them is missing, and settings are compared by scores
    """
    references = references_of(grid, read_references(results)).environments
    unscored = [name for name in grid.environments if name not in references]
    if grid.search is not None and grid.search.shared and unscored:
        raise UserError(
            f"search.shared compares normalized scores, and {', '.join(unscored)} has no reference "
            "returns: add `references` to the grid, and run `sb3-course references`"
        )
    return references


def subjects_of(grid: Grid, references: Mapping[str, Reference]) -> list[Subject]:
    """Return what the search of a grid has studies of.

    :param grid: Grid with a search
    :param references: Reference returns of its environments
    :return: One for each algorithm, or for each algorithm on each environment
    """
    search = grid.search
    assert search is not None, "a grid with a search"
    names = list(grid.environments)
    parts = [names] if search.shared else [[name] for name in names]
    return [
        Subject(grid, search, algorithm, part, references)
        for algorithm in search.algorithms
        for part in parts
    ]
