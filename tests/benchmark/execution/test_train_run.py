import json
from types import SimpleNamespace

import gymnasium
import pytest

from sb3_course.benchmark.definition.checks import checked_grid
from sb3_course.benchmark.definition.user_code import user_code
from sb3_course.benchmark.execution import train_run
from sb3_course.benchmark.execution.clusters import shared_folder
from sb3_course.benchmark.execution.evaluation_callback import NOT_CLOSED
from sb3_course.benchmark.execution.heartbeat import heartbeat_file, heartbeats
from sb3_course.benchmark.execution.train_run import (
    KEPT,
    Checkpoints,
    attempt,
    portable,
    run_one,
)
from sb3_course.benchmark.storage.result import (
    Measurement,
    RunResult,
    parsed,
    problem_of,
    text_of,
)
from sb3_course.common.tracking import callback
from sb3_course.common.tracking.tracker import Tracking
from tests.benchmark.helpers import HERE, changed, content, tiny

SPEC = tiny().runs()[0]


def test_the_same_spec_gives_the_same_returns():
    one, two = run_one(SPEC), run_one(SPEC)
    assert [m.returns for m in one.measurements] == [m.returns for m in two.measurements]
    assert [m.step for m in one.measurements] == [0, 100, 200]
    assert all(m.num_timesteps >= m.step for m in one.measurements)
    assert [len(m.returns) for m in one.measurements] == [3, 3, 3]


def test_a_run_that_is_stopped_is_the_first_part_of_the_whole_one():
    """Schedules are those of the whole run."""
    whole = changed(
        tiny().runs()[0], params={"learning_rate": "lin_0.01"}, evaluation_steps=[0, 100, 200]
    )
    part = changed(whole, evaluation_steps=[0, 100], stop_at=100)
    assert part.id != whole.id
    expected, found = run_one(whole).measurements, run_one(part).measurements
    assert [(m.step, m.returns) for m in found] == [(m.step, m.returns) for m in expected[:2]]
    assert found[-1].num_timesteps == 100


def test_a_run_writes_its_heartbeat(tmp_path):
    path = heartbeat_file(tmp_path, SPEC.id)
    run_one(SPEC, path)
    ((key, heartbeat),) = heartbeats(tmp_path)
    assert key == SPEC.id
    assert 0 < heartbeat.steps <= 200
    assert heartbeat.rate > 0


def test_normalized_runs_report_raw_returns():
    result = run_one(changed(SPEC, normalize=True, total_timesteps=100, evaluation_steps=[0, 100]))
    assert all(r == int(r) and r >= 8 for m in result.measurements for r in m.returns)


def test_texts_are_freed_of_this_machines_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert portable(f'File "{tmp_path}/grid.py"') == 'File "./grid.py"'


