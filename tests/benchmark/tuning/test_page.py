import copy
from itertools import pairwise

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.definition.search import Searched
from sb3_course.benchmark.reporting.drawing.figures import together
from sb3_course.benchmark.reporting.drawing.files import DPI, drawn
from sb3_course.benchmark.statistics import metrics
from sb3_course.benchmark.statistics.scores import Reference
from sb3_course.benchmark.tuning.journal import open_journal
from sb3_course.benchmark.tuning.page.figures import sensitivity, written
from sb3_course.benchmark.tuning.page.importance import FEWEST, importances
from sb3_course.benchmark.tuning.page.sections import StudyRecord, parameters, search, sections
from sb3_course.benchmark.tuning.progress import error_in_words, status_table
from sb3_course.benchmark.tuning.sensitivity import Point, _point
from sb3_course.benchmark.tuning.space import values_along
from sb3_course.benchmark.tuning.subject import subjects_of
from sb3_course.benchmark.tuning.trials import AGAIN
from tests.benchmark.tuning.made_up import MadeUp, searched, study, subject, tune

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


@pytest.mark.parametrize(("n_best", "told"), [(4, False), (5, True)])
def test_what_few_of_the_best_have_has_no_importance(n_best, told):
    """As a conditional one: the density of a single point looks like a decision."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for i in range(40):
        trial = study.ask()
        gamma = trial.suggest_float("gamma", 0.8, 0.999)
        if i < 20 or i >= 40 - n_best:  # the best ten come last
            trial.suggest_float("rate", 0.1, 0.11 if i >= 30 else 1.0)
        trial.report(i + gamma, 0)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    found = importances(study.trials, subject(halving=1))
    assert set(found) == ({"gamma", "rate"} if told else {"gamma"})
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
    assert head.points == ["A2C on CartPole-v1: not searched yet, with the settings of the grid"]
    assert choice.paragraphs == ["The trials, or the runs on fresh seeds, have not all ended."]


def test_a_second_chance_is_one_trial_of_one_setting(tmp_path):
    """Its runs of the rungs that it has passed before are not made again."""
    of = study(open_journal(tmp_path), tmp_path, trials=2, seeds=2, halving=2)
    first = of.take()
    assert of.report(first, 0, 1.0) and of.report(first, 1, 1.0) and not of.report(first, 2, 1.0)
    second = of.take()
    assert of.report(second, 0, 9.0) and not of.report(second, 1, 0.5)
    again = of.trials()[1]
    attrs = {**again.user_attrs, AGAIN: 1}
    trials = [*of.trials(), copy_of(again, number=2, user_attrs=attrs)]
    record = StudyRecord(of.subject, trials)
    text = search(record).paragraphs[0]
    assert text.startswith("2 trials, about 1,400 environment steps. Of their 2 different settings")
    running = copy_of(again, number=3, user_attrs=attrs, state=TrialState.RUNNING)
    table = status_table([(of.subject, [*trials, running], {})], terminal=False)
    assert [next(iter(c.cells)) for c in table.columns[1:5]] == ["2", "2", "2", "0"]


def copy_of(trial, **changes):
    made = copy.deepcopy(trial)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_nothing_is_important_where_all_are_equal():
    equal = [copy_of(trial) for trial in trials(80)]
    for trial in equal:
        trial.intermediate_values = {0: 500.0}
    assert importances(equal, subject(halving=1)) == {}
    record = StudyRecord(subject(halving=1), equal)
    assert parameters(record).paragraphs == ["No importances: all settings have the same value."]


@pytest.mark.parametrize(
    ("bounds", "texts"),
    [
        ({"low": 0.99, "high": 0.999}, ["0.99", "0.9945", "0.999"]),
        ({"low": 16, "high": 1024, "log": True}, ["16", "128", "1,024"]),
        ({"low": 1e-4, "high": 1e-2, "log": True}, ["0.0001", "0.001", "0.01"]),
        ({"low": 0.003, "high": 0.1, "log": True}, ["0.003", "0.0173", "0.1"]),
    ],
)
def test_the_values_at_an_axis_are_those_of_the_range(bounds, texts):
    range_of = Searched(**bounds)
    assert written(values_along(range_of, 3), range_of) == texts


@pytest.mark.parametrize("others", [[[64, 64]], [[64, 64], [16], {"net_arch": {"pi": [8, 8, 8]}}]])
def test_long_choices_have_room(others):
    choices = [*others, {"pi": [64, 64], "vf": [256, 256]}]
    ranges = {"policy_kwargs.net_arch": {"values": choices}, "n_steps": {"values": [8, 16]}}
    of = subject(ranges=ranges)
    curve = [Point(i, 1.0, 0.0, 2.0) for i in range(2)]
    panels = sensitivity(of, dict.fromkeys(of.ranges, curve), {}, "Return")
    figure = together(panels, {})
    drawn(figure, "sensitivity")
    figure.set_dpi(DPI)
    for axes in figure.axes:
        assert axes.get_window_extent().height > 0.7 * DPI
        labels = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert min(label.y0 for label in labels) > 0
        assert all(a.x1 < b.x0 for a, b in pairwise(labels))


@pytest.mark.parametrize(("points", "name"), [(2, "50%"), (4, "25%")])
def test_a_rung_is_named_after_where_runs_stop(points, name):
    grid = searched()
    grid["evaluation"] = {"n_points": points, "episodes": 2}
    (only,) = subjects_of(load_grid(grid), {})
    assert only.rung_names[0] == f"1 seed, {name} of the steps"


def test_a_shared_setting_is_varied_by_what_it_is_chosen_by():
    scale = {
        name: Reference(random=0.0, expert=1.0, expert_name="made up")
        for name in ("CartPole-v1", "Acrobot-v1")
    }
    (only,) = subjects_of(load_grid(searched(environments=tuple(scale), shared=True)), scale)
    values = [0.0, 0.1, 0.2, 0.3, 0.4, 9.0]
    point = _point(only, 1.0, values)
    assert point.value == pytest.approx(metrics.iqm(np.array(values)[:, None]))
    assert point.value != pytest.approx(np.mean(values))


@pytest.mark.parametrize(("error", "text"), [(0.5234, "0.52"), (62.4, "62"), (1843.2, "1,843")])
def test_errors_are_written_as_numbers(error, text):
    assert error_in_words(error) == text
