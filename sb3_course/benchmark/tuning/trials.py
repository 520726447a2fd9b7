"""What is known of trials: the values that they have had, why they have none, and their order."""

from collections.abc import Iterable, Sequence

from optuna.trial import FrozenTrial

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.definition.search import Ranges
from sb3_course.benchmark.tuning.rungs import Cascade, cascade
from sb3_course.benchmark.tuning.space import settings_of
from sb3_course.benchmark.tuning.subject import Subject

REFUSED, FAILED = "refused", "failed"
"""Keys of a trial's reason: a constructor refused its settings, or one of its runs failed."""
AGAIN = "again"
"""Key of the rung up to which a trial goes for certain, as one with its settings has before."""
HOPELESS = 10
"""Number of trials after which a study is given up if not one of them has had a value."""
REFUSED_IN_A_ROW = 100
"""Number of trials after which a study is given up if constructors have refused all of them."""


def n_counted(trials: Iterable[FrozenTrial]) -> int:
    """Return the number of trials, without those that a constructor has refused.

    :param trials: Trials
    :return: Number, in which one that got a second chance counts once
    """
    return sum(not {REFUSED, AGAIN} & trial.user_attrs.keys() for trial in trials)


def reason_of(trial: FrozenTrial) -> str:
    """Return why a trial has no value.

    :param trial: Trial that has ended
    :return: Reason in one line; empty if it has a value
    """
    return str(trial.user_attrs.get(FAILED) or trial.user_attrs.get(REFUSED) or "")


def none_has_returned(trials: Sequence[FrozenTrial]) -> str:
    """Return that none of some trials has had a return, with the reason of the last one.

    :param trials: Trials that have ended, at least one
    :return: Text in one line
    """
    last = reason_of(trials[-1])
    return f"none of {len(trials)} trials has had a return; the last one: {last}"


def last_value(trial: FrozenTrial) -> float:
    """Return the value of a trial on the last rung that it reached.

    :param trial: Trial with a value
    :return: Value
    """
    return values_of(trial)[-1]


def has_value(trial: FrozenTrial) -> bool:
    """Return whether a trial has ended with a value; it has none if a run failed.

    :param trial: Trial
    :return: Whether it has one
    """
    failed = any(key in trial.user_attrs for key in (FAILED, REFUSED))
    return trial.state.is_finished() and bool(trial.intermediate_values) and not failed


def ranked(trials: Iterable[FrozenTrial], subject: Subject) -> list[FrozenTrial]:
    """Return the trials that have ended with a value, by successive halving, the best first.

    :param trials: Trials
    :param subject: What is tuned
    :return: Trials of different settings
    """
    different, found = cascade_of(trials, subject)
    return [different[i] for i in found.order]


def cascade_of(
    trials: Iterable[FrozenTrial], subject: Subject
) -> tuple[list[FrozenTrial], Cascade]:
    """Apply successive halving to different settings, each by its trial that went furthest.

    :param trials: Trials
    :param subject: What is tuned
    :return: A trial of each setting, and what comes of them
    """
    furthest: dict[str, FrozenTrial] = {}
    given = list(trials)
    ranges = subject.ranges
    failed = {settings_key(t, ranges) for t in given if {FAILED, REFUSED} & t.user_attrs.keys()}
    for trial in filter(has_value, given):
        key = settings_key(trial, ranges)
        if key in failed:
            continue
        if key not in furthest or len(values_of(trial)) > len(values_of(furthest[key])):
            furthest[key] = trial
    different = list(furthest.values())
    values = [values_of(trial) for trial in different]
    return different, cascade(values, subject.search.halving, len(subject.rungs))


def late_trials(trials: Iterable[FrozenTrial], subject: Subject) -> list[FrozenTrial]:
    """Return the trials that were pruned, and by now would not be.

    :param trials: Trials
    :param subject: What is tuned
    :return: Trials that a second chance is due to
    """
    different, found = cascade_of(trials, subject)
    return [different[i] for i in found.due]


def is_over(trials: Sequence[FrozenTrial], subject: Subject) -> bool:
    """Return whether all trials of a study have ended, whoever worked on them.

    :param trials: Trials so far
    :param subject: What is tuned
    :return: Whether none is in progress, and none is due
    """
    ended = all(trial.state.is_finished() for trial in trials)
    return ended and n_counted(trials) >= subject.search.trials and not late_trials(trials, subject)


def runs_of_trials(trials: Iterable[FrozenTrial], subject: Subject) -> list[RunSpec]:
    """Return the runs that the values of trials are of, each once.

    :param trials: Trials
    :param subject: What is tuned
    :return: Runs on the rungs on which each trial has a value
    """
    specs = {
        spec.id: spec
        for trial in trials
        for rung in subject.rungs[: len(trial.intermediate_values)]
        for spec in subject.runs(subject.settings(trial.params), rung)
    }
    return list(specs.values())


def settings_key(trial: FrozenTrial, ranges: Ranges) -> str:
    """Return a text that trials of the same setting share, also where Optuna holds more digits.

    :param trial: Trial
    :param ranges: Values that are tried, by name
    :return: Its settings, as they are run
    """
    return repr(sorted(settings_of(trial.params, ranges).items()))


def values_of(trial: FrozenTrial) -> list[float]:
    """Return the values of a trial on the rungs that it has reached.

    :param trial: Trial
    :return: Values in the order of the rungs
    """
    held = trial.intermediate_values
    return [float(held[step]) for step in sorted(held)]
