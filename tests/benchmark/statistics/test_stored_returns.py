"""Short runs are trained again and compared with stored ones: the fast regression tests.

The false-alarm rate of all comparisons with stored runs together is below 1 in 1,000 for every law
of the returns (``rank_test``). What the tests catch is in ``results/regression_dilemmas/power.md``.
With the stored runs' versions and processor the tests are deterministic.
"""

import importlib.util
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.execution.train_run import attempt
from sb3_course.benchmark.statistics import regression
from sb3_course.benchmark.statistics.hypothesis_tests.rank_test import (
    alarm_probability,
    critical_value,
    size,
)
from sb3_course.benchmark.statistics.regression import Verdict, compare, powers, summary
from sb3_course.benchmark.storage.store import Store

ROOT = Path(__file__).parents[3]
K = 8
"""Number of seeds of each algorithm that are trained again."""
DILEMMAS, PENDULUM = "sb3_course.envs.dilemmas:Dilemmas-v0", "InvertedPendulum-v4"


def stored(name, seeds=K):
    grid = load_grid(ROOT / "benchmarks" / "regression" / f"{name}.yaml")
    return regression.stored_tasks(grid, Store(ROOT / "results" / grid.name), seeds)


def planted_bugs():
    path = ROOT / "benchmarks" / "regression" / "planted_bugs.py"
    spec = importlib.util.spec_from_file_location("planted_bugs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FAST = {**stored("dilemmas"), **stored("inverted_pendulum")}
plants_of = planted_bugs().plants_of


# -- the code as it is ----------------------------------------------------------------------------


@pytest.mark.parametrize("task", FAST, ids=" on ".join)
def test_runs_learn_what_the_stored_ones_did(task):
    """If the numbers are meant to change: ``sb3-course run benchmarks/regression/… --rerun``."""
    runs = FAST[task]
    new = [attempt(run.spec) for run in runs[:2]]
    if compare(runs, new, len(FAST)).verdict is not Verdict.EXACT:  # another machine, or a change
        new += [attempt(run.spec) for run in runs[2:K]]
    comparison = compare(runs, new, len(FAST))
    assert comparison.verdict.good, str(comparison)


def test_every_class_has_stored_runs_and_every_stored_run_records_its_conditions():
    classes = {runs[0].spec.config.algorithm_class for runs in FAST.values()}
    assert classes == {"REINFORCE", "ISPG", "NPG", "BatchActorCritic", "OnlineActorCritic"}
    slow = {**stored("inverted_pendulum_long", 12), **stored("mujoco", 5)}
    for runs in (*FAST.values(), *slow.values()):
        assert all(not run.made_with["git_commit"].endswith("-dirty") for run in runs)
        assert all(regression.same_conditions(runs[0], run) for run in runs)


# -- both errors ----------------------------------------------------------------------------------


def test_a_round_with_correct_code_fails_in_fewer_than_1_in_1000():
    """By the law of the rank test, and by that of the stored runs, without smoothing."""
    share = regression.FALSE_ALARM / len(FAST)
    by_rank, by_stored = 0.0, 0.0
    for runs in FAST.values():
        results = np.array([summary(run) for run in runs])
        n = len(results) - K
        by_rank += 2 * size(n, K, critical_value(n, K, share / 2))
        by_stored += alarm_probability(results[K:], results, K, share)
    assert 1e-4 < by_rank <= 1e-3  # the promise is used, so that the test has power
    assert by_stored <= 1e-3


@pytest.mark.parametrize("task", FAST, ids=" on ".join)
def test_a_policy_that_learns_nothing_is_noticed(task):
    nothing, half = powers(FAST[task], K, regression.FALSE_ALARM / len(FAST))
    assert nothing >= 0.99
    assert half >= 0.9 or task[1] == PENDULUM


def test_the_slow_test_notices_a_loss_of_half_of_the_gain():
    """Where it does not (REINFORCE: 0.45, ISPG: 0.90), the fast one does, in every class."""
    tasks = stored("inverted_pendulum_long", 12)
    classes = {runs[0].spec.config.algorithm_class for runs in tasks.values()}
    assert classes == {runs[0].spec.config.algorithm_class for runs in FAST.values()}
    for (algorithm, _), runs in tasks.items():
        nothing, half = powers(runs, 12, regression.FALSE_ALARM / len(tasks))
        assert nothing >= 0.99
        assert half >= (0.4 if "REINFORCE" in algorithm else 0.89)


@cache
def planted(name):
    """Results of the runs with planted bugs, by class and bug, then by task."""
    found = {}
    lines = (ROOT / "results" / f"regression_{name}" / "planted_bugs.jsonl").read_text()
    for line in map(json.loads, lines.splitlines()):
        task = tuple(line["task"])
        algorithm_class = FAST[task][0].spec.config.algorithm_class
        by_task = found.setdefault((algorithm_class, line["bug"]), {})
        by_task.setdefault(task, []).append(line["summary"])
    return found


BUGS = (
    "train() does nothing",
    "flipped baseline sign",
    "missing gamma",
    "GAE without the episode's end",
    "learning_rate x 10",
    "learning_rate / 10",
    "target_kl x 10",
    "target_kl / 10",
)


def every_bug_of_every_class():
    for algorithm_class, bug in planted("dilemmas"):
        if bug in BUGS:
            yield algorithm_class, bug


@pytest.mark.parametrize(("algorithm_class", "bug"), list(every_bug_of_every_class()))
def test_each_bug_is_caught_with_probability_0_99(algorithm_class, bug):
    """Whatever class it is planted in, by the tasks of this class together."""
    missed = 1.0
    for task, results in planted("dilemmas")[algorithm_class, bug].items():
        others = np.array([summary(run) for run in FAST[task][K:]])
        assert len(results) >= 10
        assert None not in results
        missed *= 1 - alarm_probability(others, results, K, regression.FALSE_ALARM / len(FAST))
    assert missed <= 0.01


def test_every_class_has_had_every_bug_that_it_can_have():
    wanted = {
        (runs[0].spec.config.algorithm_class, bug)
        for (_, environment), runs in FAST.items()
        if environment == DILEMMAS
        for bug in plants_of(runs[0].spec.config)
    }
    assert set(planted("dilemmas")) == wanted
    assert {bug for _, bug in wanted} >= set(BUGS)


ONCE = [
    ("train() does nothing", "OnlineActorCritic"),
    ("flipped baseline sign", "REINFORCE (mean)"),
    ("missing gamma", "BatchActorCritic (TD)"),
    ("GAE without the episode's end", "NPG"),
    ("learning_rate x 10", "ISPG (per decision, two batches)"),
    ("learning_rate / 10", "BatchActorCritic (GAE)"),
]


@pytest.mark.parametrize(("bug", "algorithm"), ONCE)
def test_a_planted_bug_is_caught(bug, algorithm):
    """For real: planted in the code, trained, and compared with the stored runs.

    ``results/regression_dilemmas/power.md`` marks what is caught of all bugs on all tasks.
    """
    runs = FAST[algorithm, DILEMMAS]
    new = []
    for run in runs[:K]:
        with plants_of(run.spec.config)[bug](run.spec.config) as config:
            result = attempt(run.spec.model_copy(update={"config": config}))
        new.append(result.model_copy(update={"spec": run.spec}))
    comparison = compare(runs, new, len(FAST))
    assert comparison.verdict in (Verdict.WORSE, Verdict.BETTER), str(comparison)
