import json
from collections import Counter
from io import StringIO

import numpy as np
import pytest
import yaml
from rich.console import Console

from sb3_course.benchmark.definition.checks import checked_grid
from sb3_course.benchmark.definition.yaml_source import GridError
from sb3_course.benchmark.plan import plan_grid
from sb3_course.benchmark.storage.grids import JOURNAL
from sb3_course.benchmark.storage.rounds import Rounds, write_rounds
from sb3_course.benchmark.tuning import sensitivity, tuner
from sb3_course.benchmark.tuning.finals import OWN, is_decided, jackknife
from sb3_course.benchmark.tuning.journal import open_journal
from sb3_course.benchmark.tuning.page import sections
from sb3_course.benchmark.tuning.progress import show_status
from sb3_course.benchmark.tuning.study import stored_trials
from sb3_course.benchmark.tuning.subject import subjects_of
from sb3_course.benchmark.tuning.trials import FAILED, REFUSED, values_of
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import HERE, content
from tests.benchmark.tuning.made_up import MadeUp, made, quality, searched, store, tune


@pytest.fixture(autouse=True)
def _no_page(monkeypatch):
    monkeypatch.setattr(sections, "write_tuning_page", lambda *_: "page")


def trials(folder, grid):
    storage = open_journal(folder / "tiny" / "tuning")
    (only,) = subjects_of(checked_grid(grid), {})
    return stored_trials(storage, only)


def test_the_best_setting_is_found_and_becomes_a_grid_that_runs(tmp_path, monkeypatch):
    grid = searched(trials=30)
    outcome, _ = tune(monkeypatch, tmp_path, grid)
    tuned = plan_grid(outcome.tuned, results=tmp_path)
    params = tuned.runs[0].config.params
    assert abs(params["gamma"] - 0.9) < 0.05
    assert params["n_steps"] == 16
    assert tuned.grid.name == "tiny_tuned"
    assert [spec.seed for spec in tuned.runs] == [0, 1]
    ((_, finals),) = outcome.finals
    assert len(finals) == 3
    assert finals[-1].candidate.label == OWN


def test_the_grid_says_what_its_settings_rest_upon(tmp_path, monkeypatch):
    outcome, _ = tune(monkeypatch, tmp_path, searched())
    ((_, finals),) = outcome.finals
    text = outcome.tuned.read_text()
    head = "".join(line for line in text.splitlines(True) if line.startswith("#"))
    for part in ("8 trials", "seeds 100, 101, 102", "103, 104", "final return", "Commit"):
        assert part in head
    best = finals[0]
    specs = _fresh(outcome)
    assert best.value == pytest.approx(np.mean([quality(spec) for spec in specs]))
    assert best.optimism == pytest.approx(best.candidate.searched - best.value)
    assert f"a luck of {best.optimism:+,.4g}" in head
    assert yaml.safe_load(text)["search"]["trials"] == 8


def _fresh(outcome):
    ((subject, finals),) = outcome.finals
    return subject.fresh_runs(finals[0].candidate.settings)


def test_no_run_is_executed_twice(tmp_path, monkeypatch):
    first, executor = tune(monkeypatch, tmp_path, searched())
    done = Counter(spec.id for spec in executor.started)
    assert set(done.values()) == {1}
    tuned = first.tuned.read_text()
    again, executor = tune(monkeypatch, tmp_path, searched())
    assert executor.started == []
    assert again.tuned.read_text() == tuned
    tune(monkeypatch, tmp_path, searched(trials=10, confirm={"best": 3, "seeds": 2}))
    assert len(trials(tmp_path, searched())) >= 10


def test_a_setting_that_is_tried_again_under_other_rules_is_not_run_again(tmp_path, monkeypatch):
    ranges = {"gamma": [0.9, 0.95, 0.99]}
    _, one = tune(monkeypatch, tmp_path, searched(ranges, halving=1, trials=6))
    _, other = tune(monkeypatch, tmp_path, searched(ranges, objective="mean", trials=6, halving=1))
    known = {spec.id for spec in one.started}
    assert [spec for spec in other.started if spec.id in known] == []


