"""How much each hyper-parameter has to do with whether a setting is among the good ones."""

from collections import Counter
from collections.abc import Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, create_trial

from sb3_course.benchmark.tuning.subject import Subject
from sb3_course.benchmark.tuning.trials import last_value, ranked, values_of

AMONG_BEST = 5
"""Fewest of the best quarter of trials that have to have a hyper-parameter for its importance."""
FEWEST = 4 * AMONG_BEST
"""Number of trials with a value below which no importance is told."""


def importances(trials: Sequence[FrozenTrial], subject: Subject) -> dict[str, float]:
    """Compute the importance of each hyper-parameter by PED-ANOVA.

    It compares where the best quarter of the trials lies with where all of them do. Only the order
    of the trials counts: who was promoted further is better, then who has the higher value. A
    hyper-parameter that fewer than :data:`AMONG_BEST` of the best quarter have, since it depends on
    a condition, is left out: a density of one or two points says nothing.

    Source: Watanabe et al. 2023, *PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
    Arbitrary Subspaces*.

    :param trials: Trials of a study
    :param subject: What is tuned
    :return: Importances that sum to 1, the highest first; none if there are too few trials, or all
        have the same value
    """
    order = ranked(trials, subject)
    if len(order) < FEWEST or all_equal(order):
        return {}
    study = optuna.create_study(direction="maximize")
    places: dict[tuple[int, float], int] = {}
    for trial in reversed(order):
        place = places.setdefault((len(values_of(trial)), last_value(trial)), len(places))
        study.add_trial(
            create_trial(params=trial.params, distributions=trial.distributions, value=float(place))
        )
    found = get_param_importances(
        study, evaluator=PedAnovaImportanceEvaluator(target_quantile=0.25)
    )
    among_best = Counter(name for trial in order[: len(order) // 4] for name in trial.params)
    found = {name: found[name] for name in found if among_best[name] >= AMONG_BEST}
    total = sum(found.values())
    return {str(name): value / total for name, value in found.items()} if total > 0 else {}


def all_equal(trials: Sequence[FrozenTrial]) -> bool:
    """Return whether trials do not differ in any value, so that chance alone has ordered them.

    :param trials: Trials with a value
    :return: Whether all values, on all rungs, are the same
    """
    return len({value for trial in trials for value in values_of(trial)}) == 1
