"""Short runs are trained again and compared with stored ones: the fast regression tests.

The false-alarm rate of all comparisons with stored runs together is below 1 in 1,000 for every law
of the returns (``rank_test``). What the tests catch is in ``results/regression_dilemmas/power.md``.
With the stored runs' versions and processor the tests are deterministic.
"""

import importlib.util
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.execution import executors
from sb3_course.benchmark.execution.train_run import attempt
from sb3_course.benchmark.statistics import regression
from sb3_course.benchmark.statistics.rank_test import alarm_probability, critical_value, size
from sb3_course.benchmark.statistics.regression import Verdict, compare, powers, summary
from sb3_course.benchmark.storage.result import Measurement, RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.cli import app, terminal
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import InThisProcess, content, tiny

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
    slow = {**stored("inverted_pendulum_long", 10), **stored("mujoco", 5)}
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
    """In each class; HalfCheetah's returns differ too much for that."""
    tasks = stored("inverted_pendulum_long", 10)
    classes = {runs[0].spec.config.algorithm_class for runs in tasks.values()}
    assert classes == {runs[0].spec.config.algorithm_class for runs in FAST.values()}
    for runs in tasks.values():
        nothing, half = powers(runs, 10, regression.FALSE_ALARM / len(tasks))
        assert nothing >= 0.99
        assert half >= 0.9


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
ALL = [
    (bug, algorithm)
    for (algorithm, environment), runs in FAST.items()
    if environment == DILEMMAS
    for bug in plants_of(runs[0].spec.config)
    if bug in BUGS and (bug, algorithm) not in ONCE
]


@pytest.mark.parametrize(
    ("bug", "algorithm"), [*ONCE, *(pytest.param(*case, marks=pytest.mark.slow) for case in ALL)]
)
def test_a_planted_bug_is_caught(bug, algorithm):
    """For real: planted in the code, trained, and compared with the stored runs."""
    runs = FAST[algorithm, DILEMMAS]
    new = []
    for run in runs[:K]:
        with plants_of(run.spec.config)[bug](run.spec.config) as config:
            result = attempt(run.spec.model_copy(update={"config": config}))
        new.append(result.model_copy(update={"spec": run.spec}))
    comparison = compare(runs, new, len(FAST))
    assert comparison.verdict in (Verdict.WORSE, Verdict.BETTER), str(comparison)


# -- verdicts -------------------------------------------------------------------------------------

MADE_WITH = {"git_commit": "a", "sb3-course": "1", "torch": "2", "cpu": "x"}


def made_up(seed, *means, made_with=MADE_WITH, failure=None):
    (spec,) = tiny(seeds=[seed]).runs()[:1]
    evaluations = [
        Measurement(100 * i, 100 * i, 0.0, [mean - 1.0, mean + 1.0], [1, 1])
        for i, mean in enumerate(means)
    ]
    return RunResult(
        spec=spec, measurements=evaluations, made_with=made_with, failure=failure, seconds=1.0
    )


STORED = [made_up(seed, 1.0, 10.0 + seed, 20.0 + seed) for seed in range(40)]
LATER = {**MADE_WITH, "git_commit": "b", "sb3-course": "2"}
ELSEWHERE = {**LATER, "torch": "3"}


def test_the_summary_is_the_mean_over_the_curve_after_the_untrained_policy():
    assert summary(made_up(0, 9.0, 10.0, 20.0)) == 15.0


@pytest.mark.parametrize(
    ("means", "made_with", "expected"),
    [
        ((10.0, 20.0), LATER, Verdict.EXACT),
        ((10.0, 20.0), ELSEWHERE, Verdict.EXACT),
        ((10.0, 20.5), LATER, Verdict.CHANGED),
        ((10.0, 20.5), ELSEWHERE, Verdict.ALIKE),
        ((10.0, 20.5), None, Verdict.ALIKE),
        ((110.0, 20.0), LATER, Verdict.BETTER),
        ((110.0, 20.0), ELSEWHERE, Verdict.BETTER),
        ((-90.0, 20.0), ELSEWHERE, Verdict.WORSE),
    ],
)
def test_verdicts(means, made_with, expected):
    """Three runs, each changed alike, against the 37 stored ones of other seeds."""
    first, second = means
    new = [
        made_up(seed, 1.0, first + seed, second + seed, made_with=made_with)
        for seed in (20, 21, 22)
    ]
    comparison = compare(STORED, new)
    assert comparison.verdict is expected
    assert comparison.verdict.good == (expected in (Verdict.EXACT, Verdict.ALIKE))
    assert bool(comparison.difference) == (expected is not Verdict.EXACT)
    assert len(comparison.stored) == 37
    assert comparison.power == 1.0


def test_the_first_evaluation_counts_for_the_exact_comparison():
    new = [made_up(0, 2.0, 10.0, 20.0, made_with=LATER)]
    assert compare(STORED, new).verdict is Verdict.CHANGED


def test_new_runs_are_compared_with_stored_ones_of_other_seeds():
    """With the same seeds they would not be independent; here the lowest learn least."""
    new = [made_up(s, 1.0, 10.0 + s, 20.0 + s, made_with=ELSEWHERE) for s in range(3)]
    comparison = compare(STORED, new)
    assert comparison.verdict is Verdict.EXACT
    assert comparison.stored.min() == summary(STORED[3])
    changed = [made_up(s, 1.0, 10.1 + s, 20.0 + s, made_with=ELSEWHERE) for s in range(3)]
    assert compare(STORED, changed).verdict is Verdict.WORSE