@pytest.mark.parametrize("slots", [1, 4])
def test_after_an_interruption_the_same_call_goes_on(tmp_path, monkeypatch, slots):
    whole, _ = tune(monkeypatch, tmp_path / "whole", searched(), MadeUp(slots))
    interrupts = 0
    for _ in range(9):
        try:
            tune(monkeypatch, tmp_path / "parts", searched(), MadeUp(slots, stops_after=5))
            break
        except KeyboardInterrupt:
            interrupts += 1
    parts, rest = tune(monkeypatch, tmp_path / "parts", searched())
    assert interrupts in range(2, 9)
    assert rest.started == []
    if slots == 1:  # else the order of the trials differs
        assert parts.tuned.read_text() == whole.tuned.read_text()
    assert len(trials(tmp_path / "parts", searched())) >= 8


def test_bad_settings_are_stopped_early_and_good_ones_have_every_seed(tmp_path, monkeypatch):
    _, executor = tune(monkeypatch, tmp_path, searched(trials=18))
    of_trials = [spec for spec in executor.started if spec.seed < 103]
    stopped = [spec for spec in of_trials if spec.config.stop_at == 100]
    whole = [spec for spec in of_trials if spec.config.stop_at is None]
    assert len(stopped) >= 15
    assert 6 <= len(whole) <= 20
    assert all(spec.seed == 100 for spec in stopped)
    assert all(spec.config.evaluation_steps == [0, 100] for spec in stopped)
    longest = max(trials(tmp_path, searched(trials=18)), key=lambda t: len(values_of(t)))
    assert len(values_of(longest)) == 3


def test_without_halving_every_setting_has_every_seed(tmp_path, monkeypatch):
    grid = searched(halving=1, trials=4)
    _, executor = tune(monkeypatch, tmp_path, grid)
    of_trials = [spec for spec in executor.started if spec.seed < 103]
    assert Counter(spec.seed for spec in of_trials) == {100: 4, 101: 4, 102: 4}


def test_a_trial_whose_run_fails_ends_and_the_search_goes_on(tmp_path, monkeypatch):
    grid = searched(halving=1, trials=10)

    def fails(spec):
        return spec.config.params.get("n_steps") == 16 and spec.seed == 101

    outcome, executor = tune(monkeypatch, tmp_path, grid, MadeUp(fails=fails))
    found = trials(tmp_path, grid)
    failed = [t for t in found if FAILED in t.user_attrs]
    assert failed
    assert "seed 101: ValueError: made to fail" in failed[0].user_attrs[FAILED]
    assert not any(values_of(t) for t in failed)
    ids = {s.id for s in executor.started if s.seed == 102 and s.config.params["n_steps"] == 16}
    assert ids == set()  # what comes after the failure is not begun
    ((_, finals),) = outcome.finals
    assert finals[0].candidate.settings.get("n_steps") != 16


def test_settings_that_a_constructor_refuses_cost_no_run(tmp_path, monkeypatch):
    """Either of the two is allowed, both together are not."""
    ranges = {"gamma": {"low": 0.8, "high": 1.0}, "n_steps": [None, 8], "n_episodes": [None, 2]}
    algorithms = {"A2C": {"class": "REINFORCE"}}
    grid = searched(ranges, algorithms=algorithms, trials=12)
    outcome, executor = tune(monkeypatch, tmp_path, grid)
    found = trials(tmp_path, grid)
    refused = [t for t in found if REFUSED in t.user_attrs]
    assert refused
    assert "refuses it" in refused[0].user_attrs[REFUSED]
    tried = [spec.config.params for spec in executor.started]
    assert not any(params.get("n_steps") and params.get("n_episodes") for params in tried)
    assert sum(REFUSED not in t.user_attrs for t in found) >= 12
    assert is_decided(outcome.finals[0][1])


