import pytest
from optuna.trial import TrialState

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.tuning.journal import open_journal
from sb3_course.benchmark.tuning.study import SharedStudy
from sb3_course.benchmark.tuning.subject import subjects_of
from sb3_course.benchmark.tuning.trials import (
    FAILED,
    HOPELESS,
    REFUSED,
    REFUSED_IN_A_ROW,
    n_counted,
    ranked,
    values_of,
)
from sb3_course.common.errors import UserError
from tests.benchmark.tuning.made_up import searched, study


@pytest.fixture
def storage(tmp_path):
    return open_journal(tmp_path)


def test_a_trial_that_nobody_works_on_any_more_is_gone_on_with(storage, tmp_path):
    one = study(storage, tmp_path)
    trial = one.take()
    assert one.report(trial, 0, 5.0)
    settings = one.subject.settings(trial.params)
    one.close()  # as the end of a process does
    other = study(storage, tmp_path)
    again = other.take()
    assert again.number == trial.number
    assert other.subject.settings(again.params) == settings
    assert other.passed(again) == 1


def test_a_trial_in_progress_is_taken_once(storage, tmp_path):
    one = study(storage, tmp_path)
    assert [one.take().number for _ in range(3)] == [0, 1, 2]


def test_trials_of_two_environments_with_the_same_settings_are_locked_apart(storage, tmp_path):
    names = ("CartPole-v1", "Acrobot-v1")
    subjects = subjects_of(load_grid(searched(environments=names)), {})
    here, there = (SharedStudy(storage, tmp_path, one) for one in subjects)
    assert here.take().number == there.take().number == 0
    assert len(list(tmp_path.glob(".trials-*.lock"))) == 2


def test_settings_that_are_run_alike_are_one_setting(storage, tmp_path):
    one = study(storage, tmp_path, trials=4, seeds=1, ranges={"gamma": {"low": 0.8, "high": 0.99}})
    for gamma, value in ((0.90001, 9.0), (0.90002, 9.0), (0.95, 5.0), (0.85, 1.0)):
        one._study.enqueue_trial({"gamma": gamma})
        trial = one.take()
        if one.report(trial, 0, value):
            one.report(trial, 1, value)
    assert [one.subject.settings(t.params)["gamma"] for t in one.trials()] == [0.9, 0.9, 0.95, 0.85]
    assert [one.subject.settings(t.params)["gamma"] for t in ranked(one.trials(), one.subject)] == [
        0.9,
        0.95,
        0.85,
    ]


def test_a_study_suggests_the_same_after_an_interruption(tmp_path):
    found = []
    for name, interrupted in (("a", False), ("b", True)):
        folder = tmp_path / name
        of = study(open_journal(folder), folder, trials=14, halving=1)
        settings = []
        for i in range(14):
            if interrupted and i == 12:  # past the random ones
                of.close()
                of = study(open_journal(folder), folder, trials=14, halving=1)
            trial = of.take()
            settings.append(of.subject.settings(trial.params))
            of.report(trial, 0, -abs(trial.params["gamma"] - 0.9))
        found.append(settings)
    assert found[0] == found[1]
    assert len({str(each) for each in found[0]}) == 14


def test_the_number_of_trials_is_kept_and_can_be_raised(storage, tmp_path):
    one = study(storage, tmp_path, trials=2, halving=1)
    for value in (1.0, 2.0):
        one.report(one.take(), 0, value)
    assert one.take() is None
    assert one.over
    more = study(storage, tmp_path, trials=3, halving=1)
    assert not more.over
    assert more.take().number == 2


def test_other_ranges_or_steps_are_another_study(storage, tmp_path):
    names = {
        study(storage, tmp_path, **changes).subject.name
        for changes in ({}, {"ranges": {"gamma": [0.9, 0.99]}}, {"seeds": 4}, {"objective": "best"})
    }
    assert len(names) == 4
    same = study(storage, tmp_path, trials=99, confirm={"best": 1}, sensitivity=3)
    assert same.subject.name in names


def test_settings_that_are_refused_do_not_count(storage, tmp_path):
    one = study(storage, tmp_path, trials=1)
    one.fail(one.take(), REFUSED, "too large")
    assert not one.over
    one.fail(one.take(), FAILED, "died")
    assert one.over
    assert ranked(one.trials(), one.subject) == []


