"""The best few settings of a study, run again on seeds that no trial has seen.

The best of many noisy values is one whose noise was lucky, so that it is lower when it is measured
again: the winner's curse. With the value v of a setting in its trial and its value f on fresh
seeds, *optimism* is v − f. The setting with the highest f is chosen, which is again the best of a
few noisy values: of four that are alike, its f is too high by one standard error of f on average.
The grid's own settings are among the candidates, so that nothing is chosen which is not better on
the fresh seeds than what there was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from sb3_course.benchmark.definition.grid import RunSpec
from sb3_course.benchmark.storage.store import Store
from sb3_course.benchmark.tuning.subject import Subject
from sb3_course.benchmark.tuning.trials import last_value, ranked

OWN = "as in the grid"


@dataclass(frozen=True)
class Candidate:
    """A setting that is run again.

    :param label: ``trial 12``, or :data:`OWN`
    :param settings: Hyper-parameters by name; none for those of the grid
    :param trial: Number of its trial; None for the settings of the grid
    :param rung: Index of the last rung of its trial
    :param searched: Value in its trial
    :param whole: Whether that is of whole runs, and not of some that were stopped
    """

    label: str
    settings: dict[str, Any]
    trial: int | None = None
    rung: int | None = None
    searched: float | None = None
    whole: bool = True


@dataclass(frozen=True)
class Final:
    """What a candidate has reached on fresh seeds.

    :param candidate: The candidate
    :param value: Value on all fresh seeds together; -∞ if a run failed
    :param standard_error: Standard error of that value, by the jackknife over seeds
    :param failure: Why there is no value
    """

    candidate: Candidate
    value: float = -np.inf
    standard_error: float = np.nan
    failure: str = ""

    @property
    def optimism(self) -> float | None:
        """How much higher its value was in its trial, if that was of whole runs."""
        if self.candidate.searched is None or self.failure or not self.candidate.whole:
            return None
        return self.candidate.searched - self.value


def candidates_of(subject: Subject, trials: Iterable[FrozenTrial]) -> list[Candidate]:
    """Return the settings that are run again: the best of the trials, and those of the grid.

    :param subject: What is tuned
    :param trials: Trials, which have ended
    :return: Different settings, the best of the trials first
    """
    found: list[Candidate] = []
    own = _ids(subject, {})
    seen: set[tuple[str, ...]] = set()
    for trial in ranked(trials, subject):
        settings = subject.settings(trial.params)
        ids = _ids(subject, settings)
        if len(found) == subject.search.confirm.best or ids in seen:
            continue
        seen.add(ids)
        label = f"trial {trial.number}" + (f", {OWN}" if ids == own else "")
        rung = len(trial.intermediate_values) - 1
        whole = subject.rungs[rung].fraction == 1
        found.append(Candidate(label, settings, trial.number, rung, last_value(trial), whole))
    return found if own in seen else [*found, Candidate(OWN, {})]


def _ids(subject: Subject, settings: dict[str, Any]) -> tuple[str, ...]:
    return tuple(spec.id for spec in subject.fresh_runs(settings))


def runs_of(subject: Subject, candidates: Sequence[Candidate]) -> list[RunSpec]:
    """Return the runs of candidates on fresh seeds.

    :param subject: What is tuned
    :param candidates: Candidates
    :return: Runs of all of them
    """
    return [spec for each in candidates for spec in subject.fresh_runs(each.settings)]


def finals_of(subject: Subject, candidates: Sequence[Candidate], store: Store) -> list[Final]:
    """Return what candidates have reached on fresh seeds, the best first.

    :param subject: What is tuned
    :param candidates: Candidates
    :param store: Store of the results
    :return: The first one is chosen; none as long as a run of a candidate is not stored
    """
    finals = []
    for candidate in candidates:
        specs = subject.fresh_runs(candidate.settings)
        results = store.read(specs)
        failed = [result for result in results if result.failure is not None]
        if failed:
            reason = f"{failed[0].spec.label}: {failed[0].reason}"
            finals.append(Final(candidate, failure=reason))
        elif len(results) < len(specs):
            return []  # what is missing may be better
        else:
            seeds = subject.search.fresh_seeds()
            without = [subject.value([r for r in results if r.spec.seed != s]) for s in seeds]
            finals.append(Final(candidate, subject.value(results), jackknife(without)))
    # On a tie the grid's own settings come first: nothing replaces what is as good.
    return sorted(finals, key=lambda f: (f.value, not f.candidate.settings), reverse=True)


def jackknife(without: Sequence[float]) -> float:
    r"""Compute the standard error of a statistic from its values without one seed each.

    .. math:: \sqrt{\frac{n - 1}{n} \sum_i (\theta_{(i)} - \bar\theta)^2}

    For a mean it is its usual standard error.

    Source: Efron & Stein 1981, *The Jackknife Estimate of Variance*.

    :param without: Value without each seed, θ_(i)
    :return: Standard error
    """
    return float(np.sqrt((len(without) - 1) * np.var(without)))


def is_decided(finals: Sequence[Final]) -> bool:
    """Return whether one of the candidates is chosen.

    :param finals: Finals, the best first
    :return: Whether there are any, so that all have ended, and one has a value
    """
    return bool(finals) and not finals[0].failure


def chosen_of(finals: Sequence[Final]) -> dict[str, Any]:
    """Return the settings that are chosen.

    :param finals: Finals, the best first
    :return: Hyper-parameters by name; none for those of the grid
    """
    return finals[0].candidate.settings if is_decided(finals) else {}