def test_a_grid_file_may_be_moved_while_it_is_tuned(tmp_path, monkeypatch):
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(searched()))
    monkeypatch.setattr(tuner, "make_executor", lambda *_, **__: MadeUp())
    plan = tuner.plan_tuning(path, results=tmp_path / "results")
    path.unlink()
    tuner.run_tuning(plan)
    assert not any(REFUSED in t.user_attrs for t in trials(tmp_path / "results", searched()))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"executor": "slurm"}, "executor.*slurm"),
        ({"workers": 0}, "workers"),
        ({"workers": "2"}, "workers"),
        ({"retries": -1}, "retries"),
        ({"only": "algorithm=A2C"}, "only"),
    ],
)
def test_arguments_are_checked_before_anything_is_written(tmp_path, argument, message):
    with pytest.raises(UserError, match=message):
        tuner.tune_grid(searched(), results=tmp_path, **argument)
    assert not [*tmp_path.iterdir()]


def test_a_bound_that_a_constructor_refuses_is_told_before_any_run(tmp_path, monkeypatch):
    grid = searched({"learning_rate": {"low": -1, "high": 1e-2}, "n_steps": [-1, 8, 16]})
    with pytest.raises(GridError) as error:
        tune(monkeypatch, tmp_path, grid)
    lines = str(error.value).splitlines()
    assert [line.split(": ")[1:3] for line in lines] == [
        ["search.algorithms.A2C.learning_rate", "low -1"],
        ["search.algorithms.A2C.n_steps", "given -1"],
    ]
    assert not (tmp_path / "tiny").exists()


def test_a_finalist_that_fails_on_fresh_seeds_is_not_chosen(tmp_path, monkeypatch):
    def fails(spec):
        return spec.seed > 102 and bool(spec.config.params)

    outcome, _ = tune(monkeypatch, tmp_path, searched(), MadeUp(fails=fails))
    ((_, finals),) = outcome.finals
    assert finals[0].candidate.label == OWN
    assert "made to fail" in finals[-1].failure
    assert yaml.safe_load(outcome.tuned.read_text())["algorithms"]["A2C"].get("params", {}) == {}


def test_a_first_look_that_would_be_a_whole_run_is_none():
    """Its value would be cut by twice."""
    fractions = []
    for evaluation in ({"n_points": 1, "episodes": 1}, {"n_points": 2, "episodes": 1}):
        (of,) = subjects_of(checked_grid(searched() | {"evaluation": evaluation}), {})
        fractions.append([rung.fraction for rung in of.rungs])
    assert fractions == [[1.0, 1.0], [0.33, 1.0, 1.0]]


def test_several_studies_share_a_folder_and_can_be_chosen(tmp_path, monkeypatch):
    grid = searched(environments=("CartPole-v1", "Acrobot-v1"), trials=4)
    one, executor = tune(monkeypatch, tmp_path, grid, only=["environment=Acrobot-v1"])
    assert {spec.environment for spec in executor.started} == {"Acrobot-v1"}
    unsearched = "A2C on CartPole-v1: not searched yet, with the settings of the grid"
    assert one.provenance[0] == unsearched and unsearched in one.tuned.read_text()
    both, executor = tune(monkeypatch, tmp_path, grid)
    assert {spec.environment for spec in executor.started} == {"CartPole-v1"}
    assert [subject.label for subject, _ in both.finals] == [
        "A2C on CartPole-v1",
        "A2C on Acrobot-v1",
    ]
    overrides = yaml.safe_load(both.tuned.read_text())["algorithms"]["A2C"]["environments"]
    assert {len(each["params"]) for each in overrides.values()} == {3}
    packed = (tmp_path / "tiny/tuning/runs.jsonl").read_text().splitlines()
    assert len(store(tmp_path).finished()) == len(packed)


SCALES = {"CartPole-v1": {"random": 0, "expert": 100}, "Acrobot-v1": {"random": 50, "expert": 60}}