def test_the_first_return_that_differs_is_reported():
    new = [made_up(20, 1.0, 30.0, 40.0), made_up(21, 1.0, 32.0, 43.0), STORED[22]]
    comparison = compare(STORED, new)
    assert comparison.difference == "seed 21, step 100, episode 0: 30.0 stored, 31.0 new"
    assert "A2C on CartPole-v1: like the stored runs, not the same; median return 37" in str(
        comparison
    )


def test_a_failed_run_is_reported_with_its_reason():
    new = [STORED[0], made_up(1, failure="Traceback\nOSError: made to fail"), STORED[2]]
    comparison = compare(STORED, new)
    assert comparison.verdict is Verdict.FAILED
    assert not comparison.verdict.good
    assert comparison.difference == "seed 1: OSError: made to fail"


@pytest.mark.parametrize(
    ("evaluations", "expected"),
    [
        (2, "seed 1: 3 evaluations of 6 episodes stored, 2 evaluations of 4 episodes new"),
        (4, "seed 1: 3 evaluations of 6 episodes stored, 4 evaluations of 8 episodes new"),
    ],
)
def test_a_run_with_more_or_fewer_evaluations_has_failed(evaluations, expected):
    new = [STORED[0], made_up(1, *[1.0, 11.0, 21.0, 21.0][:evaluations]), STORED[2]]
    comparison = compare(STORED, new)
    assert comparison.verdict is Verdict.FAILED
    assert comparison.difference == expected


def test_the_powers_are_those_of_the_untrained_policy_and_of_half_the_gain():
    nothing, half = powers(STORED, 3, 1e-3)
    assert nothing == 1.0  # the untrained policy has 1, the lowest stored run 15
    results = np.array([summary(run) for run in STORED])
    halved = (1.0 + results) / 2
    assert half == alarm_probability(results[3:], halved, 3, 1e-3)
    assert 0.0 < half < 0.5


@pytest.mark.parametrize("untrained", [15.0, 500.0])
def test_a_task_in_which_learning_nothing_goes_unnoticed_is_rejected(tmp_path, untrained):
    """Before anything is trained: a hopeless task, and one that is solved at once."""
    for result in STORED:
        Store(tmp_path).write(made_up(result.spec.seed, untrained, 500.0, 500.0))
    nothing_learned = untrained == 500.0
    if not nothing_learned:
        regression.stored_tasks(tiny(seeds=40), Store(tmp_path), 3)
        return
    with pytest.raises(UserError, match=r"A2C on CartPole-v1 .*noticed with probability 0\.00"):
        regression.stored_tasks(tiny(seeds=40), Store(tmp_path), 3)


@pytest.mark.parametrize(("count", "seeds"), [(1, 1), (22, 3), (39, 2), (3, 3)])
def test_too_few_stored_runs_are_rejected(tmp_path, count, seeds):
    store = Store(tmp_path)
    for result in STORED[:count]:
        store.write(result)
    store.write(made_up(count, failure="made to fail"))
    with pytest.raises(UserError, match=f"has {count} stored runs .*needs at least") as caught:
        regression.stored_tasks(tiny(seeds=count + 1), store, seeds)
    needed = int(re.search(r"at least (\d+)", str(caught.value))[1])
    n = needed - seeds
    assert critical_value(n, seeds, 5e-4) == 0
    assert critical_value(n - 1, seeds, 5e-4) == -1


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return a function that runs ``sb3-course regression`` with runs made by another function."""
    monkeypatch.chdir(tmp_path)
    Path("grid.yaml").write_text(yaml.safe_dump(content(seeds=40)))
    for result in STORED:
        Store(tmp_path / "results" / "tiny").write(result)

    def invoke(make, *words):
        class MadeUpRuns(InThisProcess):
            def start(self, spec):
                self._ended.append(make(spec.seed))

        monkeypatch.setattr(executors, "LocalProcesses", MadeUpRuns)
        return app.invoke(["regression", "grid.yaml", *words])

    return invoke


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_trains_the_first_seeds_and_leaves_the_store_unchanged(
    command, tmp_path, capsys
):
    before, trained = files(tmp_path), []
    code = command(lambda seed: (trained.append(seed), STORED[seed])[1], "--seeds", "3")
    assert code == terminal.OK
    assert trained == [0, 1, 2]
    assert files(tmp_path) == before
    header, row = capsys.readouterr().out.strip().splitlines()
    assert header.split() == [
        *("algorithm", "environment", "stored", "range", "new"),
        *("caught:", "nothing", "half", "verdict"),
    ]
    assert row.split()[:6] == ["A2C", "CartPole-v1", "36.0", "18.0", "to", "54.0"]
    assert row.split()[6:8] == ["16.0", "1.000"]
    assert row.strip().endswith("exactly as stored")


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (lambda seed: made_up(seed, 1.0, 500.0, 500.0), "better than the stored runs; median"),
        (lambda seed: made_up(seed, 1.0, 30.0 + seed, 40.5), "not the same; median return"),
        (lambda seed: made_up(seed, failure="OSError: made to fail"), "OSError: made to fail"),
    ],
)
def test_the_command_fails_if_a_verdict_is_bad(command, capsys, new, message):
    assert command(new, "--seeds", "3") == terminal.FAILED
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert message in line


def test_an_interrupt_leaves_the_store_unchanged(command, tmp_path):
    def interrupt(seed):
        raise KeyboardInterrupt

    before = files(tmp_path)
    assert command(interrupt, "--seeds", "3") == terminal.INTERRUPTED
    assert files(tmp_path) == before
