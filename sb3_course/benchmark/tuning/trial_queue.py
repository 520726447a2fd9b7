"""Queue of the runs of trials: a trial that ends a rung gets the runs of the next one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from optuna.trial import Trial

from sb3_course.benchmark.definition.constructor_checks import check_constructors
from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.definition.yaml_source import GridError, Source
from sb3_course.benchmark.execution.run_queue import RunLocks, RunQueue
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store
from sb3_course.benchmark.tuning.study import SharedStudy
from sb3_course.benchmark.tuning.trials import FAILED, REFUSED

Refusal = Callable[[Sequence[RunSpec]], str | None]
"""Function that returns why a constructor refuses the settings of runs, None if it does not."""


@dataclass
class Going:
    """A trial in progress.

    :param trial: The trial
    :param rung: Index of its rung
    :param runs: Its runs on that rung
    :param missing: Ids of those that have not ended
    """

    trial: Trial
    rung: int
    runs: Sequence[RunSpec]
    missing: set[str]


class TrialQueue:
    """Queue of runs, in which trials of a study appear as slots become free.

    :param study: Study
    :param store: Store of the results
    :param locks: Locks on the runs in progress
    :param refusal: Function that checks the settings of a trial before its first run
    :param tell: Function that gets each trial that has ended, its last rung, and its value or None
    """

    def __init__(
        self,
        study: SharedStudy,
        store: Store,
        locks: RunLocks,
        refusal: Refusal,
        tell: Callable[[Trial, int, float | None], None],
    ) -> None:
        self._study, self._store, self._refusal, self._tell = study, store, refusal, tell
        self._runs = RunQueue([], store, locks)
        self._going: dict[int, Going] = {}
        self._running: set[str] = set()

    def __len__(self) -> int:
        return len(self._runs) + (not self._study.over)

    def next(self, n: int) -> Iterator[RunSpec]:
        """Lock the next runs; a trial is begun for each slot that would stay free.

        :param n: Largest number of runs to yield
        :yield: Runs, each of which this process has locked
        """
        while len(self._runs) < n and (trial := self._study.take()) is not None:
            self._begin(trial)
        for spec in self._runs.next(n):
            self._running.add(spec.id)
            yield spec

    def ended(self, spec: RunSpec) -> None:
        """Unlock a run whose result has been written, and go on with the trials that it is of.

        :param spec: The run
        """
        self._running.discard(spec.id)
        self._runs.ended(spec)
        self._advance([spec])

    def ended_elsewhere(self) -> list[RunSpec]:
        """Return the runs that other processes have ended since the last call."""
        ended = self._runs.ended_elsewhere()
        self._advance(ended)
        return ended

    def _begin(self, trial: Trial) -> None:
        # A killed command may not have decided what follows from the last value: once more.
        rung = max(self._study.passed(trial) - 1, 0)
        if (reason := self._study.failure_of(trial)) is not None:
            self._study.fail(trial, FAILED, reason)
        elif (reason := self._refusal(self._runs_of(trial, rung))) is not None:
            self._study.fail(trial, REFUSED, reason)
        else:
            self._enter(trial, rung)
            return
        self._tell(trial, rung, None)

    def _enter(self, trial: Trial, rung: int) -> None:
        """Add the runs of a rung that are not stored; without any, the trial goes on at once."""
        specs = self._runs_of(trial, rung)
        sound = self._store.sound(specs)
        missing = {spec.id for spec in specs} - sound
        others = {name for going in self._going.values() for name in going.missing}
        others |= self._running
        self._going[trial.number] = Going(trial, rung, specs, missing)
        self._runs.add(s for s in specs if s.id in missing - others)
        if not missing:
            self._end_rung(self._going[trial.number])

    def _advance(self, ended: Iterable[RunSpec]) -> None:
        for spec in ended:
            for going in list(self._going.values()):
                if spec.id in going.missing:
                    going.missing.discard(spec.id)
                    self._look(going, spec)

    def _look(self, going: Going, spec: RunSpec) -> None:
        (result,) = self._store.read([spec])
        if result.failure is not None:
            self._fail(going, result)
        elif not going.missing:
            self._end_rung(going)

    def _fail(self, going: Going, result: RunResult) -> None:
        trial = self._going.pop(going.trial.number).trial
        others = {name for other in self._going.values() for name in other.missing}
        self._runs.remove(going.missing - others)
        self._study.fail(trial, FAILED, f"{result.spec.label}: {result.reason}")
        self._tell(trial, going.rung, None)

    def _end_rung(self, going: Going) -> None:
        del self._going[going.trial.number]
        value = self._study.subject.value(self._store.read(going.runs))
        if self._study.report(going.trial, going.rung, value):
            self._enter(going.trial, going.rung + 1)
        else:
            self._tell(going.trial, going.rung, value)

    def _runs_of(self, trial: Trial, rung: int) -> list[RunSpec]:
        subject = self._study.subject
        return subject.runs(subject.settings(trial.params), subject.rungs[rung])


def refusal_by_constructors(source: Source) -> Refusal:
    """Make the function that says why constructors refuse runs, if they do.

    :param source: Grid as it was read at the beginning, for messages
    :return: Function from runs to a reason in one line, or None
    """

    def refusal(specs: Sequence[RunSpec]) -> str | None:
        try:
            check_constructors(specs, source)
        except GridError as error:
            return str(error).partition("\n")[0]
        return None

    return refusal
