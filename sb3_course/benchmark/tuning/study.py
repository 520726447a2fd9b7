"""One study of Optuna, on which several commands work: which trial is whose, and how it ends.

Each trial in progress is locked by the command that works on it, so the trials of a killed command
are gone on with by any other one. Nothing of a trial is lost but its runs in progress: what was
suggested is in the journal, and finished runs are stored.
"""

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from sb3_course.benchmark.execution.run_queue import ByteLocks
from sb3_course.benchmark.tuning.rungs import n_promoted
from sb3_course.benchmark.tuning.space import suggest
from sb3_course.benchmark.tuning.subject import Subject
from sb3_course.benchmark.tuning.trials import (
    AGAIN,
    FAILED,
    HOPELESS,
    REFUSED,
    REFUSED_IN_A_ROW,
    has_value,
    is_over,
    late_trials,
    n_counted,
    none_has_returned,
    reason_of,
    settings_key,
    values_of,
)
from sb3_course.common.errors import UserError

ASKING = 0
"""Byte that a command locks while it takes a trial; trial n has byte n + 1."""


class Hopeless(UserError):
    """None of the trials of a study has had a value."""


def stored_trials(storage: BaseStorage, subject: Subject) -> list[FrozenTrial]:
    """Return the trials of a study that may not have begun.

    :param storage: Journal
    :param subject: What is tuned
    :return: Trials by ascending number
    """
    if subject.name not in optuna.get_all_study_names(storage):
        return []
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return begun(optuna.load_study(study_name=subject.name, storage=storage))


def begun(study: optuna.Study, states: Sequence[TrialState] = ()) -> list[FrozenTrial]:
    """Return the trials of a study that do not wait to be begun.

    :param study: Study
    :param states: States of trials to return; none for all
    :return: Trials by ascending number
    """
    trials: list[FrozenTrial] = study.get_trials(deepcopy=False, states=tuple(states) or None)
    return [trial for trial in trials if trial.state != TrialState.WAITING]


def abandoned(folder: Path, subject: Subject, trials: Iterable[FrozenTrial]) -> set[int]:
    """Return the numbers of the trials in progress that no command works on any more.

    :param folder: Folder of tuning
    :param subject: What is tuned
    :param trials: Trials
    :return: Numbers; none where the folder cannot be written, so that nobody can tell
    """
    running = [trial.number for trial in trials if trial.state == TrialState.RUNNING]
    if not running:
        return set()
    try:
        locks = ByteLocks(_lock_file(folder, subject))
    except (OSError, UserError):
        return set()
    with closing(locks):  # under the first one no command begins a trial meanwhile
        return {n for n in running if locks.acquire(n + 1)} if locks.acquire(ASKING) else set()


def _lock_file(folder: Path, subject: Subject) -> Path:
    digest = hashlib.sha256(subject.name.encode()).hexdigest()  # the label's, too: tasks may agree
    return folder / f".trials-{digest[:12]}.lock"


