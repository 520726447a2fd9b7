import errno
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch as th
from stable_baselines3.common.utils import get_device
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import sb3_course
from sb3_course import loading, training
from sb3_course.cli import app
from sb3_course.cli.parts import terminal
from sb3_course.common.errors import UserError
from sb3_course.envs.config import EnvConfig
from tests.benchmark.processes import COMMAND, ENVIRONMENT, wait_until

WORDS = ["train", "NPG", "CartPole-v1", "--backend", "dummy", "--n-envs", "2", "-p", "n_steps=50"]


def weights(path):
    return [p.detach() for p in sb3_course.load(path, device="cpu").policy.parameters()]


def equal(one, other):
    return all(th.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    file = tmp_path_factory.mktemp("trained") / "whole.zip"
    assert app.invoke([*WORDS, "--timesteps", "1000", "--out", str(file)]) == terminal.OK
    return file


@pytest.fixture
def whole(trained, tmp_path, monkeypatch):
    """A training of 1,000 steps without an interruption."""
    monkeypatch.chdir(tmp_path)
    return shutil.copy(trained, "whole.zip")


def test_a_stopped_training_goes_on_to_its_end(whole, capsys):
    assert app.invoke([*WORDS, "--timesteps", "500", "--out", "part.zip"]) == terminal.OK
    assert app.invoke(["train", "--resume", "part.zip", "--timesteps", "1000"]) == terminal.OK
    assert "going on at 500 of 1,000 steps" in capsys.readouterr().out
    assert equal(whole, "part.zip")


def test_a_killed_training_goes_on_from_its_last_save(whole):
    words = [*WORDS, "--timesteps", "100_000_000", "--save-every", "300", "--out", "killed.zip"]
    process = subprocess.Popen([*COMMAND, *words], env=ENVIRONMENT)
    wait_until(Path("killed.zip").exists, process)
    process.kill()
    process.wait()
    steps = sb3_course.load("killed.zip").num_timesteps
    assert steps % 300 == 0
    total = str(steps + 300)
    assert app.invoke(["train", "--resume", "killed.zip", "--timesteps", total]) == terminal.OK
    assert app.invoke([*WORDS, "--timesteps", total, "--out", "again.zip"]) == terminal.OK
    assert equal("again.zip", "killed.zip")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_learned_is_saved_when_a_signal_stops_it(tmp_path, number):
    words = [*WORDS, "--timesteps", "100_000_000", "--save-every", "300", "--out", "stopped.zip"]
    process = subprocess.Popen(
        [*COMMAND, *words],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until((tmp_path / "stopped.zip").exists, process)
    before = sb3_course.load(tmp_path / "stopped.zip").num_timesteps
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 128 + number
    assert "stopping at the end of this batch" in out
    assert "interrupted after" in err
    assert "to go on: sb3-course train --resume stopped.zip" in out
    steps = sb3_course.load(tmp_path / "stopped.zip").num_timesteps
    assert steps >= before and steps % 100 == 0  # a whole number of batches: it goes on exactly


def test_the_second_signal_stops_at_once(whole, capsys, monkeypatch):
    """Inside a batch, whose steps are lost."""

    plain = training.EvaluateEvery

    class Signals(plain):
        def _on_training_start(self):
            pass

        _on_training_end = _on_training_start

        def _on_step(self):
            if self.num_timesteps >= 30:
                os.kill(os.getpid(), signal.SIGTERM)
            return True

    monkeypatch.setattr(training, "EvaluateEvery", Signals)
    before = signal.getsignal(signal.SIGTERM)
    words = [*WORDS, "--timesteps", "1000", "--eval-every", "10", "--out", "twice.zip"]
    assert app.invoke(words) == 128 + signal.SIGTERM
    assert "interrupted after 32 steps" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.setattr(training, "EvaluateEvery", plain)
    assert app.invoke(["train", "--resume", "twice.zip", "--timesteps", "150"]) == terminal.OK
    assert "start anew: it was saved inside a batch" in capsys.readouterr().err


def test_the_intervals_of_saves_and_evaluations_are_remembered(whole, capsys, monkeypatch):
    given = ["--timesteps", "200", "--save-every", "100", "--eval-every", "100", "--out", "i.zip"]
    assert app.invoke([*WORDS, *given]) == terminal.OK
    capsys.readouterr()
    saved = []
    keep = training.loading.save
    monkeypatch.setattr(training.loading, "save", lambda *args: (saved.append(1), keep(*args)))
    assert app.invoke(["train", "--resume", "i.zip", "--timesteps", "400"]) == terminal.OK
    out = capsys.readouterr().out
    assert out.count("steps: return") == 2
    assert len(saved) == 2  # on the way, and at the end
    assert (
        app.invoke(["train", "--resume", "i.zip", "--timesteps", "500", "--eval-every", "50"]) == 0
    )
    assert capsys.readouterr().out.count("steps: return") == 2


def test_a_model_of_another_library_goes_on(tmp_path, monkeypatch):
    """And no empty folder of SB3's logger is left."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(training.tempfile, "tempdir", str(tmp_path / "temporary"))
    words = ["train", "A2C", "Pendulum-v1", "--backend", "dummy", "--n-envs", "2", "--normalize"]
    assert app.invoke([*words, "--timesteps", "400", "--out", "whole.zip"]) == terminal.OK
    assert app.invoke([*words, "--timesteps", "200", "--out", "part.zip"]) == terminal.OK
    assert app.invoke(["train", "--resume", "part", "--timesteps", "400"]) == terminal.OK
    assert list((tmp_path / "temporary").glob("SB3-*")) == []
    from stable_baselines3 import A2C

    models = [A2C.load(name, device="cpu") for name in ("whole.zip", "part.zip")]
    for one, other in zip(*(m.policy.parameters() for m in models), strict=True):
        assert th.equal(one, other)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train"], "ALGO and ENV are needed"),
        (["train", "NPG"], "ALGO and ENV are needed"),
        (["train", "NPG", "CartPole-v1", "--resume", "whole.zip"], "leave out ALGO, ENV"),
        (["train", "--resume", "whole.zip", "-p", "gamma=1"], "leave out --param"),
        (["train", "--resume", "whole.zip", "--seed", "0"], "leave out --seed"),
        (["train", "--resume", "whole.zip", "--n-envs", "8"], "leave out --n-envs"),
        (["train", "--resume", "whole.zip"], "1,000 of 1,000 steps: nothing is left to do"),
        (
            ["train", "--resume", "whole.zip", "--timesteps", "9"],
            "allowed: --timesteps above 1,000",
        ),
        (["train", "--resume", "."], "is a directory"),
        (["train", "--resume", "none.zip"], "--resume: none.zip does not exist"),
        (["train", "--resume", "text.zip"], "not a zip file"),
        (["train", "--resume", "api.zip"], "does not say how its training was started"),
        (["train", "NPG", "CartPole-v1", "--save-every", "0"], "--save-every"),
        (["train", "NPG", "CartPole-v1", "--out", "folder"], "--out: folder.zip"),
        (["train", "NPG", "CartPole-v1", "--out", "."], "--out: . is a folder"),
        (["train", "NPG", "CartPole-v1", "--out", "n" * 300], "File name too long"),
        (
            ["train", "NPG", "CartPole-v1", "--out", "/proc/model.zip"],
            "/proc/model.zip cannot be written",
        ),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_trained(whole, capsys, words, expected):
    Path("text.zip").write_text("text")
    Path("folder.zip").mkdir()
    sb3_course.NPG("MlpPolicy", "CartPole-v1").save("api.zip")
    capsys.readouterr()
    assert app.invoke(words) == terminal.MISUSED
    assert expected in capsys.readouterr().err


def test_a_file_of_another_user_goes_on_without_its_pickles(whole, capsys, monkeypatch):
    """The environments' states are a pickle: the running episodes are lost, and told."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "another")
    assert app.invoke(["train", "--resume", whole, "--timesteps", "1200"]) == terminal.OK
    assert "the running episodes start anew: weights_only=True" in capsys.readouterr().err
    assert app.invoke(["train", "--resume", whole, "--timesteps", "1300"]) == terminal.OK
    assert "anew" not in capsys.readouterr().err  # now it is one's own
    monkeypatch.setenv("XDG_CONFIG_HOME", "a third")
    assert app.invoke(["train", "--resume", whole, "--trust", "--timesteps", "1400"]) == 0
    assert "anew" not in capsys.readouterr().err


class Disk:
    """Refuses the first writes."""

    def __init__(self, monkeypatch, failures):
        self.failures, self.places = failures, []
        self._save = loading.save
        monkeypatch.setattr(loading, "save", self.save)

    def save(self, model, path):
        self.places.append(str(path))
        if len(self.places) <= self.failures:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_full_disk_asks_for_another_place(monkeypatch, tmp_path):
    told, answers = [], iter(["", "elsewhere/model"])
    disk = Disk(monkeypatch, 2)
    place = training.save(None, Path("a.zip"), told.append, lambda: next(answers))
    assert str(place) == "elsewhere/model.zip"
    assert disk.places == ["a.zip", "a.zip", "elsewhere/model.zip"]
    assert told == ["a.zip cannot be written: No space left on device"] * 2


def test_where_nobody_can_be_asked_the_folder_of_temporary_files_takes_it(monkeypatch, tmp_path):
    monkeypatch.setattr(training.tempfile, "gettempdir", lambda: str(tmp_path))
    disk = Disk(monkeypatch, 1)
    place = training.save(None, Path("a.zip"), print, None)
    assert place.parent == tmp_path and place.match("sb3-course-a-*.zip")
    Disk(monkeypatch, 1)
    assert training.save(None, Path("a.zip"), print, None) != place
    Disk(monkeypatch, 9)
    with pytest.raises(OSError, match="No space left"):
        training.save(None, Path("a.zip"), print, None)
    assert disk.places[0] == "a.zip"


def test_a_module_of_a_stranger_is_not_imported(whole, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "another")
    model, setup = training.resume(Path(whole), False, print)
    vars(model)["training_setup"] = setup.data() | {"env_id": "evil:CartPole-v1"}
    loading.save(model, "evil.zip")
    monkeypatch.setenv("XDG_CONFIG_HOME", "a third")
    with pytest.raises(UserError, match="imports the module of its environment, evil:CartPole"):
        training.resume(Path("evil.zip"), False, print)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"env_settings": {"wrappers": ["evil:W"]}},
            "puts wrappers around its environment, evil:W",
        ),
        ({"env_settings": {"wrappers": [["evil"]]}}, "does not say how its training was started"),
        ({"env_settings": 3}, "does not say how its training was started"),
        ({"env_id": ["CartPole-v1"]}, "does not say how its training was started"),
        ({"env_settings": {"kwargs": {"nonsense": 1}}}, "kwargs.nonsense: given 1; TypeError"),
    ],
)
def test_settings_of_a_stranger_are_told_and_not_followed(whole, monkeypatch, changes, expected):
    monkeypatch.setenv("XDG_CONFIG_HOME", "another")
    model, setup = training.resume(Path(whole), False, print)
    vars(model)["training_setup"] = setup.data() | changes
    loading.save(model, "odd.zip")
    monkeypatch.setenv("XDG_CONFIG_HOME", "a third")
    with pytest.raises(UserError, match=expected):
        training.resume(Path("odd.zip"), False, print)