def test_without_a_home_or_a_folder_to_work_in_texts_stay_as_they_are(tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(train_run.Path, "home", no_home)
    assert portable("a text") == "a text"


class Unclosable(gymnasium.Wrapper):
    """CartPole, or an end of a run with an error, whose renderer cannot be closed."""

    closed, fails = 0, False

    def __init__(self):
        super().__init__(gymnasium.make("CartPole-v1"))

    def step(self, action):
        if Unclosable.fails:
            raise ValueError("joint 3 is NaN")
        return super().step(action)

    def close(self):
        Unclosable.closed += 1
        raise RuntimeError("the renderer\nis gone")


gymnasium.register("Unclosable-v0", Unclosable, max_episode_steps=500)


def test_environments_that_cannot_be_closed_lose_no_run(capsys, monkeypatch):
    training = {"total_timesteps": 200, "n_envs": 1, "backend": "dummy"}
    (spec,) = tiny(environments={"Unclosable-v0": training}, seeds=1).runs()
    monkeypatch.setattr(Unclosable, "closed", 0)
    assert [m.step for m in attempt(spec).measurements] == [0, 100, 200]
    assert Unclosable.closed > 0
    told = capsys.readouterr().out.splitlines()
    assert set(told) == {f"{NOT_CLOSED}: RuntimeError: the renderer is gone"}
    monkeypatch.setattr(Unclosable, "fails", True)
    assert attempt(spec).reason == "ValueError: joint 3 is NaN"


def test_any_text_can_be_kept_as_the_reason_of_a_failure():
    result = RunResult(spec=tiny().runs()[0], failure=portable("file \udcff"))
    assert json.loads(result.model_dump_json())["failure"] == "file \\udcff"


def test_a_failing_run_raises_when_run_alone():
    with pytest.raises(ZeroDivisionError):
        run_one(changed(SPEC, algorithm_class=f"{HERE}:Raises"))


def test_a_failures_text_is_bounded_and_printable():
    text = portable("first" + "y" * 100_000 + "\x1b[31m last")
    assert len(text) == KEPT
    assert text.endswith("[31m last")
    assert "\x1b" not in text


class Killed(BaseException):
    """Ends a run as a kill does: nothing catches it."""


@pytest.mark.parametrize("name", ["A2C", "NPG", "OnlineActorCritic"])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_killed_run_goes_on_and_ends_like_an_undisturbed_one(
    name, normalize, tmp_path, monkeypatch
):
    changes = {"algorithm_class": name, "normalize": normalize, "total_timesteps": 600}
    params = {"n_steps": 128} if name == "NPG" else {}
    spec = changed(SPEC, **changes, params=params, evaluation_steps=[0, 150, 300, 600])
    whole, file = run_one(spec), tmp_path / "run.zip"
    save = train_run.loading.save

    def save_and_die(model, path, more):
        save(model, path, more)
        raise Killed

    monkeypatch.setattr(train_run.loading, "save", save_and_die)
    for _ in range(2):  # killed twice, the second time further on
        with pytest.raises(Killed):
            run_one(spec, checkpoints=Checkpoints(file, 200))
    monkeypatch.setattr(train_run.loading, "save", save)
    resumed = run_one(spec, checkpoints=Checkpoints(file, 200))
    for one, other in zip(whole.measurements, resumed.measurements, strict=True):
        assert (one.step, one.num_timesteps, one.returns, one.lengths) == (
            *(other.step, other.num_timesteps),
            *(other.returns, other.lengths),
        )
    times = [m.wall_time for m in resumed.measurements]
    assert times == sorted(times)
    assert resumed.seconds > times[-1]


@pytest.mark.parametrize(("commit", "anew"), [("abc", False), ("abc-dirty", True), (None, True)])
def test_a_run_goes_on_with_the_very_code_that_it_began_with(
    commit, anew, tmp_path, capsys, monkeypatch
):
    """A commit says what it is, unless files have changed since."""
    monkeypatch.setattr(train_run, "made_with", lambda spec: {"git_commit": commit})
    for digest in ("one", "another"):
        monkeypatch.setattr(train_run.provenance, "digest_of_code", lambda digest=digest: digest)
        run_one(SPEC, checkpoints=Checkpoints(tmp_path / "run.zip", 50))
    assert ("starting anew" in capsys.readouterr().out) == anew


def test_a_run_goes_on_with_another_processor_and_its_result_names_both(
    tmp_path, capsys, monkeypatch
):
    """On a cluster of several kinds it would never end otherwise."""
    for cpu in ("one", "another", "another"):
        facts = {"git_commit": "abc", "cpu": cpu, "cpu_kind": cpu, "system": "Linux"}
        monkeypatch.setattr(train_run, "made_with", lambda spec, facts=facts: facts)
        result = run_one(SPEC, checkpoints=Checkpoints(tmp_path / "run.zip", 50))
    several = {"cpu": "one; another", "cpu_kind": "one; another", "system": "Linux"}
    assert result.made_with == {"git_commit": "abc", **several}
    (told,) = set(capsys.readouterr().out.splitlines())
    assert told.startswith(train_run.TOLD)
    assert told.endswith("last digits: another, after one")


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_run_goes_on_whatever_its_settings_are(value, tmp_path, capsys):
    spec = changed(SPEC, params={"use_rms_prop": False, "rms_prop_eps": value})
    file = Checkpoints(tmp_path / "run.zip", 50)
    results = [run_one(spec, checkpoints=file) for _ in range(2)]
    assert "anew" not in capsys.readouterr().out
    assert [problem_of(parsed(text_of(result)), spec) for result in results] == [None, None]


@pytest.mark.parametrize("content", ["", "text", "of another run", "with other code"])
def test_a_checkpoint_that_cannot_be_used_is_told_and_the_run_starts_anew(
    content, tmp_path, capsys, monkeypatch
):
    file = tmp_path / "run.zip"
    if content == "of another run":
        run_one(changed(SPEC, n_envs=1), checkpoints=Checkpoints(file, 50))
    elif content == "with other code":
        with monkeypatch.context() as patched:
            patched.setattr(train_run, "made_with", lambda spec: {"torch": "1.0"})
            run_one(SPEC, checkpoints=Checkpoints(file, 50))
    else:
        file.write_text(content)
    resumed = run_one(SPEC, checkpoints=Checkpoints(file, 10_000))
    told = capsys.readouterr().out
    assert "starting anew, since the checkpoint cannot be used" in told
    assert "other" not in content or content in told
    expected = [m.returns for m in run_one(SPEC).measurements]
    assert [m.returns for m in resumed.measurements] == expected


class Tracked:
    """Tracker that keeps what it gets."""

    def __init__(self, run):
        self.run, self.logged, self.complete = run, [], None

    def log(self, values, step):
        self.logged.append((step, dict(values)))

    def finish(self, complete):
        self.complete = complete


@pytest.fixture
def opened(monkeypatch):
    """The runs that trackers were opened with."""
    runs = []

    def open_tracker(name, tracking, run):
        runs.append(Tracked(run))
        return runs[-1]

    monkeypatch.setattr(callback, "open_tracker", open_tracker)
    return runs


def test_a_tracked_run_is_the_same_and_its_evaluations_are_sent(tmp_path, opened):
    plain = run_one(SPEC)
    result = run_one(SPEC, tracking=Tracking(("kept",), "tiny", tmp_path))
    assert [m.returns for m in result.measurements] == [m.returns for m in plain.measurements]
    (tracked,) = opened
    sent = {step: v["eval/mean_reward"] for step, v in tracked.logged if "eval/mean_reward" in v}
    assert sent == {m.num_timesteps: sum(m.returns) / 3 for m in result.measurements}
    assert tracked.complete is True
    assert tracked.run.id == SPEC.id and tracked.run.tags == ("A2C", "CartPole-v1")
    assert tracked.run.config["config"] == SPEC.config.model_dump(mode="json")
    assert "git_commit" in tracked.run.config["code"]
    assert not tracked.run.continued


def test_a_run_that_goes_on_is_the_same_run_in_the_tracker(tmp_path, opened):
    file, tracking = tmp_path / "run.zip", Tracking(("kept",), "tiny", tmp_path)
    run_one(SPEC, checkpoints=Checkpoints(file, 50), tracking=tracking)
    run_one(SPEC, checkpoints=Checkpoints(file, 50), tracking=tracking)
    first, second = (tracked.run for tracked in opened)
    assert second.continued and not first.continued and first.id == second.id


def test_a_run_that_fails_is_not_complete(tmp_path, opened, monkeypatch):
    def step(self):
        raise ZeroDivisionError

    monkeypatch.setattr(train_run.ProgressCallback, "_on_step", step)
    with pytest.raises(ZeroDivisionError):
        run_one(SPEC, tmp_path / "beat", tracking=Tracking(("kept",), "tiny", tmp_path))
    assert [tracked.complete for tracked in opened] == [False]


@pytest.mark.parametrize(("kind", "times"), [("ext4", 20), ("nfs4", 2)])
def test_heartbeats_are_rarer_in_a_shared_folder(tmp_path, monkeypatch, kind, times):
    """In ten seconds of steps, ten a second."""
    (tmp_path / "mounts").write_text(f"22 1 8:1 / / rw - {kind} server rw\n")
    monkeypatch.setattr(shared_folder, "MOUNTS", tmp_path / "mounts")
    clock, beats = SimpleNamespace(now=100.0), []
    monkeypatch.setattr(train_run.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(train_run, "beat", lambda *_: beats.append(clock.now))
    callback = train_run.ProgressCallback(tmp_path / "run.progress")
    callback.model = SimpleNamespace(num_timesteps=0)
    callback._on_training_start()
    for step in range(100):
        clock.now = 100.05 + step / 10
        callback._on_step()
    assert len(beats) == times


def test_metrics_are_named_as_sb3_names_them():
    metrics = {"is_success": [1.0, 0.0], "distance": [2.0, 4.0]}
    measured = Measurement(10, 12, 0.1, [1.0, 3.0], [5, 6], metrics)
    assert train_run._logged(measured) == {
        "eval/mean_reward": 2.0,
        "eval/mean_ep_length": 5.5,
        "eval/success_rate": 0.5,
        "eval/distance": 3.0,
    }


MODULE = """
from pathlib import Path
from stable_baselines3 import A2C


class Edited(A2C):
    def learn(self, *args, **kwargs):
        super().learn(*args, **kwargs)
        Path(__file__).write_text("# edited while it trains")
        return self
"""


def test_a_run_is_made_with_the_code_that_it_began_with(tmp_path, monkeypatch):
    (tmp_path / "edited_meanwhile.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    algorithms = {"Mine": {"class": "edited_meanwhile:Edited"}}
    spec = checked_grid(content(algorithms=algorithms)).runs()[0]
    before = user_code(["edited_meanwhile"])
    result = run_one(spec)
    assert result.made_with.items() >= before.items()
    assert user_code(["edited_meanwhile"]) != before
