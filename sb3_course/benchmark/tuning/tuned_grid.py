"""The grid with the settings that were chosen, and with what they were chosen by."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from sb3_course.benchmark.definition.field_types import LONGEST_NAME
from sb3_course.benchmark.definition.grid import Grid
from sb3_course.benchmark.definition.search import with_settings
from sb3_course.benchmark.definition.yaml_source import dump
from sb3_course.benchmark.tuning.finals import Final, is_decided
from sb3_course.benchmark.tuning.progress import after, error_in_words, in_words
from sb3_course.benchmark.tuning.subject import Subject
from sb3_course.benchmark.tuning.trials import (
    FAILED,
    HOPELESS,
    has_value,
    n_counted,
    none_has_returned,
)
from sb3_course.common.files import write_whole
from sb3_course.common.tracking.code import git_commit, versions

NAME = "tuned.yaml"
ENDING = "_tuned"
"""End of the name of a tuned grid."""
Chosen = Sequence[tuple[Subject, Sequence[Final]]]


def write_tuned(grid: Grid, chosen: Chosen, lines: Sequence[str], folder: Path) -> Path:
    """Write the grid in which algorithms have the settings that were chosen for them.

    It is complete: `sb3-course run` takes it as it is, and its ``algorithms`` can be included by
    any other grid, or copied into one with these environments.

    :param grid: Grid that was tuned
    :param chosen: What was tuned, with what the best settings have reached on fresh seeds
    :param lines: What the choices rest upon
    :param folder: Folder of tuning
    :return: Path of the file
    """
    head = [
        f"Settings of {grid.name} chosen by `sb3-course tune`, whose runs are stored beside it.",
        *lines,
        f"Commit {git_commit() or 'unknown'}; "
        + ", ".join(f"{name} {v}" for name, v in versions().items() if v),
    ]
    text = dump(tuned_content(grid, chosen))
    comment = "".join(f"# {' '.join(line.split())}\n" for line in head)
    write_whole(folder / NAME, comment + text)
    return folder / NAME


def tuned_content(grid: Grid, chosen: Chosen) -> dict[str, Any]:
    """Return the tuned grid as plain data.

    :param grid: Grid that was tuned
    :param chosen: What was tuned, with what the best settings have reached
    :return: Keys and values of a grid file
    """
    content: dict[str, Any] = grid.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    content["name"] = grid.name[: LONGEST_NAME - len(ENDING)] + ENDING
    for subject, finals in chosen:
        if not is_decided(finals):
            continue
        settings = finals[0].candidate.settings
        algorithm = content["algorithms"][subject.algorithm]
        overrides = algorithm.setdefault("environments", {})
        if not subject.search.shared:
            override = overrides.setdefault(subject.environments[0], {})
            own = subject.grid.config(subject.algorithm, subject.environments[0]).params
            changed = with_settings(own, settings)
            heads = dict.fromkeys(name.partition(".")[0] for name in settings)
            override["params"] = override.get("params", {}) | {h: changed[h] for h in heads}
            continue
        algorithm["params"] = with_settings(algorithm.get("params", {}), settings)
        for override in overrides.values():
            if override.get("params"):
                relevant = {
                    k: v for k, v in settings.items() if k.partition(".")[0] in override["params"]
                }
                override["params"] = with_settings(override["params"], relevant)
    for algorithm in content["algorithms"].values():
        if not algorithm.get("environments", True):
            del algorithm["environments"]
    return content


def provenance(
    subject: Subject, finals: Sequence[Final], trials: Sequence[FrozenTrial]
) -> list[str]:
    """Return what a choice rests upon, in lines.

    :param subject: What was tuned
    :param finals: What the best settings have reached on fresh seeds, the best first
    :param trials: Trials of the search
    :return: Lines of plain text
    """
    search = subject.search
    if not trials:
        return [f"{subject.label}: not searched yet, with the settings of the grid"]
    if not finals:
        ended = [trial for trial in trials if trial.state.is_finished()]
        if len(ended) < min(HOPELESS, search.trials) or any(map(has_value, ended)):
            return [f"{subject.label}: nothing was chosen; the runs have not all ended"]
        return [f"{subject.label}: nothing was chosen: {none_has_returned(ended)}"]
    if not is_decided(finals):
        reasons = [line for final in finals for line in _curse(subject, final)]
        return [f"{subject.label}: nothing was chosen", *reasons]
    seeds = search.fresh_seeds()
    where = f"{len(seeds)} fresh seeds ({_listed(seeds)})"
    best = finals[0]
    found = f"{best.value:,.4g} ± {error_in_words(best.standard_error)} on {where}"
    measure = f"{search.objective} return"
    if search.shared:
        measure = f"IQM of the scores of the {measure}"
    n_failed = sum(FAILED in trial.user_attrs for trial in trials)
    failed = f", of which {n_failed} failed," if n_failed else ""
    lines = [
        f"{subject.label}: {best.candidate.label} ({in_words(best.candidate.settings)}), chosen of "
        f"{n_counted(trials)} trials{failed} with seeds {', '.join(map(str, search.seeds))} by the "
        f"{measure}: {found}"
    ]
    for final in finals:
        lines += _curse(subject, final)
    return lines


def _listed(seeds: Sequence[int]) -> str:
    """Return all seeds, or where they begin and end if they are consecutive."""
    whole = list(seeds) == list(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 2
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _curse(subject: Subject, final: Final) -> list[str]:
    candidate = final.candidate
    if final.failure:
        return [f"  {candidate.label}: {final.failure}"]
    line = f"  {candidate.label}: {final.value:,.4g} ± {error_in_words(final.standard_error)}"
    if candidate.rung is None or candidate.searched is None:
        return [line]
    before = after(subject, candidate.rung, candidate.searched)
    luck = "" if final.optimism is None else f": a luck of {final.optimism:+,.4g}"
    return [f"{line}; in its trial {before}{luck}"]