def test_one_setting_for_all_environments_is_compared_by_scores(tmp_path, monkeypatch):
    algorithms = {
        "A2C": {"class": "A2C", "environments": {"Acrobot-v1": {"params": {"gamma": 0.5}}}}
    }
    grid = searched(
        {"gamma": {"low": 0.8, "high": 0.999}},
        environments=tuple(SCALES),
        algorithms=algorithms,
        shared=True,
        trials=5,
        halving=1,
    ) | {"references": SCALES}
    outcome, _ = tune(monkeypatch, tmp_path, grid)
    ((subject, finals),) = outcome.finals
    assert subject.label == "A2C on all environments"
    best = finals[0]
    scores = [
        (quality(s) - SCALES[s.environment]["random"])
        / (SCALES[s.environment]["expert"] - SCALES[s.environment]["random"])
        for s in _fresh(outcome)
    ]
    assert best.value == pytest.approx(np.sort(scores)[1:3].mean())
    params = {spec.config.params["gamma"] for spec in plan_grid(outcome.tuned).runs}
    assert params == {best.candidate.settings["gamma"]}  # on both environments


def test_values_on_another_scale_are_another_study(tmp_path, monkeypatch):
    grid = searched(environments=tuple(SCALES), shared=True, trials=3, halving=1)
    for expert in (100, 1000):
        scales = {**SCALES, "CartPole-v1": {"random": 0, "expert": expert}}
        outcome, _ = tune(monkeypatch, tmp_path, grid | {"references": scales})
        ((subject, finals),) = outcome.finals
        studied = stored_trials(open_journal(tmp_path / "tiny" / "tuning"), subject)
        assert len(studied) == 3
        own = [final for final in finals if final.candidate.label == OWN]
        assert all(abs(final.optimism) < 0.2 for final in finals if final not in own)


def test_a_shared_choice_is_tried_on_every_environment_whatever_the_grid_has_there(
    tmp_path, monkeypatch
):
    """The grid's own settings, which differ, are no setting of the search, but a candidate."""
    other = {"Acrobot-v1": {"params": {"gamma": 0.8}}}
    a2c = {"class": "A2C", "params": {"gamma": 0.9}, "environments": other}
    names = ("CartPole-v1", "Acrobot-v1")
    search = {"shared": True, "halving": 1, "trials": 4, "sensitivity": 2}
    grid = searched({"gamma": [0.9, 0.99]}, names, {"A2C": a2c}, **search)
    outcome, executor = tune(monkeypatch, tmp_path, grid)
    ((subject, finals),) = outcome.finals
    assert subject.own_params is None
    tried = {spec.environment: set() for spec in executor.started}
    for spec in executor.started:
        if spec.seed <= 102:
            tried[spec.environment].add(spec.config.params["gamma"])
    assert tried == {name: {0.9, 0.99} for name in names}
    by_label = {final.candidate.label: final for final in finals}
    own = [s.config.params["gamma"] for s in subject.fresh_runs(by_label[OWN].candidate.settings)]
    assert own == [0.9, 0.9, 0.8, 0.8]


def test_returns_behind_a_trials_value_that_are_lost_are_told_and_made_again(tmp_path, monkeypatch):
    grid, folder = searched(), tmp_path / "tiny" / "tuning"
    tune(monkeypatch, tmp_path, grid)
    packed = folder / "runs.jsonl"
    whole = packed.read_text()
    lines = whole.splitlines(True)
    at = next(i for i, line in enumerate(lines) if '"seed":100' in line.replace(" ", ""))
    packed.write_text("".join([*lines[:at], lines[at][:100] + "\n", *lines[at + 1 :]]))
    console = Console(file=StringIO(), width=200)
    (line,) = show_status(checked_grid(grid), folder, console)
    assert "1 runs of its trials are missing" in line
    _, executor = tune(monkeypatch, tmp_path, grid)
    assert len(executor.started) == 1
    assert show_status(checked_grid(grid), folder, console) == []


def test_scores_need_references(tmp_path, monkeypatch):
    grid = searched(shared=True)
    grid["environments"]["CartPole-v1"]["time_limit"] = 50  # another task than the shipped one
    with pytest.raises(UserError, match="CartPole-v1 has no reference returns"):
        tune(monkeypatch, tmp_path, grid)


