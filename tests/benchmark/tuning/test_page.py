import optuna
import pytest

from sb3_course.benchmark.tuning.page.importance import FEWEST, importances
from sb3_course.benchmark.tuning.page.sections import StudyRecord, sections
from tests.benchmark.tuning.made_up import MadeUp, searched, subject, tune

optuna.logging.set_verbosity(optuna.logging.ERROR)


def trials(n, ranges=("gamma", "learning_rate")):
    """Return trials whose value is decided by γ alone."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(n):
        trial = study.ask()
        values = {name: trial.suggest_float(name, 0.8, 0.999) for name in ranges}
        trial.report(-abs(values["gamma"] - 0.9), 0)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    return study.trials


def test_what_decides_is_important():
    found = importances(trials(80), subject(halving=1))
    assert found["gamma"] > 0.8
    assert sum(found.values()) == pytest.approx(1.0)


def test_few_trials_have_no_importances():
    assert importances(trials(FEWEST - 1), subject(halving=1)) == {}


def test_the_page_holds_choice_history_slices_and_sensitivity(tmp_path, monkeypatch):
    def fails(spec):
        return spec.config.params.get("n_steps") == 4

    outcome, _ = tune(monkeypatch, tmp_path, searched(sensitivity=2, trials=8), MadeUp(fails=fails))
    text = outcome.page.read_text()
    ((_, finals),) = outcome.finals
    assert f"{finals[0].value:,.4g}" in text
    for part in ("A2C on CartPole-v1: the search", "History", "Slices", "Sensitivity", "luck"):
        assert part in text
    assert "ValueError: made to fail" in text  # in the table of trials
    kinds = {path.name.partition("_")[0] for path in outcome.page.parent.glob("figures/*.png")}
    assert kinds == {"history", "slices", "sensitivity"}
    assert outcome.page.with_name("README.md").exists()
    assert str(tmp_path) not in text


def test_a_study_that_has_just_begun_has_a_page():
    head, choice = sections([StudyRecord(subject(), [])])
    assert head.points == ["A2C on CartPole-v1: nothing was chosen"]
    assert choice.paragraphs == ["The trials, or the runs on fresh seeds, have not all ended."]
