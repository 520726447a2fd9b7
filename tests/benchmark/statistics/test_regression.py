"""Short runs are trained again and compared with stored ones: the fast regression tests.

The false-alarm rate of all comparisons with stored runs together is below 1 in 1,000: 1 in 10,000
if returns were normal (``regression.band``), 8 in 10,000 for the distribution of the stored runs
themselves, which a test below measures. With the stored runs' versions and processor the tests are
deterministic.
"""

from pathlib import Path

import numpy as np
import pytest
import yaml

from sb3_course import REINFORCE, estimators
from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.execution import executors
from sb3_course.benchmark.execution.train_run import attempt
from sb3_course.benchmark.statistics import regression
from sb3_course.benchmark.statistics.regression import (
    Verdict,
    band,
    compare,
    relative_width,
    summary,
)
from sb3_course.benchmark.storage.result import Measurement, RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.cli import app, terminal
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import InThisProcess, content, tiny

ROOT = Path(__file__).parents[3]
K = 3
"""Number of seeds of each algorithm that are trained again."""


def stored(name):
    grid = load_grid(ROOT / "benchmarks" / "regression" / f"{name}.yaml")
    return regression.stored_tasks(grid, Store(ROOT / "results" / grid.name), K)


FAST = {**stored("cartpole"), **stored("inverted_pendulum")}
SLOW = stored("mujoco")


def trained_again(task, seeds=K):
    new = [attempt(result.spec) for result in FAST[task][:seeds]]
    return compare(FAST[task], new, len(FAST))


# -- the code as it is ----------------------------------------------------------------------------


@pytest.mark.parametrize("task", FAST, ids=" on ".join)
def test_runs_learn_what_the_stored_ones_did(task):
    """If the numbers are meant to change: ``sb3-course run benchmarks/regression/… --rerun``."""
    comparison = trained_again(task)
    assert comparison.verdict.good, str(comparison)
    assert comparison.band.low <= comparison.mean <= comparison.band.high, str(comparison)


def test_every_class_has_stored_runs_and_every_stored_run_records_its_conditions():
    classes = {runs[0].spec.config.algorithm_class for runs in FAST.values()}
    assert classes == {"REINFORCE", "ISPG", "NPG", "BatchActorCritic", "OnlineActorCritic"}
    for runs in (*FAST.values(), *SLOW.values()):
        assert all(not run.made_with["git_commit"].endswith("-dirty") for run in runs)
        assert all(regression.same_conditions(runs[0], run) for run in runs)


# -- planted bugs: the band alone catches them -----------------------------------------------------


def flipped_baseline_sign(monkeypatch):
    baselines = REINFORCE.baselines
    monkeypatch.setattr(REINFORCE, "baselines", lambda *a: -baselines(*a))


def missing_gamma(monkeypatch):
    to_go, errors = estimators.reward_to_go, estimators.td_errors
    monkeypatch.setattr(estimators, "reward_to_go", lambda r, e, g, c=0.0: to_go(r, e, 1.0, c))
    monkeypatch.setattr(estimators, "td_errors", lambda r, v, f, g: errors(r, v, f, 1.0))
    monkeypatch.setattr(estimators, "gae", lambda d, e, g, gae_lambda: to_go(d, e, gae_lambda))


def gae_without_the_episode_end(monkeypatch):
    """Continue the recursion and V(s_{t+1}) into the next episode."""
    to_go = estimators.reward_to_go

    def next_values(values, ends, bootstrap_values):
        shifted = bootstrap_values.copy()
        shifted[:-1] = values[1:]
        return shifted

    monkeypatch.setattr(estimators, "next_values", next_values)
    monkeypatch.setattr(
        estimators, "gae", lambda d, e, g, gae_lambda: to_go(d, np.zeros_like(e), g * gae_lambda)
    )


CARTPOLE = "CartPole-v1"


