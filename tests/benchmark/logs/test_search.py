import os

import pytest

from sb3_course.benchmark.logs import search
from sb3_course.benchmark.logs.layout import ZOO, Layout
from sb3_course.benchmark.logs.search import EVALUATIONS, MONITOR, find_runs, kind_of, of_kind
from sb3_course.common.errors import UserError

LAYOUT = Layout.parse(ZOO)


@pytest.fixture
def tree(tmp_path):
    """Write empty files, and return the folder."""

    def write(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        return tmp_path

    return write


def names(runs, root):
    return {
        str(r.path.relative_to(root)): [str(f.relative_to(r.path)) for f in r.files] for r in runs
    }


def test_all_files_at_or_below_a_runs_path_are_its_own(tree):
    root = tree(
        "logs/ppo/A-v1_1/evaluations.npz",
        "logs/ppo/A-v1_1/0.monitor.csv",
        "logs/ppo/A-v1_1/A-v1/args.yml",
        "logs/ppo/A-v1_1/PPO_1/events.out.tfevents.1.host",
        "logs/ppo/A-v1_1/model.zip",
        "logs/ppo/A-v1_2/eval/evaluations.npz",
    )
    runs, unread = find_runs(root / "logs", LAYOUT)
    assert names(runs, root / "logs") == {
        "ppo/A-v1_1": [
            "0.monitor.csv",
            "evaluations.npz",
            "A-v1/args.yml",
            "PPO_1/events.out.tfevents.1.host",
        ],
        "ppo/A-v1_2": ["eval/evaluations.npz"],
    }
    assert unread == []
    assert runs[0].says == {"algorithm": "ppo", "environment": "A-v1", "seed": "1"}


@pytest.mark.parametrize("inside", ["ppo", "ppo/A-v1_1", "ppo/A-v1_1/evaluations.npz"])
def test_a_part_of_a_folder_of_logs_is_read_as_such(tree, monkeypatch, inside):
    root = tree("logs/ppo/A-v1_1/evaluations.npz")
    monkeypatch.chdir(root / "logs")
    for start in (root / "logs" / inside, type(root)(inside)):
        (run,), unread = find_runs(start, LAYOUT)
        assert run.says == {"algorithm": "ppo", "environment": "A-v1", "seed": "1"}
        assert len(run.files) == 1
        assert unread == []


def test_the_name_of_the_folder_itself_makes_it_no_run(tree):
    """``x/logs_1`` would fit the layout, and have all of these files."""
    root = tree("x/logs_1/deep/er/PPO/a/evaluations.npz", "x/logs_1/deep/er/PPO/b/evaluations.npz")
    with pytest.raises(UserError, match="matches none of 2 log files"):
        find_runs(root / "x" / "logs_1", LAYOUT)


def test_a_file_can_be_a_run(tree):
    root = tree("A_0.monitor.csv", "A_1.monitor.csv")
    runs, _ = find_runs(root, Layout.parse("{algorithm}_{seed}.monitor.csv"))
    assert [(run.path, run.files) for run in runs] == [
        (root / f"A_{k}.monitor.csv", [root / f"A_{k}.monitor.csv"]) for k in range(2)
    ]


def test_logs_that_do_not_match_are_listed_and_others_are_read(tree):
    root = tree("ppo/A-v1_1/evaluations.npz", "old/evaluations.npz", "old/args.yml")
    runs, unread = find_runs(root, LAYOUT)
    assert len(runs) == 1
    assert [path.relative_to(root).as_posix() for path, _ in unread] == ["old/evaluations.npz"]
    assert "does not match the layout" in unread[0][1]


def test_a_run_of_rl_zoos_that_has_no_log_is_listed(tree):
    root = tree("ppo/A-v1_1/evaluations.npz", "ppo/A-v1_2/A-v1/args.yml")
    runs, unread = find_runs(root, LAYOUT)
    assert len(runs) == 1
    assert unread == [(root / "ppo" / "A-v1_2", "no log in it")]


def test_a_layout_that_matches_nothing_is_told_with_examples(tree):
    root = tree(*(f"run{k}/evaluations.npz" for k in range(5)))
    with pytest.raises(UserError) as caught:
        find_runs(root, LAYOUT)
    message = str(caught.value)
    assert "matches none of 5 log files" in message
    assert message.count("/evaluations.npz") == 3
    assert "--layout" in message


def test_a_folder_without_logs_is_told(tree):
    root = tree("notes.txt", "results.csv")
    with pytest.raises(UserError, match="no log in it; allowed: evaluations.npz"):
        find_runs(root, LAYOUT)


def test_links_pipes_and_folders_are_told_and_nothing_waits(tree):
    root = tree("ppo/A-v1_1/evaluations.npz")
    run = root / "ppo" / "A-v1_1"
    (run / "loop").symlink_to(root, target_is_directory=True)
    os.mkfifo(run / "0.monitor.csv")
    (run / "1.monitor.csv").symlink_to(run / "1.monitor.csv")
    (run / "2.monitor.csv").symlink_to(run / "nowhere")
    (run / "3.monitor.csv").symlink_to("/dev/zero")
    (run / "progress.csv").mkdir()
    runs, unread = find_runs(root, LAYOUT)
    assert names(runs, root) == {"ppo/A-v1_1": ["evaluations.npz"]}
    reasons = {path.name: reason for path, reason in unread}
    assert reasons.keys() == {"loop", *(f"{k}.monitor.csv" for k in range(4))}
    assert "symbolic link to a folder" in reasons["loop"]
    assert reasons["0.monitor.csv"] == reasons["3.monitor.csv"] == "no regular file"


def test_a_folder_without_permission_is_told(tree, monkeypatch):
    root = tree("ppo/A-v1_1/evaluations.npz", "ppo/B-v1_1/evaluations.npz")
    scandir = os.scandir

    def denied(folder):
        if str(folder).endswith("B-v1_1"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", denied)
    runs, unread = find_runs(root, LAYOUT)
    assert len(runs) == 1
    assert unread == [(root / "ppo" / "B-v1_1", "Permission denied")]


def test_a_folder_of_too_many_files_is_refused(tree, monkeypatch):
    monkeypatch.setattr(search, "MOST_ENTRIES", 3)
    root = tree(*(f"ppo/A-v1_{k}/evaluations.npz" for k in range(3)))
    with pytest.raises(UserError, match="more than 3 files and folders"):
        find_runs(root, LAYOUT)


def test_the_nearest_files_of_a_kind_count(tree):
    root = tree(
        "ppo/A-v1_1/0.monitor.csv",
        "ppo/A-v1_1/1.monitor.csv",
        "ppo/A-v1_1/eval/monitor.csv",
        "ppo/A-v1_1/a/evaluations.npz",
        "ppo/A-v1_1/b/evaluations.npz",
    )
    (run,), _ = find_runs(root, LAYOUT)
    assert [path.name for path in of_kind(run, MONITOR)] == ["0.monitor.csv", "1.monitor.csv"]
    with pytest.raises(UserError, match="logs of several runs in it: a, b"):
        of_kind(run, EVALUATIONS)


def test_kinds_go_by_names():
    kinds = ["evaluations.npz", "0.monitor.csv", "progress.csv", "events.out.tfevents.1.h.2.0"]
    assert [kind_of(name) for name in kinds] == [
        "evaluations.npz",
        "monitor.csv",
        "progress.csv",
        "events",
    ]
    assert kind_of("returns.csv") is kind_of("best_model.zip") is None
