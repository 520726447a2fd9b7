"""Every contender of every row can be made, and does at least what it is asked for."""

import sys
from pathlib import Path

import pytest
import tianshou_peer
from rows import ROWS, Cell
from turns import Turn

learners = pytest.importorskip("learners", reason="sb3-contrib is missing")

LEARNERS = sorted(
    {
        name
        for row in ROWS
        for name in ROWS[row].contenders
        if not row.startswith(("bc", "dagger")) and not name.startswith("Tianshou")
    }
)


@pytest.fixture
def small(monkeypatch):
    """Batches of a few steps."""
    for name, value in {"BATCH": 32, "EPISODE_STEPS": 4, "ONLINE_STEPS": 5}.items():
        monkeypatch.setattr(learners, name, value)
    monkeypatch.setitem(learners.WHOLE, "n_steps", 4)
    monkeypatch.setitem(learners.KEPT, "n_steps", 4)
    monkeypatch.setitem(learners.KEPT, "n_batches", 3)


@pytest.mark.parametrize("name", LEARNERS)
def test_learners_step_at_least_so_often(name, small):
    contender = learners.contender(name, Cell("CartPole-v1", 2, "dummy"))
    assert contender.batch in (8, 10, 32)
    turn = contender.turn(3 * contender.batch)
    assert 3 * contender.batch <= turn.units < 10 * contender.batch + 1000
    assert turn.cpu > 0 and turn.wall > 0


def test_each_turn_learns_from_the_same_policy(small):
    contender = learners.contender("OnlineActorCritic", Cell("CartPole-v1", 2, "dummy"))
    model = contender.work.__closure__[0].cell_contents
    first = {name: value.clone() for name, value in model.policy.state_dict().items()}
    contender.turn(20)
    assert any((value != first[name]).any() for name, value in model.policy.state_dict().items())
    contender.prepare()
    assert all((value == first[name]).all() for name, value in model.policy.state_dict().items())


def test_all_batches_are_there_from_the_first_turn_on(small):
    contender = learners.contender("ISPG, 16 batches", Cell("CartPole-v1", 2, "dummy"))
    model = contender.work.__closure__[0].cell_contents
    assert len(model.past_batches) == 2
    contender.turn(1)
    contender.turn(1)
    assert len(model.past_batches) == 3


@pytest.mark.parametrize("name", ["BC, batches of 32", "imitation's BC, batches of 32"])
def test_imitators_take_as_many_gradient_steps(name):
    imitators = pytest.importorskip("imitators", reason="imitation is missing")
    assert imitators.contender(name, Cell("CartPole-v1")).turn(3).units == 3


WORKER = """
import json, sys
made = json.loads(sys.argv[1])
print(json.dumps({"tianshou": "1"}), flush=True)
for line in sys.stdin:
    name, _, units = line.strip().rpartition(" ")
    if units == "0":
        sys.exit(3)
    print(json.dumps([int(units), len(name), made[name]["steps"]]), flush=True)
"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    monkeypatch.setattr(tianshou_peer, "WORKER", path)


def test_another_process_takes_its_turns(worker):
    made = {"Tianshou's A2C, 5 steps": {"steps": 7}}
    with tianshou_peer.tianshou(Path(sys.executable), made) as (contenders, versions):
        (remote,) = contenders.values()
        assert (versions, remote.batch) == ({"tianshou": "1"}, 7)
        assert [remote.turn(n) for n in (5, 9)] == [Turn(5, 23, 7), Turn(9, 23, 7)]
    assert remote.process.wait() == 0


def test_a_process_that_ends_is_an_error_and_no_endless_wait(worker):
    made = {"a": {"steps": 1}}
    with (
        pytest.raises(RuntimeError, match="exit code 3"),
        tianshou_peer.tianshou(Path(sys.executable), made) as (contenders, _),
    ):
        contenders["a"].turn(0)


def test_an_environment_that_is_complete_is_not_made_again(tmp_path, monkeypatch):
    (tmp_path / ".complete").touch()
    monkeypatch.setattr(tianshou_peer.subprocess, "run", None)
    assert tianshou_peer.environment(tmp_path) == tmp_path / "bin" / "python"