def runs_after_the_choice(outcome, executor):
    """Return the runs that follow those of the candidates on fresh seeds."""
    ((subject, finals),) = outcome.finals
    chosen = {s.id for f in finals for s in subject.fresh_runs(f.candidate.settings)}
    first = min(i for i, spec in enumerate(executor.started) if spec.id in chosen)
    return [spec for spec in executor.started[first:] if spec.id not in chosen]


def test_sensitivity_is_run_around_what_was_chosen(tmp_path, monkeypatch):
    grid = searched(sensitivity=3)
    outcome, executor = tune(monkeypatch, tmp_path, grid)
    ((_, finals),) = outcome.finals
    chosen = finals[0].candidate.settings
    after = runs_after_the_choice(outcome, executor)
    assert len({spec.id for spec in after}) == len(after) >= 2 * 6
    for spec in after:
        assert spec.seed in (103, 104)  # the trials' own chose the setting, by their luck
        changed = [name for name, v in chosen.items() if spec.config.params[name] != v]
        assert len(changed) <= 1
    assert {spec.config.params["gamma"] for spec in after} >= {0.8, 0.999}
    assert {spec.config.params["n_steps"] for spec in after} == {4, 8, 16}


def test_the_chosen_value_is_on_its_own_curve(tmp_path, monkeypatch):
    """Where it was run already: a peak between the values of a range would be left out."""
    records = []
    monkeypatch.setattr(sections, "write_tuning_page", lambda _, found, __: records.extend(found))
    outcome, _ = tune(monkeypatch, tmp_path, searched(sensitivity=3))
    ((_, finals),) = outcome.finals
    gamma = finals[0].candidate.settings["gamma"]
    curve = records[-1].curves["gamma"]
    assert gamma not in (0.8, 0.999)
    assert [point.position for point in curve] == sorted({0.8, 0.8995, 0.999, gamma})
    (here,) = (point for point in curve if point.position == gamma)
    assert here.value == pytest.approx(finals[0].value)


def test_a_choice_leaves_out_in_the_sensitivity_what_it_leaves_out_in_trials(tmp_path, monkeypatch):
    ranges = {
        "use_rms_prop": [True, False],
        "rms_prop_eps": {"low": 1e-6, "high": 1e-4, "when": {"use_rms_prop": True}},
    }
    grid = searched(ranges, sensitivity=2, trials=6)
    outcome, executor = tune(monkeypatch, tmp_path, grid)
    ((_, finals),) = outcome.finals
    chosen = finals[0].candidate.settings
    assert chosen.get("use_rms_prop", True)
    without = [spec.config.params for spec in executor.started]
    without = [params for params in without if params.get("use_rms_prop") is False]
    assert without
    assert all("rms_prop_eps" not in params for params in without)


def test_a_search_in_which_every_trial_has_failed_is_hopeless(tmp_path, monkeypatch):
    """Also if runs have returned on the first seed, on which all trials begin."""
    executor = MadeUp(fails=lambda spec: spec.seed == 101)
    for _ in range(2):
        with pytest.raises(UserError, match=r"none of \d+ trials has had a return"):
            tune(monkeypatch, tmp_path, searched(halving=1), executor)


def test_sensitivity_is_run_around_the_grids_own_setting(tmp_path, monkeypatch):
    """Constant where the grid's rate is, and with what depends on the grid's own choice."""
    own = {"gamma": 0.9, "n_steps": 16, "learning_rate": 1e-3, "use_rms_prop": True}
    rate = {"low": 1e-4, "high": 1e-2, "decay": [True, False]}
    ranges = {
        "gamma": {"low": 0.8, "high": 0.82},  # worse than the grid's
        "learning_rate": rate,
        "use_rms_prop": [True, False],
        "rms_prop_eps": {"low": 1e-6, "high": 1e-4, "when": {"use_rms_prop": True}},
    }
    grid = searched(
        ranges, algorithms={"A2C": {"class": "A2C", "params": own}}, sensitivity=2, trials=4
    )
    outcome, executor = tune(monkeypatch, tmp_path, grid)
    ((_, finals),) = outcome.finals
    assert finals[0].candidate.label == OWN
    after = [spec.config.params for spec in runs_after_the_choice(outcome, executor)]
    assert {params["learning_rate"] for params in after} >= {1e-4, 1e-2}
    ((subject, _),) = outcome.finals
    curves, _ = sensitivity.curves(subject, {}, store(tmp_path))
    assert [point.position for point in curves["gamma"]] == [0.8, 0.82, 0.9]  # outside its range
    assert curves["gamma"][-1].value == pytest.approx(finals[0].value)
    assert {params.get("rms_prop_eps") for params in after} == {None, 1e-6, 1e-4}
    for params in after:
        assert sum(params.get(name) != value for name, value in own.items()) <= 1


