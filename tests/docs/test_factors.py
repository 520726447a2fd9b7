"""What the site says of the study of `scripts/imitation_factors.py`."""

import itertools
import json
from xml.etree import ElementTree

import factors
import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def made_up(monkeypatch, tmp_path):
    """Runs whose second choice of the first setting is worth 100, and of the second 10."""
    plan = factors.plan()
    names = list(plan["factors"])
    rng, lines = np.random.default_rng(0), []
    for seed in range(plan["seeds"]):
        noise = rng.normal()
        for choices in itertools.product(*plan["factors"].values()):
            run = {"choices": dict(zip(names, choices, strict=True)), "also": {}, "seed": seed}
            first = factors.study.first_choices(plan)
            changed = [run["choices"][name] != first[name] for name in names]
            value = 1_000 + noise + 100 * changed[0] + 10 * changed[1]
            returns = {"returns": [value] * 5, "returns_sampled": [value - 7] * 5}
            lines.append(json.dumps({"run": run, **returns}) + "\n")
    (tmp_path / "runs.jsonl").write_text("".join(lines))
    monkeypatch.setattr(factors, "RUNS", tmp_path / "runs.jsonl")
    factors.runs.cache_clear()
    yield names
    factors.runs.cache_clear()


def test_an_effect_is_the_mean_change_over_all_other_choices(made_up):
    found = [mean for mean, _, _ in factors.effects().values()]
    np.testing.assert_allclose(found, [100, 10, 0, 0, 0], atol=1e-9)
    assert factors.part("effects").splitlines()[2].count("+100 [+100, +100]") == 2
    assert "explain 100%" in factors.part("variance")


def test_every_plan_of_the_study_is_stored():
    stored = {json.loads(line)["run"]["seed"] for line in factors.RUNS.read_text().splitlines()}
    names = [run.name for run in factors.study.runs_of(factors.plan())]
    assert len(factors.runs()) == len(set(names)) == len(names)
    assert len(stored) == factors.plan()["more"]["seeds"]


def test_seeds_are_tabled_with_what_reaches_the_notes():
    lines = factors.part("seeds").splitlines()
    for name, line in zip(factors.combinations(), lines[2:], strict=True):
        mine = factors.combinations()[name]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:2] == [name, f"{len(mine)}"]
        hits = int((mine["mean"] >= factors.plan()["notes"]).sum())
        assert cells[5].startswith(f"{hits} of {len(mine)} [")


def test_what_the_page_says_in_short_holds():
    assert all(low < 0 < high for _, low, high in factors.effects().values())
    sampled = factors.effects("sampled")
    assert [name for name, (_, low, _) in sampled.items() if low > 0] == [
        "loss",
        "batch",
        "gradient steps",
    ]
    assert "together explain 5%" in factors.part("variance")
    _, low, high = factors.interval(pd.Series([2313.75, 1280.41, 3852.91, 3917.95, 5298.34]))
    assert f"{low:,.0f} to {high:,.0f}" in factors.part("stored")


def test_an_interval_is_students():
    mean, low, high = factors.interval(pd.Series([1.0, 2.0, 3.0]))
    assert (mean, low) == pytest.approx((2.0, 2.0 - 4.303 / 3**0.5), abs=1e-3)
    assert high - mean == pytest.approx(mean - low)


def test_the_drawing_is_the_same_each_time():
    svg = factors.drawing()
    assert svg == factors.drawing()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
