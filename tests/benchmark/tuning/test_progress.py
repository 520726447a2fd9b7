"""What is shown of a study, while it goes on and after it."""

from itertools import groupby

import pytest

from sb3_course.benchmark.tuning.journal import open_journal
from sb3_course.benchmark.tuning.progress import SECOND_CHANCES, stage_of
from sb3_course.benchmark.tuning.study import stored_trials
from tests.benchmark.tuning.made_up import MadeUp, searched, store, subject, tune


def stage(folder, **search):
    """Return what the study of a grid is at, read as another command does."""
    of = subject(**search)
    trials = stored_trials(open_journal(folder / "tiny" / "tuning"), of)
    return stage_of(of, trials, store(folder))


def test_what_a_study_is_at_is_told_to_the_end(tmp_path, monkeypatch):
    told, search = [], {"sensitivity": 2, "trials": 8}
    for _ in range(60):
        try:
            outcome, _ = tune(monkeypatch, tmp_path, searched(**search), MadeUp(stops_after=2))
        except KeyboardInterrupt:
            told.append(stage(tmp_path, **search))
        else:
            break
    kinds = [kind for kind, _ in groupby(text.partition(",")[0] for text in told)]
    assert [kind for kind in kinds if kind != SECOND_CHANCES] == [
        "trials",
        "fresh seeds",
        "sensitivity",
    ]
    fresh = [text for text in told if text.startswith("fresh")]
    assert fresh == sorted(fresh) and fresh[-1].endswith("of 6 runs")
    ((_, finals),) = outcome.finals
    assert stage(tmp_path, **search) == f"chosen: {finals[0].candidate.label}"


def test_trials_that_are_gone_on_with_are_told(tmp_path, monkeypatch):
    """As many as there are to be have ended, and yet something runs."""
    tune(monkeypatch, tmp_path, searched())
    of = subject()
    trials = stored_trials(open_journal(tmp_path / "tiny" / "tuning"), of)
    best = max(trials, key=lambda trial: len(trial.intermediate_values))
    early = [trial for trial in trials if trial is not best]
    best.intermediate_values = {0: best.intermediate_values[0]}
    assert stage_of(of, [*early, best], store(tmp_path)) == SECOND_CHANCES
    assert stage_of(of, early, store(tmp_path)) == "trials"


@pytest.mark.parametrize("first_bad", [0, 103])
def test_a_study_with_nothing_to_choose_is_told(tmp_path, monkeypatch, first_bad):
    failing = MadeUp(fails=lambda spec: spec.seed >= first_bad)
    try:
        tune(monkeypatch, tmp_path, searched(), failing)
    except ValueError:  # no trial had a value
        assert first_bad == 0
    assert stage(tmp_path) == "nothing chosen"
