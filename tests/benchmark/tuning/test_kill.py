"""Commands that are killed while they tune, for real."""

import json
import os
import signal

import pytest
import yaml
from optuna.trial import TrialState

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.storage.grids import JOURNAL
from sb3_course.benchmark.tuning.journal import open_journal
from sb3_course.benchmark.tuning.study import stored_trials
from sb3_course.benchmark.tuning.subject import subjects_of
from tests.benchmark.processes import start_command, wait_until
from tests.benchmark.tuning.made_up import searched, store


def start(folder, log):
    words = ["tune", "grid.yaml", "--workers", "2"]
    return start_command(words, folder, log, start_new_session=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_commands_lose_at_most_their_runs_in_progress(tmp_path, how):
    """Three commands are stopped after some runs; then two at once end it."""
    grid = searched(trials=9, seeds=2)
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    kept = store(tmp_path / "results")
    (subject,) = subjects_of(load_grid(grid), {})
    digests: dict[str, str] = {}
    for n in (2, 4, 6):
        process = start(tmp_path, f"log{n}")
        wait_until(lambda n=n: len(kept.finished()) >= n, process)
        os.killpg(process.pid, how)
        process.wait()
        now = {f.stem: f.read_text() for f in (kept.folder / "runs").glob("*.json")}
        assert digests.items() <= now.items()
        digests = now
    with (kept.folder / JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code":6,"wor')  # as if killed in the middle of a line
    two = [start(tmp_path, f"log_{name}") for name in "ab"]
    codes = [process.wait() for process in two]
    logs = "".join(path.read_text() for path in tmp_path.glob("log_*"))
    assert codes == [0, 0], logs
    trials = stored_trials(open_journal(kept.folder), subject)
    assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert "failed" not in logs
    for line in (kept.folder / JOURNAL).read_text().splitlines():
        json.loads(line)
    tuned = load_grid(kept.folder / "tuned.yaml")
    assert tuned.name == "tiny_tuned"
    finished = sorted(kept.finished())
    assert start(tmp_path, "again").wait() == 0
    assert stored_trials(open_journal(kept.folder), subject) == trials
    assert sorted(kept.finished()) == finished  # nothing was left to do