def test_a_training_logs_where_it_began(tmp_path, monkeypatch):
    """Not where the last one of the same name did, nor below the folder of today."""
    monkeypatch.chdir(tmp_path)
    words = ["train", "A2C", "CartPole-v1", "--backend", "dummy", "--n-envs", "2"]
    for name in ("one", "two"):
        options = ["--timesteps", "100", "--tensorboard", "logs", "--out", f"{name}.zip"]
        assert app.invoke([*words, *options]) == terminal.OK
    folders = sorted(path.name for path in tmp_path.glob("logs/CartPole-v1/*"))
    assert folders == ["A2C_1", "A2C_2"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert app.invoke(["train", "--resume", "../one.zip", "--timesteps", "200"]) == terminal.OK
    files = {path.parent.name for path in tmp_path.glob("logs/CartPole-v1/*/events*")}
    assert files == {"A2C_1", "A2C_2"}
    assert len(list(tmp_path.glob("logs/CartPole-v1/A2C_1/events*"))) == 2
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("algo", ["NPG", "A2C"])
def test_what_every_update_has_recorded_is_logged_however_often_a_training_stops(
    algo, tmp_path, monkeypatch
):
    """SB3 writes it with the next batch, which a stopped training has not."""
    monkeypatch.chdir(tmp_path)
    words = ["train", algo, *WORDS[2:], "--tensorboard", "logs"]
    for total in ("400", "800"):  # A2C is logged at every hundredth update alone
        assert app.invoke([*words, "--timesteps", total, "--out", f"{total}.zip"]) == terminal.OK
    assert app.invoke(["train", "--resume", "400.zip", "--timesteps", "800"]) == terminal.OK
    in_parts, whole = (logged(f"logs/CartPole-v1/{algo}_{n}", "train/learning_rate") for n in "12")
    if algo == "NPG":
        assert len(in_parts) == len(whole) == 8  # as many as updates
    assert in_parts[-1] == whole[-1] == 800


def logged(folder, tag):
    events = EventAccumulator(folder).Reload()
    return [scalar.step for scalar in events.Scalars(tag)]


def test_a_file_of_another_user_that_sb3_has_written_needs_trust(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    setup = training.Setup("A2C", EnvConfig("CartPole-v1"), 2, 0, "dummy", 100)
    model = training.start(setup, {}, False, None)
    training.train(model, setup, Path("a2c.zip"), print)
    model.save("a2c.zip")  # as SB3 does, without its class
    with pytest.raises(UserError, match="a2c.zip was not written by you .*add --trust"):
        training.resume(Path("a2c.zip"), False, print)
    assert training.resume(Path("a2c.zip"), True, print)[0].num_timesteps == 100


def test_a_replay_buffer_that_no_file_holds_is_told(tmp_path):
    setup = training.Setup("DQN", EnvConfig("CartPole-v1"), 1, 0, "dummy", 150)
    model = training.start(setup, {"learning_starts": 100}, False, None)
    training.train(model, setup, tmp_path / "model.zip", print)
    loading.save(model, tmp_path / "model.zip")
    lines = []
    training.resume(tmp_path / "model.zip", True, lines.append)
    assert lines == ["the replay buffer starts empty, since no file holds it"]


def test_a_training_that_has_diverged_does_not_go_on(tmp_path):
    setup = training.Setup("NPG", EnvConfig("CartPole-v1"), 1, 0, "dummy", 150)
    model = training.start(setup, {}, False, None)
    training.train(model, setup, tmp_path / "model.zip", print)
    model.policy.action_net.bias.data[0] = float("nan")
    loading.save(model, tmp_path / "model.zip")
    with pytest.raises(UserError, match=r"model.zip: its weights action_net.bias are not finite"):
        training.resume(tmp_path / "model.zip", True, print)


def test_a_training_stays_on_its_device_unless_another_one_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "NPG", "CartPole-v1", "--backend", "dummy", "--n-envs", "2"]
    assert app.invoke([*words, "--timesteps", "100", "--device", "auto"]) == terminal.OK
    model, setup = training.resume(Path("model.zip"), False, print)
    assert setup.device == "auto" and model.device == get_device("auto")
    model, setup = training.resume(Path("model.zip"), False, print, "cpu")
    assert setup.device == "cpu" and model.device.type == "cpu"


@pytest.mark.parametrize("device", ["warp", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_told_before_anything_is_trained(device, whole, capsys):
    for words in (["NPG", "CartPole-v1"], ["--resume", whole]):
        code = app.invoke(["train", *words, "--device", device, "--out", "new.zip"])
        assert code == terminal.MISUSED and not Path("new.zip").exists()
        assert f"device: given '{device}'; allowed here: auto, cpu" in capsys.readouterr().err


def test_a_training_of_an_environment_with_settings_goes_on_exactly(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "NPG", "tests.own_envs:Walk-v0", "--env-kwargs", "goal=4", "-p", "n_steps=20"]
    words += ["--wrapper", "tests.own_envs:Scaled", "--n-envs", "2", "--backend", "dummy"]
    assert app.invoke([*words, "--timesteps", "240", "--out", "all.zip"]) == terminal.OK
    assert app.invoke([*words, "--timesteps", "120", "--out", "half.zip"]) == terminal.OK
    assert app.invoke(["train", "--resume", "half.zip", "--timesteps", "240"]) == terminal.OK
    assert equal("all.zip", "half.zip")