def test_a_grid_without_a_search_is_not_tuned(tmp_path):
    with pytest.raises(UserError, match="tiny has no `search`, as in"):
        tuner.plan_tuning(content(), results=tmp_path)
    assert not (tmp_path / "tiny").exists()


def test_own_settings_that_a_constructor_refuses_are_told_before_any_run(tmp_path, monkeypatch):
    broken = {"A2C": {"class": "A2C", "params": {"learning_rate": -1}}}
    with pytest.raises(UserError, match="learning_rate: given -1"):
        tune(monkeypatch, tmp_path, searched(algorithms=broken))


@pytest.mark.parametrize(
    ("only", "message"),
    [
        (["seed=0"], "unknown key of --only 'seed'"),
        (["algorithm=B"], "unknown algorithm 'B'"),
        (["environment=B"], "unknown environment 'B'"),
    ],
)
def test_conditions_that_match_nothing_are_refused(tmp_path, only, message):
    with pytest.raises(UserError, match=message):
        tuner.plan_tuning(searched(), only=only, results=tmp_path)


def test_seeds_that_rounds_have_published_are_refused(tmp_path):
    write_rounds(tmp_path / "tiny", Rounds(seeds=[[0, 1], [102, 103]], questions={}))
    with pytest.raises(UserError, match="seeds 102 are among the grid's own"):
        tuner.plan_tuning(searched(), results=tmp_path)


def test_the_manifest_says_how_it_was_tuned(tmp_path, monkeypatch):
    tune(monkeypatch, tmp_path, searched())
    manifest = json.loads((tmp_path / "tiny/tuning/manifest.json").read_text())
    assert manifest["grid"]["search"]["trials"] == 8
    assert manifest["commands"] == ["sb3_course.benchmark.tuning.tune_grid('tiny')"]


def test_a_lost_journal_costs_no_run(tmp_path, monkeypatch):
    """The trials are suggested as before, and their runs are stored."""
    before, _ = tune(monkeypatch, tmp_path, searched())
    (tmp_path / "tiny" / "tuning" / JOURNAL).unlink()
    after, executor = tune(monkeypatch, tmp_path, searched())
    assert executor.started == []
    assert after.tuned.read_text() == before.tuned.read_text()


def test_the_objective_is_what_settings_are_compared_by():
    grids = {
        name: subjects_of(checked_grid(searched(objective=name)), {})[0]
        for name in ("final", "mean", "best")
    }
    spec = grids["final"].runs({}, grids["final"].rungs[-1])[0]
    values = {name: subject.run_value(made(spec, -4.0)) for name, subject in grids.items()}
    assert values == {"final": -4.0, "mean": -2.5, "best": 0.0}


def test_a_grid_without_a_search_reports_no_status(tmp_path):
    assert show_status(checked_grid(content()), tmp_path, None) == []  # prints nothing


def test_runs_of_other_code_of_the_user_are_not_mixed_with_new_ones(tmp_path, monkeypatch):
    own = {"A2C": {"class": f"{HERE}:PassesOn"}}
    grid = searched(algorithms=own)
    tune(monkeypatch, tmp_path, grid, MadeUp(made_with={f"source of {HERE}": "another"}))
    with pytest.raises(UserError, match="runs with another .*helpers.*set it back, or move the"):
        tuner.plan_tuning(grid, results=tmp_path)


