"""From stored turns to the tables of README.md."""

import importlib.util
import json
from pathlib import Path

import pytest
import summary
from rows import ROWS, Cell

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "results" / "speed"


def record(row, env_id, n_envs, rates, repetition=0, backend="envpool"):
    """Turns of 60 units; ``rates`` are units per CPU second, and half as many per second."""
    turns = {
        name: [{"units": 60, "cpu": 60 / rate, "wall": 120 / rate} for rate in rates[name]]
        for name in ROWS[row].contenders
        if name in rates
    }
    cell = {"env_id": env_id, "n_envs": n_envs, "backend": backend}
    return {"row": row, "cell": cell, "turns": turns, "repetition": repetition}


def online(n_envs, ours, theirs, **more):
    rates = {"OnlineActorCritic": ours, "SB3's A2C": theirs}
    return record("online", more.pop("env_id", "HalfCheetah-v4"), n_envs, rates, **more)


@pytest.fixture
def records():
    ispg = {"ISPG, 16 batches, balance heuristic": [1.0, 1.0], "ISPG, 16 batches": [2.0, 3.0]}
    bound = {name: [3.0] for name in ROWS["bound"].contenders} | {"bound": [4.0]}
    cloning = {"BC, batches of 100": [9.0], "imitation's BC, batches of 100": [2.0]}
    return [
        record("bound", "CartPole-v1", 8, bound),
        online(32, [2.0, 6.0], [1.0, 2.0]),
        online(32, [4.0, 10.0], [1.0, 2.0], repetition=1),
        online(8, [1.0], [2.0]),
        online(8, [3.0], [1.0], env_id="CartPole-v1", backend="dummy"),
        record("ispg", "CartPole-v1", 8, ispg),
        record("bc", "CartPole-v1", 0, cloning),
    ]


def test_turns_are_compared_round_by_round(records):
    assert summary.ratios(records[1:3], "OnlineActorCritic", "cpu") == pytest.approx([2, 3, 4, 5])


def test_the_clocks_are_told_apart(records):
    (record,) = records[3:4]
    record["turns"]["OnlineActorCritic"][0]["wall"] *= 2
    assert summary.ratios([record], "OnlineActorCritic", "cpu") == pytest.approx([0.5])
    assert summary.ratios([record], "OnlineActorCritic", "wall") == pytest.approx([0.25])


def test_a_cost_is_compared_the_other_way_round(records):
    found = summary.ratios(records[5:6], "ISPG, 16 batches, balance heuristic", "cpu")
    assert found == pytest.approx([2, 3])


def test_spread_is_the_median_and_the_quartiles():
    assert summary.spread([5.0, 1.0, 2.0, 4.0, 3.0]) == "3.00 [2.00, 4.00]"
    assert (summary.spread([1.5]), summary.spread([])) == ("1.50", "—")


def test_the_short_table_takes_the_main_count_or_the_only_one(records):
    assert summary.short_table(records)[1:] == [
        ["OnlineActorCritic / SB3's A2C", "HalfCheetah-v4", "32", *["3.50 [2.75, 4.25]"] * 2],
        ["OnlineActorCritic / SB3's A2C", "CartPole-v1, DummyVecEnv", "8", "3.00", "3.00"],
        [
            "ISPG, 16 batches, balance heuristic / ISPG, 16 batches, time of a step",
            *("CartPole-v1", "8", "2.50 [2.25, 2.75]", "2.50 [2.25, 2.75]"),
        ],
        [
            "BC, batches of 100 / imitation's BC, batches of 100, gradient steps",
            "CartPole-v1",
            "—",
            "4.50",
            "4.50",
        ],
    ]


def test_a_table_by_count_has_the_rows_that_are_measured_at_each(records):
    envpool, dummy = summary.count_table(records, "cpu", ["online", "ispg", "bc"])[1:]
    assert envpool[0] == dummy[0] == "OnlineActorCritic / SB3's A2C"
    assert envpool[1:] == ["HalfCheetah-v4", "—", "0.50", "3.50 [2.75, 4.25]", "—"]
    assert dummy[1:] == ["CartPole-v1, DummyVecEnv", "—", "3.00", "—", "—"]
    bound = summary.count_table(records, "cpu", ["bound"])[1:]
    assert [line[0] for line in bound] == list(ROWS["bound"].contenders[:-1])
    assert {tuple(line[1:]) for line in bound} == {("CartPole-v1", "—", "0.75", "—", "—")}


def test_what_is_measured_again_replaces_its_own_cell_alone(records):
    again = online(32, [7.0], [1.0])
    kept = [r for r in records if not (r["row"] == "online" and r["cell"]["n_envs"] == 32)]
    assert summary.merged(records, [again]) == [*kept, again]
    dummy = online(8, [3.0], [1.0])
    assert records[4] in summary.merged(records, [dummy])
    assert records[3] not in summary.merged(records, [dummy])


def test_stored_records_are_read_again_and_pages_lie_beside_them(records, tmp_path):
    assert summary.read(tmp_path) == []
    summary.write(tmp_path, records)
    assert summary.read(tmp_path) == records
    assert len((tmp_path / summary.STORED).read_text().splitlines()) == len(records) + 2
    assert {path.name for path in tmp_path.glob("*.md")} == summary.pages(records).keys()
    assert "Walker2d" not in (tmp_path / "rates.md").read_text()


def test_readme_takes_its_tables_from_the_stored_pages(records, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("readme", ROOT / "scripts" / "readme.py")
    readme = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(readme)
    summary.write(tmp_path / "results" / "speed", records)
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    for name, table in [
        ("ratios", summary.short_table(records)),
        ("bound", summary.count_table(records, "cpu", ["bound"])),
    ]:
        filled = readme.updated(f"<!-- results: speed/{name} --><!-- end -->")
        assert summary.markdown(table) in filled
        summary.write(tmp_path / "results" / "speed", records[1:])
    changed = [*records, online(32, [90.0], [1.0])]
    summary.write(tmp_path / "results" / "speed", changed)
    readme.block.cache_clear()
    assert summary.markdown(summary.short_table(changed)) in readme.block("speed/ratios")


@pytest.mark.parametrize("name", ["ratios.md", "counts.md", "counts_wall.md", "bound.md"])
def test_published_pages_are_those_of_the_stored_turns(name):
    pages = summary.pages(summary.read(STORED))
    path = STORED / name
    assert pages.get(name) == (path.read_text() if path.exists() else None)


@pytest.mark.parametrize("row", ROWS)
def test_rows_name_each_cell_and_contender_once(row):
    assert len(set(ROWS[row].cells)) == len(ROWS[row].cells) > 0
    assert len(set(ROWS[row].contenders)) == len(ROWS[row].contenders) > 1
    stored = json.loads(json.dumps(ROWS[row].cells[0].__dict__))
    assert Cell(**stored) == ROWS[row].cells[0]