def test_a_study_without_any_value_is_given_up(storage, tmp_path):
    one = study(storage, tmp_path, trials=50)
    for _ in range(HOPELESS):
        one.fail(one.take(), FAILED, "ValueError: no such thing")
    with pytest.raises(UserError, match="none of 10 trials .* no such thing"):
        one.take()


def test_a_study_whose_settings_are_refused_one_after_the_other_is_given_up(storage, tmp_path):
    one = study(storage, tmp_path, trials=50, halving=1)
    first = one.take()
    while one.report(first, one.passed(first), 5.0):
        pass
    for _ in range(REFUSED_IN_A_ROW):
        one.fail(one.take(), REFUSED, "too large")
    with pytest.raises(UserError, match="none of 100 trials .* too large"):
        one.take()
    assert [t.number for t in ranked(one.trials(), one.subject)] == [0]


def test_settings_that_failed_later_prune_no_others(storage, tmp_path):
    one = study(storage, tmp_path, trials=50)
    for value in (100.0, 101.0, 102.0):
        trial = one.take()
        assert one.report(trial, 0, value)
        one.fail(trial, FAILED, "NaN")
    assert one.report(one.take(), 0, 53.0)


def test_settings_that_failed_later_are_among_the_worst_for_the_sampler(storage, tmp_path):
    """Optuna puts what violates a constraint behind all else, also if it was pruned at its best."""
    one = study(storage, tmp_path, trials=50)
    trial = one.take()
    assert one.report(trial, 0, 100.0)
    one.fail(trial, FAILED, "NaN")
    pruned = one.take()
    while one.report(pruned, 0, -1.0):
        pruned = one.take()
    assert sum(one.held(trial.number).constraints.values()) > 0
    assert not one.held(pruned.number).constraints


def test_who_was_pruned_too_early_goes_on_once_all_have_been_begun(storage, tmp_path):
    one = study(storage, tmp_path, trials=6, seeds=1)  # two rungs, of which a third goes on
    for value in (6.0, 1.0, 2.0, 5.0, 3.0, 4.0):
        trial = one.take()
        if one.report(trial, 0, value):
            one.report(trial, 1, value)
    assert [len(values_of(t)) for t in one.trials()] == [2, 1, 1, 1, 1, 1]
    assert not one.over
    again = one.take()
    assert again.params == one.held(3).params
    assert one.take() is None  # nobody else is due
    assert one.report(again, 0, 5.0)
    one.report(again, 1, 9.0)
    assert one.over
    assert [t.number for t in ranked(one.trials(), one.subject)][:2] == [6, 0]
    assert n_counted(one.trials()) == 6


@pytest.mark.parametrize("kind", [FAILED, REFUSED])
def test_a_second_chance_that_fails_is_the_last_one(storage, tmp_path, kind):
    one = study(storage, tmp_path, trials=6, seeds=1)
    for value in (6.0, 1.0, 2.0, 5.0, 3.0, 4.0):
        trial = one.take()
        if one.report(trial, 0, value):
            one.report(trial, 1, value)
    one.fail(one.take(), kind, "died")
    taken = 0
    while (trial := one.take()) is not None:  # of who is next in order
        taken += 1
        one.fail(trial, kind, "died")
        assert taken < 9
    assert one.over
    assert not one.trials(TrialState.RUNNING)


def test_a_second_chance_is_not_taken_back_by_a_lucky_setting(storage, tmp_path):
    """The first trial goes on unopposed, and is better than it in the end."""
    one = study(storage, tmp_path, trials=6, seeds=3)
    values = [[1.0, 9.0, 9.0], [6.0, 5.0], [2.0], [3.0], [4.0], [5.0, 4.0]]
    chances = 0
    while (trial := one.take()) is not None:
        held = one.held(trial.number)
        if trial.number < 6:
            mine = values[trial.number]
        else:
            chances += 1
            first = next(t for t in one.trials() if t.params == held.params)
            mine = [*values[first.number], 7.0]
        for rung, value in enumerate(mine):
            if not one.report(trial, rung, value):
                break
        assert chances < 5
    assert one.over
    best = ranked(one.trials(), one.subject)[:2]
    assert [values_of(trial) for trial in best] == [[1.0, 9.0, 9.0], [6.0, 5.0, 7.0]]