def test_the_grids_own_trial_is_of_the_same_code_as_well(tmp_path, monkeypatch):
    """It is run as the grid has it, whatever the ranges are by now."""
    own = {"A2C": {"class": f"{HERE}:PassesOn", "params": {"gamma": 0.99}}}
    first = MadeUp(made_with={f"source of {HERE}": "another"}, stops_after=2)
    with pytest.raises(KeyboardInterrupt):
        tune(monkeypatch, tmp_path, searched({"gamma": [0.9, 0.99]}, algorithms=own), first)
    other = searched({"gamma": [0.5, 0.9, 0.99]}, algorithms=own)
    with pytest.raises(UserError, match="runs with another .*set it back, or move the"):
        tuner.plan_tuning(other, results=tmp_path)


def test_nothing_is_chosen_before_every_candidate_has_ended(tmp_path, monkeypatch):
    """What is missing, the grid's own settings among it, may be better."""
    algorithms = {"A2C": {"class": "A2C"}, "B": {"class": "A2C"}}
    ranges = {name: {"n_steps": [4, 8]} for name in algorithms}
    grid = searched(algorithms=algorithms, halving=1, trials=2)
    grid["search"]["algorithms"] = ranges

    class Stopped(MadeUp):
        def start(self, spec):
            if sum(each.seed > 102 for each in self.started) == 3:  # of four at least
                raise KeyboardInterrupt
            super().start(spec)

    with pytest.raises(KeyboardInterrupt):
        tune(monkeypatch, tmp_path, grid, Stopped())
    outcome, _ = tune(monkeypatch, tmp_path, grid, only=["algorithm=B"])
    (_, of_a), (_, of_b) = outcome.finals
    assert list(of_a) == []
    assert is_decided(of_b)
    said = "A2C on CartPole-v1: nothing was chosen; the runs have not all ended"
    assert outcome.provenance[0] == said
    assert "environments" not in yaml.safe_load(outcome.tuned.read_text())["algorithms"]["A2C"]


def test_the_trials_that_were_made_are_told_not_those_that_were_asked_for(tmp_path, monkeypatch):
    def fails(spec):
        return spec.config.params.get("n_steps") == 16 and spec.seed == 101

    ranges = {"n_steps": [4, 8, 16]}
    tune(monkeypatch, tmp_path, searched(ranges, halving=1, trials=12), MadeUp(fails=fails))
    outcome, _ = tune(monkeypatch, tmp_path, searched(ranges, halving=1, trials=4))
    n = sum(FAILED in t.user_attrs for t in trials(tmp_path, searched(ranges, halving=1)))
    assert n > 0
    assert f"chosen of 12 trials, of which {n} failed, with seeds" in outcome.provenance[0]


def test_the_grids_own_settings_are_run_once_however_they_are_written(tmp_path, monkeypatch):
    """One has more digits than values that are suggested, the other is the default."""
    ranges = {"gamma": {"low": 0.8, "high": 0.999}, "learning_rate": {"low": 1e-4, "high": 1e-2}}
    algorithms = {"A2C": {"class": "A2C", "params": {"learning_rate": 0.00123456}}}
    grid = searched(ranges, algorithms=algorithms, trials=3, confirm={"best": 3, "seeds": 2})
    outcome, executor = tune(monkeypatch, tmp_path, grid)
    ((_, finals),) = outcome.finals
    assert sum(OWN in final.candidate.label for final in finals) == 1
    assert len(finals) == 3
    assert executor.started[0].config.params == algorithms["A2C"]["params"]


def test_no_sensitivity_is_run_around_nothing(tmp_path, monkeypatch):
    def fails(spec):
        return spec.seed > 102

    executor = MadeUp(fails=fails)
    outcome, _ = tune(monkeypatch, tmp_path, searched(halving=1, trials=2, sensitivity=3), executor)
    assert len(executor.started) == 2 * 3 + 3 * 2
    assert outcome.provenance[0] == "A2C on CartPole-v1: nothing was chosen"