@pytest.mark.parametrize(
    ("bug", "algorithm", "seeds", "expected"),
    [
        (flipped_baseline_sign, "REINFORCE (value)", 6, Verdict.BELOW),
        (missing_gamma, "REINFORCE (mean, total return)", K, Verdict.ABOVE),
        (gae_without_the_episode_end, "NPG", K, Verdict.BELOW),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_band_catches_a_planted_bug(monkeypatch, bug, algorithm, seeds, expected):
    """
    With other versions or processors the draws differ; their mean is at least 3 standard errors
    outside the band.
    """
    bug(monkeypatch)
    comparison = trained_again((algorithm, CARTPOLE), seeds)
    assert comparison.verdict is expected, str(comparison)


@pytest.mark.parametrize(
    ("bug", "algorithm"),
    [
        (flipped_baseline_sign, "ISPG (step)"),
        (missing_gamma, "BatchActorCritic (TD)"),
        (gae_without_the_episode_end, "BatchActorCritic (GAE)"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_planted_bug_changes_the_returns(monkeypatch, bug, algorithm):
    """The exact comparison, where it applies, detects this with one seed."""
    bug(monkeypatch)
    result = FAST[algorithm, CARTPOLE][0]
    assert regression.first_difference(result, attempt(result.spec))


# -- the band -------------------------------------------------------------------------------------


def alarms(draw, n, k, alpha, repeats=200_000):
    """Compute how often the mean of k draws falls outside the band of n others."""
    rng = np.random.default_rng(0)
    old, new = draw(rng, (repeats, n)), draw(rng, (repeats, k)).mean(axis=1)
    half = relative_width(n, k, 1, alpha) * old.std(axis=1, ddof=1)
    return float(np.mean(np.abs(new - old.mean(axis=1)) > half))


def test_a_band_by_hand():
    # The 0.975 quantile of t with 9 degrees of freedom is 2.262; m = 5 comparisons share 0.25.
    values = [4.0, 6.0] * 5  # of mean 5 and s² = 10 / 9
    half = 2.262 * np.sqrt(10 / 9) * np.sqrt(1 / 10 + 1 / 2)
    result = band(values, k=2, comparisons=5, false_alarm=0.25)
    assert (result.mean, result.low, result.high) == pytest.approx((5.0, 5 - half, 5 + half), 1e-3)


@pytest.mark.parametrize("value", [500.0, 0.3])  # ten copies of 0.3 have a deviation of 6e-17
def test_equal_stored_runs_have_no_band(value):
    with pytest.raises(UserError, match=rf"mean return {value:g}, so the band has no width"):
        band([value] * 10, k=3)


@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.parametrize("k", [1, 3])
def test_the_band_has_the_stated_false_alarm_rate_for_a_normal_distribution(n, k):
    # 200,000 repetitions with a fixed seed: within 5 standard errors of a rate of 1 in 100.
    rate = alarms(lambda rng, shape: rng.normal(3.0, 2.0, shape), n, k, alpha=0.01)
    assert rate == pytest.approx(0.01, abs=5 * np.sqrt(0.01 * 0.99 / 200_000))


def test_a_round_with_correct_code_fails_in_fewer_than_1_in_1000():
    """For the distribution of the stored runs themselves, by a smoothed bootstrap.

    Silverman 1986: one of the stored values, drawn with replacement, plus normal noise of
    Silverman's width, which adds tails beyond the largest stored value.
    """
    total = 0.0
    for runs in FAST.values():
        values = np.array([summary(run) for run in runs])
        width = 0.9 * values.std(ddof=1) * len(values) ** -0.2

        def draw(rng, shape, values=values, width=width):
            return rng.choice(values, shape) + rng.normal(0.0, width, shape)

        total += alarms(draw, len(values), K, regression.FALSE_ALARM / len(FAST))
    assert total < 1e-3


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


STORED = [made_up(seed, 9.0, 10.0 + seed, 20.0 + seed) for seed in range(10)]
LATER = {**MADE_WITH, "git_commit": "b", "sb3-course": "2"}
ELSEWHERE = {**LATER, "torch": "3"}


def test_the_summary_is_the_mean_over_the_curve_after_the_untrained_policy():
    assert summary(made_up(0, 9.0, 10.0, 20.0)) == 15.0


@pytest.mark.parametrize(
    ("returns", "made_with", "expected"),
    [
        ((9.0, 10.0, 20.0), LATER, Verdict.EXACT),
        ((9.0, 10.0, 20.0), ELSEWHERE, Verdict.EXACT),
        ((9.0, 10.0, 21.0), LATER, Verdict.CHANGED),
        ((8.0, 10.0, 20.0), LATER, Verdict.CHANGED),  # the first evaluation counts here
        ((9.0, 10.0, 21.0), ELSEWHERE, Verdict.INSIDE),
        ((9.0, 10.0, 21.0), None, Verdict.INSIDE),
        ((9.0, 110.0, 20.0), LATER, Verdict.ABOVE),
        ((9.0, 110.0, 20.0), ELSEWHERE, Verdict.ABOVE),
        ((9.0, -90.0, 20.0), ELSEWHERE, Verdict.BELOW),
    ],
)
def test_verdicts(returns, made_with, expected):
    comparison = compare(STORED, [made_up(0, *returns, made_with=made_with)])
    assert comparison.verdict is expected
    assert comparison.verdict.good == (expected in (Verdict.EXACT, Verdict.INSIDE))
    assert bool(comparison.difference) == (expected is not Verdict.EXACT)


def test_the_first_return_that_differs_is_reported():
    new = [made_up(0, 9.0, 10.0, 20.0), made_up(1, 9.0, 11.0, 22.0)]
    comparison = compare(STORED, new)
    assert comparison.difference == "seed 1, step 200, episode 0: 20.0 stored, 21.0 new"
    assert "A2C on CartPole-v1: inside the band, not as stored; mean return 15.8" in str(comparison)


def test_a_failed_run_is_reported_with_its_reason():
    new = [made_up(0, 9.0, 10.0, 20.0), made_up(1, failure="Traceback\nOSError: made to fail")]
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
    new = [made_up(0, 9.0, 10.0, 20.0), made_up(1, *[9.0, 11.0, 21.0, 21.0][:evaluations])]
    comparison = compare(STORED, new)
    assert comparison.verdict is Verdict.FAILED
    assert comparison.difference == expected


def test_stored_runs_without_a_band_are_rejected_before_anything_is_trained(tmp_path):
    for result in STORED:
        same = made_up(result.spec.seed, 9.0, 500.0, 500.0)
        Store(tmp_path).write(same)
    with pytest.raises(UserError, match="A2C on CartPole-v1: all 10 stored runs .* 500"):
        regression.stored_tasks(tiny(seeds=10), Store(tmp_path), 3)


@pytest.mark.parametrize(
    ("count", "seeds", "message"),
    [(9, 1, "has 9 stored runs .* at least 10"), (10, 11, "--seeds: given 11.*allowed: 1 to 10")],
)
def test_too_few_stored_runs_are_rejected(tmp_path, count, seeds, message):
    store = Store(tmp_path)
    for result in STORED[:count]:
        store.write(result)
    store.write(made_up(10, failure="made to fail"))
    with pytest.raises(UserError, match=message):
        regression.stored_tasks(tiny(seeds=11), store, seeds)


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return a function that runs ``sb3-course regression`` with runs made by another function."""
    monkeypatch.chdir(tmp_path)
    Path("grid.yaml").write_text(yaml.safe_dump(content(seeds=10)))
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
    code = command(lambda seed: (trained.append(seed), STORED[seed])[1], "--seeds", "2")
    assert code == terminal.OK
    assert trained == [0, 1]
    assert files(tmp_path) == before
    header, row = capsys.readouterr().out.strip().splitlines()
    assert header.split() == ["algorithm", "environment", "stored", "band", "new", "verdict"]
    assert row.split()[:3] == ["A2C", "CartPole-v1", "19.5"]
    assert row.strip().endswith("15.5  exactly as stored")


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (lambda seed: made_up(seed, 9.0, 500.0, 500.0), "above the band; mean return 500.0"),
        (lambda seed: made_up(seed, 9.0, 10.0, 20.5), "not as stored; mean return 15.2"),
        (lambda seed: made_up(seed, failure="OSError: made to fail"), "OSError: made to fail"),
    ],
)
def test_the_command_fails_if_a_verdict_is_bad(command, capsys, new, message):
    assert command(new) == terminal.FAILED
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert message in line


def test_an_interrupt_leaves_the_store_unchanged(command, tmp_path):
    def interrupt(seed):
        raise KeyboardInterrupt

    before = files(tmp_path)
    assert command(interrupt) == terminal.INTERRUPTED
    assert files(tmp_path) == before
