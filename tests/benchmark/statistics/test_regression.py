"""Verdicts on new runs, and the command that reaches them."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from sb3_course.benchmark.execution import executors
from sb3_course.benchmark.statistics import regression
from sb3_course.benchmark.statistics.hypothesis_tests.rank_test import (
    alarm_probability,
    critical_value,
)
from sb3_course.benchmark.statistics.regression import Verdict, compare, powers, summary
from sb3_course.benchmark.storage.result import Measurement, RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.cli import app
from sb3_course.cli.parts import terminal
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import InThisProcess, content, tiny

# -- verdicts -------------------------------------------------------------------------------------

MADE_WITH = {"git_commit": "a", "sb3-course": "1", "torch": "2", "cpu": "x"}


def made_up(seed, *means, made_with=MADE_WITH, failure=None):
    (spec,) = tiny(seeds=[seed]).runs()[:1]
    evaluations = [
        Measurement(100 * i, 100 * i, 0.0, [mean - 1.0, mean, mean + 1.0], [1, 1, 1])
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


def test_sources_are_what_a_test_examines():
    """This package's, and those of whoever has an algorithm or an environment of their own."""
    other = {**LATER, "source of sb3_course.envs.dilemmas": "0", "registration of sb3_course": "0"}
    new = [made_up(s, 1.0, 10.5 + s, 20.0 + s, made_with=other) for s in (20, 21, 22)]
    assert compare(STORED, new).verdict is Verdict.CHANGED
    of_users = {**LATER, "source of my_module": "0", "registration of my_module:Mine-v0": "0"}
    new = [made_up(s, 1.0, 10.5 + s, 20.0 + s, made_with=of_users) for s in (20, 21, 22)]
    assert compare(STORED, new).verdict is Verdict.CHANGED
    newer = {**LATER, "source of package my_package": "2.0"}  # a version, as Gymnasium's is
    new = [made_up(s, 1.0, 10.5 + s, 20.0 + s, made_with=newer) for s in (20, 21, 22)]
    assert compare(STORED, new).verdict is Verdict.ALIKE


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
        (2, "seed 1: 3 evaluations of 9 episodes stored, 2 evaluations of 6 episodes new"),
        (4, "seed 1: 3 evaluations of 9 episodes stored, 4 evaluations of 12 episodes new"),
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


@pytest.mark.parametrize("k", [1, 2, 5, 12])
@pytest.mark.parametrize("false_alarm", [0.1, 1e-3])
def test_the_fewest_runs_are_those_from_which_on_there_is_a_critical_value(k, false_alarm):
    n = regression.fewest_stored(k, false_alarm) - k
    assert critical_value(n, k, false_alarm / 2) >= 0
    assert n == 1 or critical_value(n - 1, k, false_alarm / 2) == -1


def test_the_fewest_runs_of_many_tasks_are_known_at_once():
    assert regression.fewest_stored(1, 1e-3 / 48) == 96_000
    assert regression.fewest_stored(10**6, 1e-3) == 10**6 + 1


def test_a_number_of_seeds_that_works_is_named(tmp_path):
    for result in STORED[:16]:
        Store(tmp_path).write(result)
    for given in (1, 15):
        with pytest.raises(UserError, match=r"take --seeds (\d+)") as caught:
            regression.stored_tasks(tiny(seeds=16), Store(tmp_path), given)
        (seeds,) = map(int, re.findall(r"take --seeds (\d+)", str(caught.value)))
        regression.stored_tasks(tiny(seeds=16), Store(tmp_path), seeds)


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