def test_training_longer_is_no_luck(tmp_path, monkeypatch):
    outcome, _ = tune(monkeypatch, tmp_path, searched(trials=3, confirm={"best": 3, "seeds": 2}))
    ((subject, finals),) = outcome.finals
    stopped = [f for f in finals if f.candidate.rung == 0]
    assert stopped and subject.rungs[0].fraction < 1
    assert {f.optimism for f in stopped} == {None}
    lines = [line for line in outcome.provenance if "stopped at 100 steps" in line]
    assert lines and not any("luck" in line for line in lines)


def test_the_standard_error_is_of_what_is_compared():
    values = [3.0, 5.0, 10.0, 4.0]
    without = [np.mean(values[:i] + values[i + 1 :]) for i in range(4)]
    assert jackknife(without) == pytest.approx(np.std(values, ddof=1) / 2)


def test_a_hopeless_algorithm_costs_only_itself(tmp_path, monkeypatch):
    both = {name: {"class": "A2C"} for name in ("Bad", "Good")}
    grid = searched(algorithms=both)
    grid["search"]["algorithms"] = {name: {"gamma": {"low": 0.8, "high": 0.999}} for name in both}
    executor = MadeUp(fails=lambda spec: spec.algorithm == "Bad")
    outcome, _ = tune(monkeypatch, tmp_path, grid, executor)
    bad, good = outcome.finals
    assert (bool(bad[1]), is_decided(good[1])) == (False, True)
    text = outcome.tuned.read_text()
    assert "Bad on CartPole-v1: nothing was chosen: none of 8 trials has had a return" in text
    assert set(yaml.safe_load(text)["algorithms"]["Good"]["environments"]) == {"CartPole-v1"}


def test_if_all_are_hopeless_it_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="A2C on CartPole-v1: none of 8 trials has had a return"):
        tune(monkeypatch, tmp_path, searched(), MadeUp(fails=lambda spec: True))


class Constant(MadeUp):
    """Runs that all return the same, as on a task that every setting solves."""

    def start(self, spec):
        super().start(spec)
        self._ended[-1] = made(spec, 500.0)


def test_on_a_tie_the_grids_own_settings_stay(tmp_path, monkeypatch):
    outcome, executor = tune(monkeypatch, tmp_path, searched(trials=18), Constant())
    ((subject, finals),) = outcome.finals
    assert (finals[0].candidate.settings, finals[0].value) == ({}, 500.0)
    of_trials = [spec for spec in executor.started if spec.seed < 103]
    steps = sum(spec.config.stop_at or spec.config.total_timesteps for spec in of_trials)
    fresh = 3 * sum(spec.config.total_timesteps for spec in subject.fresh_runs({}))
    assert steps <= 1.3 * (subject.expected_steps() - fresh)  # halving goes on where all are equal


def test_values_that_fail_in_the_sensitivity_are_told_and_not_run_again(tmp_path, monkeypatch):
    records = []
    monkeypatch.setattr(sections, "write_tuning_page", lambda _, found, __: records.extend(found))
    grid = searched(sensitivity=3)
    ranges = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    grid["search"]["algorithms"]["A2C"] = ranges

    def fails(spec):
        return spec.config.params.get("learning_rate") == 1e-2

    for _ in range(2):
        _, executor = tune(monkeypatch, tmp_path, grid, MadeUp(fails=fails))
        assert records[-1].failed == ["learning_rate 0.01: ValueError: made to fail"]
        positions = [point.position for point in records[-1].curves["learning_rate"]]
        assert positions == pytest.approx([1e-4, 7e-4, 1e-3])  # both that go, and the grid's own
    assert executor.started == []


def test_a_search_that_is_interrupted_is_not_said_to_run(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        tune(monkeypatch, tmp_path, searched(), MadeUp(stops_after=2))
    console = Console(file=StringIO(), width=200)
    assert show_status(checked_grid(searched()), tmp_path / "tiny" / "tuning", console) == []
    head, row = console.file.getvalue().splitlines()[:2]
    counts = dict(
        zip(head.split()[1:], row.replace("A2C on CartPole-v1", "").split(), strict=False)
    )
    assert (counts["running"], counts["interrupted"]) == ("0", "1")
