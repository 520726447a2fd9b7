"""The study of ``scripts/imitate.py``, as far as a test can wait for."""

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def study(monkeypatch):
    spec = importlib.util.spec_from_file_location("imitate_study", SCRIPTS / "imitate.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def idle(obs):
    return np.zeros((len(obs), 3))


def test_the_study_makes_the_runs_that_it_plans(study, tmp_path, monkeypatch):
    shown = {"obs": np.zeros((20, 11)), "acts": np.zeros((20, 3))}
    monkeypatch.setattr(study, "teacher", lambda *_: study.Teacher(idle, shown, 1.0))
    plan = study.read_yaml((SCRIPTS / "imitation.yaml").read_text())
    run = next(study.runs_of(plan, with_files=False))
    small = {"n_steps": 10, "gradient_steps": 3}
    run = dataclasses.replace(run, rounds=1, episodes=1, settings=run.settings | small)
    study.execute(run, None, tmp_path)
    kept = json.loads((tmp_path / "runs" / f"{run.name}.json").read_text())
    assert [r["dagger/n_transitions"] for r in kept["rounds"]] == [20, 30]
    assert kept["run"] == dataclasses.asdict(run)
    assert {"git_commit", "cpu", "torch"} <= kept["versions"].keys()
    table = study.table_of(tmp_path)
    study.run_files(tmp_path, study.Run).pack()
    assert not list((tmp_path / "runs").glob("*.json"))
    assert study.table_of(tmp_path).equals(table) and len(table) == 2


def test_the_published_table_is_that_of_the_stored_runs(study):
    folder = study.RESULTS / "imitation"
    plan = study.read_yaml((SCRIPTS / "imitation.yaml").read_text())
    table = study.by_plan(study.table_of(folder), plan)
    assert table.to_csv(index=False) == (folder / "returns.csv").read_text()


def test_every_round_is_a_column_and_every_part_has_a_figure(study):
    folder = study.RESULTS / "imitation"
    plan = study.read_yaml((SCRIPTS / "imitation.yaml").read_text())
    table = study.by_plan(study.table_of(folder), plan)
    ours = table[table["part"] == "ours"]
    hopper, *_ = study.tables_of(ours)
    assert list(hopper.header) == ["Method", "BC", *(f"Round {n}" for n in range(1, 7))]
    runs = ours[(ours["environment"] == "Hopper-v4") & (ours["round"] == 6)]
    returns = runs[runs["method"] == "DAgger"]["eval_mean_reward"]
    name, *_, last = hopper.cells[0]
    assert name.text == "DAgger"
    assert (last.text, last.note) == (f"{returns.mean():,.0f}", f"± {returns.std():,.0f}")
    picture = study.picture_of("ours", ours, plan)
    assert [panel.title for panel in picture.panels] == plan["parts"]["ours"]["environments"]
    assert picture.references == ["expert"]


def test_the_study_of_factors_trains_what_it_plans(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    factors = importlib.import_module("imitation_factors")
    plan = factors.read_study()
    small = {"n_steps": 10, "gradient_steps": 3, "n_eval_episodes": 0}
    plan |= {"settings": plan["settings"] | small, "episodes": 1}
    plan["factors"]["gradient steps"] = {"1000": {}, "3000": {}}
    shown = {"obs": np.zeros((20, 17)), "acts": np.zeros((20, 6))}
    monkeypatch.setattr(factors, "load_expert", lambda _: lambda obs: np.zeros((len(obs), 6)))
    monkeypatch.setattr(factors, "load_demonstrations", lambda _: shown)
    runs = list(factors.runs_of(plan))
    assert len({run.name for run in runs}) == len(runs)
    learned, held = (
        next(run for run in runs if run.choices["loss"] == loss) for loss in plan["factors"]["loss"]
    )
    facts = factors.execute(held, plan, Path("files"))
    assert facts["std"] == 0.05 and len(facts["returns"]) == 1
    assert {"git_commit", "cpu", "torch"} <= facts["versions"].keys()
    assert factors.execute(learned, plan, Path("files"))["std"] != 1.0