class SharedStudy:
    """A study that several commands may work on at the same time.

    :param storage: Journal
    :param folder: Folder of tuning, for the locks
    :param subject: What is tuned
    """

    def __init__(self, storage: BaseStorage, folder: Path, subject: Subject) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.subject, self._folder = subject, folder
        self._study = optuna.create_study(
            storage=storage,
            study_name=subject.name,
            direction="maximize",
            pruner=NopPruner(),  # Optuna's cannot go on with a trial that it has pruned
            load_if_exists=True,
        )
        self._locks = ByteLocks(_lock_file(folder, subject))
        self._mine: set[int] = set()

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials so far.

        :param *states: States of trials to return; none for all
        :return: Trials by ascending number
        """
        return begun(self._study, states)

    @property
    def over(self) -> bool:
        """Whether all trials have ended, whoever worked on them."""
        return is_over(self.trials(), self.subject)

    def take(self) -> Trial | None:
        """Take a trial: one that a killed command has left, or else a new one.

        :return: Trial that this command alone works on; None if there is none at the moment
        :raises Hopeless: If none of :data:`HOPELESS` trials has had a value
        """
        if not self._locks.acquire(ASKING):
            return None
        try:
            is_due = n_counted(self.trials()) < self.subject.search.trials
            trial = self._abandoned() or (self._new() if is_due else self._again())
        finally:
            self._locks.release(ASKING)
        if trial is not None:
            suggest(trial, self.subject.ranges)
        return trial

    def _abandoned(self) -> Trial | None:
        for trial in self.trials(TrialState.RUNNING):
            if trial.number not in self._mine and self._locks.acquire(trial.number + 1):
                now = self.held(trial.number)
                if now.state == TrialState.RUNNING:
                    self._mine.add(trial.number)
                    self._study.sampler = sampler_of(self.subject.name, trial.number)
                    return Trial(self._study, now._trial_id)
                self._locks.release(trial.number + 1)
        return None

    def _new(self) -> Trial | None:
        trials = self._study.get_trials(deepcopy=False)
        self.check_hope(HOPELESS)
        if not trials and self.subject.own_params is not None:
            self._study.enqueue_trial(self.subject.own_params)
        self._study.sampler = sampler_of(self.subject.name, len(trials))
        return self._asked()

    def _again(self) -> Trial | None:
        """Begin a trial with the settings of one that was pruned too early, once all have ended."""
        running = self.trials(TrialState.RUNNING)
        begun_again = {self._key(trial) for trial in running}
        due = late_trials(self.trials(), self.subject)
        late = [trial for trial in due if self._key(trial) not in begun_again]
        if not late or any(AGAIN not in trial.user_attrs for trial in running):
            return None
        rung = len(values_of(late[0]))
        self._study.enqueue_trial(late[0].params, user_attrs={AGAIN: rung})
        return self._asked()

    def held(self, number: int) -> FrozenTrial:
        """Return what the journal holds of a trial.

        :param number: Number of the trial
        :return: The trial as it is now
        """
        found: FrozenTrial = self._study.get_trials(deepcopy=False)[number]
        return found

    def _asked(self) -> Trial | None:
        trial: Trial = self._study.ask()
        if not self._locks.acquire(trial.number + 1):
            return None  # nobody's yet: whoever takes it next has it
        self._mine.add(trial.number)
        return trial

    def check_hope(self, n: int = 1) -> None:
        """Check that one of the trials has had a value, once several of them have ended.

        :param n: Number of trials that may end without one before
        :raises Hopeless: If none has had a value, or the last :data:`REFUSED_IN_A_ROW` were all
            refused; says why, and what to do
        """
        ended = self.trials(*(state for state in TrialState if state.is_finished()))
        latest = ended[-REFUSED_IN_A_ROW:]
        stuck = len(latest) == REFUSED_IN_A_ROW and all(REFUSED in t.user_attrs for t in latest)
        if stuck or (len(ended) >= n and not any(map(has_value, ended))):
            ended = latest if stuck else ended
            raise Hopeless(
                f"{self.subject.label}: {none_has_returned(ended)}; once that is fixed, move the "
                f"journal in {self._folder} away: no run that is stored is repeated"
            )

    def passed(self, trial: Trial) -> int:
        """Return the number of rungs that a trial has a value on.

        :param trial: Trial in progress
        :return: Index of the rung that is next
        """
        return len(values_of(self.held(trial.number)))

    def failure_of(self, trial: Trial) -> str | None:
        """Return why an earlier trial with the same settings failed.

        :param trial: Trial in progress
        :return: Reason in one line; None if there is no such trial
        """
        own = self._key(self.held(trial.number))
        same = [t for t in self.trials() if FAILED in t.user_attrs and self._key(t) == own]
        return reason_of(same[0]) if same else None

    def report(self, trial: Trial, rung: int, value: float) -> bool:
        """Report the value of a trial on a rung; the trial ends if it goes no further.

        :param trial: Trial of this command
        :param rung: Index of the rung
        :param value: Value there
        :return: Whether the trial goes on to the next rung
        """
        subject = self.subject
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the command that was killed has reported it
            trial.report(value, rung)
        if rung == len(subject.rungs) - 1:
            self._study.tell(trial, value)
        elif self._goes_on(trial, rung, value):
            return True
        else:
            self._study.tell(trial, state=TrialState.PRUNED)
        self._release(trial)
        return False

    def _goes_on(self, trial: Trial, rung: int, value: float) -> bool:
        if rung < trial.user_attrs.get(AGAIN, 0):
            return True
        trials, own = self.trials(), self._key(self.held(trial.number))
        sound = [t for t in trials if FAILED not in t.user_attrs and len(values_of(t)) > rung]
        others = {self._key(t): values_of(t)[rung] for t in sound}
        others.pop(own, None)
        earlier = {self._key(t) for t in trials if t.number < trial.number}  # first on a tie
        better = sum((other, key in earlier) > (value, False) for key, other in others.items())
        return better < n_promoted(len(others) + 1, self.subject.search.halving)

    def fail(self, trial: Trial, kind: str, reason: str) -> None:
        """End a trial that has no value; the sampler takes it for the worst.

        :param trial: Trial of this command
        :param kind: :data:`REFUSED` or :data:`FAILED`
        :param reason: Reason, in one line
        """
        trial.set_user_attr(kind, reason)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial.set_constraint("ended", 1.0)  # else its values on earlier rungs would rank it
            self._study.tell(trial, state=TrialState.PRUNED)
        self._release(trial)

    def _key(self, trial: FrozenTrial) -> str:
        return settings_key(trial, self.subject.ranges)

    def _release(self, trial: Trial) -> None:
        self._mine.discard(trial.number)
        self._locks.release(trial.number + 1)

    def close(self) -> None:
        """Release the trials in progress to other commands."""
        self._locks.close()


def sampler_of(name: str, n_trials: int) -> TPESampler:
    """Return the sampler of the next trial, whose seed depends on the study and the trial alone.

    So a study whose trials end in the same order suggests the same, also after an interruption.

    :param name: Name of the study
    :param n_trials: Number of trials so far
    :return: Sampler
    """
    digest = hashlib.sha256(f"{name} {n_trials}".encode()).digest()
    return TPESampler(seed=int.from_bytes(digest[:4], "big"))
