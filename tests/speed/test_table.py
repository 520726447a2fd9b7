"""The command: what it measures, refuses and stores."""

import json

import pytest
import summary
import table
import typer
from rows import COUNTS, ROWS, Cell
from typer.testing import CliRunner

app = typer.Typer()
app.command()(table.main)


def test_a_plan_has_the_rows_at_these_counts():
    assert table.plan(["online", "bc"], [8]) == [
        ("online", Cell("HalfCheetah-v4", 8)),
        ("online", Cell("CartPole-v1", 8)),
        ("online", Cell("CartPole-v1", 8, "dummy")),
        ("bc", Cell("HalfCheetah-v4")),
        ("bc", Cell("CartPole-v1")),
    ]
    assert len(table.plan(ROWS, COUNTS)) == sum(len(row.cells) for row in ROWS.values())


@pytest.mark.parametrize("option", ["--row", "--without"])
def test_an_unknown_row_is_refused_by_name(option):
    result = CliRunner().invoke(app, [option, "onlin"], env={"COLUMNS": "300", "NO_COLOR": "1"})
    assert result.exit_code == 2
    assert "no row onlin" in result.output and "tianshou-npg" in result.output


def test_tianshou_has_the_batch_of_ours():
    pytest.importorskip("learners", reason="sb3-contrib is missing")
    steps = {
        row: table.peer_settings(row, ROWS[row].cells[0])["steps"]
        for row in ROWS
        if row.startswith("tianshou")
    }
    assert steps == {
        "tianshou-reinforce": 32_000,
        "tianshou-npg": 4096,
        "tianshou-batch": 4096,
        "tianshou-online": 160,
    }


@pytest.mark.slow
def test_rows_are_measured_stored_and_measured_again(tmp_path):
    chosen = ["--row", "bc32", "--rounds", "2", "--repetitions", "2", "--seconds", "0.01"]
    result = CliRunner().invoke(app, [*chosen, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    records = summary.read(tmp_path)
    assert [(r["repetition"], r["cell"]["env_id"]) for r in records] == [
        (repetition, env_id)
        for repetition in (0, 1)
        for env_id in ("HalfCheetah-v4", "CartPole-v1")
    ]
    assert all(len(turns) == 2 for r in records for turns in r["turns"].values())
    assert all(r["versions"]["torch"] and r["machine"]["cpu"] for r in records)
    again = CliRunner().invoke(app, [*chosen[:2], "--repetitions", "1", "--out", str(tmp_path)])
    assert again.exit_code == 0 and len(summary.read(tmp_path)) == 2
    assert "/" not in json.dumps(records[0]["machine"])
