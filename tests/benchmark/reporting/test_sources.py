import json
from pathlib import Path

import pytest

from sb3_course.benchmark.logs.reading import Logs, read_logs
from sb3_course.benchmark.reporting.report import publish_logs, references_among
from sb3_course.benchmark.reporting.sources import sources
from sb3_course.benchmark.statistics.design import design_of_returns
from sb3_course.benchmark.statistics.scores import load_references
from sb3_course.benchmark.storage.manifest import configuration
from sb3_course.benchmark.storage.rounds import Rounds, write_rounds
from sb3_course.common.errors import UserError
from tests.benchmark import made_up
from tests.benchmark.logs.made_up_logs import arguments, evaluations, monitor
from tests.benchmark.made_up import ALGORITHMS


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """Two algorithms on two environments, one of which was measured while it trained."""
    monkeypatch.chdir(tmp_path)
    zoo = tmp_path / "zoo"
    for k in range(2):
        for environment in ("CartPole-v1", "Mine-v0"):
            evaluations(zoo / "ppo" / f"{environment}_{k}", [10, 20], [[5.0 + k], [9.0 + 2 * k]])
        monitor(zoo / "a2c" / f"CartPole-v1_{k}" / "0.monitor.csv", [(k, 5, t) for t in range(8)])
    evaluations(zoo / "ppo" / "CartPole-v1_2").write_bytes(b"")
    return read_logs("zoo")


def test_the_section_says_what_was_read_and_what_was_not(logs):
    section = sources(logs, design_of_returns("x", logs.table), ["ppo"])
    compared, read, unread = section.tables
    assert compared.rows == [
        ["CartPole-v1", "20 to 20", "1", "a2c, ppo"],
        ["Mine-v0", "10 to 20", "2", "none"],
    ]
    assert read.rows == [
        ["a2c", "CartPole-v1", "training episodes: monitor.csv", "0, 1", "zoo/a2c"],
        ["ppo", "CartPole-v1", "evaluations: evaluations.npz", "0, 1", "zoo/ppo"],
        ["ppo", "Mine-v0", "evaluations: evaluations.npz", "0, 1", "zoo/ppo"],
    ]
    ((path, reason),) = unread.rows
    assert path == "zoo/ppo/CartPole-v1_2"
    assert "damaged" in reason
    assert "Here, both are compared with each other on: CartPole-v1." in section.paragraphs
    assert any(
        text.endswith("numbered from 0 on each of them: ppo.") for text in section.paragraphs
    )


def test_a_task_that_a_grid_has_changed_is_told_where_logs_have_it_too(logs, tmp_path):
    def told(**settings):
        environments = {
            name: {"total_timesteps": 100, **settings} for name in ("CartPole-v1", "B-v0")
        }
        logs.grids[:] = [(made_up.grid(environments=environments), tmp_path / "mine")]
        return " ".join(sources(logs, design_of_returns("x", logs.table)).paragraphs)

    words = "CartPole-v1 has settings of its own in " + str(tmp_path / "mine")
    assert f"{words}: {{'time_limit': 50}}. The other paths do not" in told(time_limit=50)
    assert "settings of its own" not in told()
    assert "B-v0" not in told(time_limit=50)


def test_a_report_of_several_paths_answers_the_questions_of_its_grids(logs, tmp_path):
    grid = made_up.grid(n_algorithms=2, seeds=5, questions={"Better?": ALGORITHMS[:2]})
    made_up.written(tmp_path / "mine", made_up.results(grid))
    manifest = tmp_path / "mine" / "manifest.json"
    manifest.write_text(json.dumps({"grid": configuration(grid)}))
    page = publish_logs(read_logs(["ours=mine", "zoo"]), Path("compared"))
    text = (page.parent / "README.md").read_text()
    assert "| Better? (ours) NPG (ours) against BatchActorCritic (ours)" in text
    plan = Rounds(seeds=[[0, 1, 2, 3, 4], [5]], questions=grid.questions)
    write_rounds(tmp_path / "mine", plan)  # by which its own report answers them
    text = publish_logs(read_logs(["ours=mine", "zoo"]), Path("compared")).with_name("README.md")
    assert "Better?" not in text.read_text()


def test_the_report_of_logs_claims_nothing_about_a_grid(logs):
    page = publish_logs(logs, Path("compared"))
    text = (page.parent / "README.md").read_text()
    assert page == Path("compared/report.html")
    assert "5 runs" not in text
    assert "6 runs read." in text
    assert "training episodes: monitor.csv" in text
    for absent in ("sb3-course run", "How to reproduce", "deterministic actions", "nan"):
        assert absent not in text
    assert "| a2c | 3.00 s (7/s) | — |" in text  # the other log holds no times
    assert (page.parent / "returns.csv").read_text().count("\n") == 1 + len(logs.table)


def test_references_of_grids_among_the_logs_count(tmp_path):
    declared = {
        "CartPole-v1": {"random": 1.0, "expert": 2.0},
        "Mine-v0": {"random": 0, "expert": 9},
    }
    other = {"CartPole-v1": {"random": 1.0, "expert": 3.0}}
    environments = {name: {"total_timesteps": 9} for name in declared}
    first = made_up.grid(environments=environments, references=declared)
    second = made_up.grid(n_environments=1, references=other)
    logs = Logs([], grids=[(first, tmp_path), (second, tmp_path)])
    found = references_among(logs).environments
    assert (found["CartPole-v1"].random, found["CartPole-v1"].expert) == (1.0, 2.0)
    assert found["Mine-v0"].expert == 9.0
    assert found["Acrobot-v1"] == load_references().environments["Acrobot-v1"]
    assert references_among(Logs([])) == load_references()


def test_a_readme_of_something_else_is_not_overwritten(logs, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match=r"README.md is of no report; choose another folder"):
        publish_logs(logs, tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    for _ in range(2):  # its own is
        publish_logs(logs, tmp_path / "new")


def test_the_results_of_a_grid_are_not_overwritten(logs, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="holds the results of a grid; choose another folder"):
        publish_logs(logs, tmp_path / "mine")


def test_a_shipped_name_that_a_grid_gives_other_settings_has_no_shipped_scale(tmp_path):
    short = {"CartPole-v1": {"total_timesteps": 100, "time_limit": 50}}
    grid = made_up.grid(environments=short)
    logs = Logs([], grids=[(grid, tmp_path)])
    found = references_among(logs).environments
    assert "CartPole-v1" not in found and "HalfCheetah-v4" in found


def test_a_shipped_name_that_rl_zoo_gave_arguments_has_no_shipped_scale(tmp_path):
    folder = tmp_path / "zoo" / "ppo" / "CartPole-v1_1"
    evaluations(folder)
    arguments(folder, env_kwargs="{g: 0.0}")
    logs = read_logs(tmp_path / "zoo")
    found = references_among(logs).environments
    assert "CartPole-v1" not in found and "HalfCheetah-v4" in found
    text = publish_logs(logs, tmp_path / "out").with_name("README.md").read_text()
    assert r"RL Zoo made CartPole-v1 with env\_kwargs ({g: 0.0})" in text
