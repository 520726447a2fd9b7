import errno
import json
import os
import signal
from contextlib import suppress

import numpy as np
import pytest
from stable_baselines3 import A2C

import sb3_course
from sb3_course.cli.app import invoke
from sb3_course.common.checkpoint import read_header
from sb3_course.imitation import command
from tests.imitation.helpers import homework_expert, homework_paths, write

FAST = {"n_steps": 30, "gradient_steps": 10}


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(command, "HOMEWORK", command.HOMEWORK | FAST)
    monkeypatch.setattr(command, "N_DEMONSTRATED", 1)
    monkeypatch.setattr(command, "N_EVALUATED", 1)


@pytest.fixture
def files(tmp_path):
    """The homework's files, for Pendulum."""
    expert = write(tmp_path / "Pendulum.pkl", homework_expert(sizes=(3, 4, 4, 1)))
    paths = homework_paths(lengths=(50, 50), action_size=1)
    return str(expert), str(write(tmp_path / "expert_data.pkl", paths))


def test_clones_demonstrations_alone(files, capsys):
    assert invoke(["imitate", "Pendulum-v1", "--demos", files[1]]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("round  0: 100 transitions, return -") and out.count("\n") == 1
    assert err == ""


def test_dagger_saves_and_films(files, capsys, tmp_path):
    model, video = tmp_path / "new" / "dagger.zip", tmp_path / "film.mp4"
    arguments = ["imitate", "Pendulum-v1", "--expert", files[0], "--demos", files[1], "--dagger"]
    options = ["--rounds", "2", "--out", str(model), "--video", str(video)]
    assert invoke(arguments + options) == 0
    out, _ = capsys.readouterr()
    assert [line.split(",")[0] for line in out.splitlines()[:3]] == [
        "round  0: 100 transitions",
        "round  1: 130 transitions",
        "round  2: 160 transitions",
    ]
    assert sb3_course.load(model, device="cpu").n_rounds == 3
    assert video.stat().st_size > 1000


def test_the_expert_demonstrates_where_nobody_else_has(files, capsys):
    assert invoke(["imitate", "Pendulum-v1", "--expert", files[0]]) == 0
    out, _ = capsys.readouterr()
    assert "the expert's returns: -" in out and "round  0: 200 transitions" in out


def test_the_control(files, capsys):
    arguments = ["imitate", "Pendulum-v1", "--demos", files[1], "--no-collect", "--rounds", "2"]
    for expert in (["--expert", files[0]], []):  # which nobody asks
        assert invoke([*arguments, *expert]) == 0
        assert capsys.readouterr().out.count("100 transitions") == 3


def test_an_expert_of_sb3(tmp_path, capsys):
    A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save(tmp_path / "a2c.zip")
    arguments = ["imitate", "CartPole-v1", "--expert", str(tmp_path / "a2c.zip")]
    assert invoke([*arguments, "--algo", "A2C"]) == 2
    assert "add --trust" in capsys.readouterr().err
    assert invoke([*arguments, "--algo", "A2C", "--trust"]) == 0
    assert invoke([*arguments, "--trust"]) == 2
    assert "PPO" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["stranger", "stranger.pkl"])
def test_a_name_without_its_suffix_is_trusted_no_more(tmp_path, capsys, name):
    A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save(tmp_path / f"{name}.zip")
    arguments = ["imitate", "CartPole-v1", "--expert", str(tmp_path / name), "--algo", "A2C"]
    assert invoke(arguments) == 2
    assert "add --trust" in capsys.readouterr().err


def test_statistics_beside_an_expert_are_told(tmp_path, capsys):
    A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save(tmp_path / "a2c.zip")
    (tmp_path / "a2c_vecnormalize_100_steps.pkl").touch()
    arguments = ["imitate", "CartPole-v1", "--expert", str(tmp_path / "a2c.zip"), "--algo", "A2C"]
    assert invoke([*arguments, "--trust"]) == 0
    assert "a2c_vecnormalize_100_steps.pkl is not read" in capsys.readouterr().err


@pytest.mark.parametrize("env_id", ["Hopper-v4", "Walker2d-v4", "HalfCheetah-v4", "Ant-v4"])
def test_our_own_experts_are_there(env_id):
    """Not how good they are: that is in experts.json, measured when they were made."""
    from sb3_course.imitation import load_expert

    pytest.importorskip("mujoco")
    import gymnasium as gym

    env = gym.make(env_id)
    path = command.default_expert(env_id)
    actions = load_expert(path)(np.stack([env.reset(seed=s)[0] for s in range(3)]))
    assert actions.shape == (3, *env.action_space.shape) and np.isfinite(actions).all()
    facts = json.loads(path.with_name("experts.json").read_text())[env_id]
    assert facts["evaluation"]["return_mean"] > 2000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["CartPole-v1", "--dagger"],
            "no expert for CartPole-v1 (there is one for Ant-v4",
        ),
        (["CartPole-v1"], "add --expert FILE or --demos FILE"),
        (["CartPol-v1"], "did you mean 'CartPole-v1'"),
        (["CartPole-v1", "--demos", "no.npz"], "no.npz does not exist"),
        (["CartPole-v1", "--expert", "no.zip"], "no.zip does not exist"),
        (["CartPole-v1", "--expert", "x.zip", "--video", "x.avi"], "a file that ends in .mp4"),
        (
            ["sb3_course.envs.dilemmas:Dilemmas-v0", "--expert", "x.zip", "--video", "x.mp4"],
            "renders no images (rgb_array); its render modes: none",
        ),
        (
            ["CartPole-v1", "--expert", "x.mp4", "--video", "x.mp4"],
            "--video: x.mp4 is read as well, and kept; allowed: another file",
        ),
        (
            ["CartPole-v1", "--demos", "no.npz", "--out", "x.mp4", "--video", "x.mp4"],
            "--video: x.mp4 is --out as well; allowed: another file",
        ),
        (["CartPole-v1", "--rounds", "0"], "--rounds"),
        (["CartPole-v1", "--demos", "no.npz", "--rounds", "3"], "--rounds requires --dagger"),
        (["CartPole-v1", "--demos", "no.npz", "--algo", "PPO"], "--algo requires --expert"),
        (["CartPole-v1", "--demos", "no.npz", "--trust"], "--trust requires --expert"),
        (["CartPole-v1", "--expert", __file__], "is not a zip file"),
    ],
)
def test_says_what_is_wrong(arguments, said, capsys):
    assert invoke(["imitate", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_says_when_files_do_not_fit_the_environment(files, capsys):
    assert invoke(["imitate", "CartPole-v1", "--demos", files[1]]) == 2
    assert "(3,)" in capsys.readouterr().err


def test_ctrl_c_saves_what_there_is(files, capsys, tmp_path, monkeypatch):
    def interrupted(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.DAgger, "collect_rollouts", interrupted)
    model = tmp_path / "dagger.zip"
    arguments = ["imitate", "Pendulum-v1", "--expert", files[0], "--demos", files[1], "--dagger"]
    assert invoke([*arguments, "--out", str(model)]) == 130
    assert "interrupted after 1 rounds" in capsys.readouterr().out
    assert sb3_course.load(model, device="cpu").n_rounds == 1


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt, RuntimeError])
def test_what_has_not_ended_replaces_no_other_model(
    files, capsys, tmp_path, monkeypatch, stopped_by
):
    def stop(self, *args, **kwargs):
        raise stopped_by

    model = tmp_path / "bc.zip"
    arguments = ["imitate", "Pendulum-v1", "--expert", files[0], "--demos", files[1]]
    arguments += ["--out", str(model)]
    assert invoke(arguments) == 0
    first = model.read_bytes()
    monkeypatch.setattr(command.DAgger, "learn", stop)
    with suppress(RuntimeError):
        assert invoke([*arguments, "--seed", "1"]) == 130
    said = capsys.readouterr().out
    assert f"{model} stays: it is of another training, and this one has not ended" in said
    assert "saved" in said and model.read_bytes() == first
    assert sb3_course.load(tmp_path / "bc_1.zip", device="cpu").n_rounds == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_model_is_saved_loses_nothing(
    files, capsys, tmp_path, monkeypatch, number
):
    def save(model, path):
        os.kill(os.getpid(), number)
        keep(model, path)

    keep, model = command.training.loading.save, tmp_path / "bc.zip"
    monkeypatch.setattr(command.training.loading, "save", save)
    arguments = ["imitate", "Pendulum-v1", "--expert", files[0], "--demos", files[1]]
    assert invoke([*arguments, "--out", str(model)]) == 130
    assert "once more stops at once" in capsys.readouterr().out
    assert sb3_course.load(model, device="cpu").n_rounds == 1


def test_on_a_full_disk_the_model_goes_elsewhere(files, capsys, tmp_path, monkeypatch):
    def save(model, path):
        if path == full:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        keep(model, path)

    keep, full = command.training.loading.save, tmp_path / "bc.zip"
    monkeypatch.setattr(command.training.loading, "save", save)
    monkeypatch.setattr(command.training.tempfile, "gettempdir", lambda: str(tmp_path / "spare"))
    arguments = ["imitate", "Pendulum-v1", "--expert", files[0], "--demos", files[1]]
    assert invoke([*arguments, "--out", str(full)]) == 0
    assert f"{full} cannot be written: No space left on device" in capsys.readouterr().out
    (saved,) = (tmp_path / "spare").glob("sb3-course-bc-*.zip")
    assert sb3_course.load(saved, device="cpu").n_rounds == 1


@pytest.mark.parametrize("error", [FloatingPointError, RuntimeError])
def test_an_error_saves_what_there_is(files, capsys, tmp_path, monkeypatch, error):
    def fails(self, *args, **kwargs):
        raise error("a reward is not finite")

    monkeypatch.setattr(command.DAgger, "collect_rollouts", fails)
    model = tmp_path / "dagger.zip"
    arguments = ["imitate", "Pendulum-v1", "--expert", files[0], "--demos", files[1], "--dagger"]
    arguments += ["--out", str(model)]
    if error is FloatingPointError:
        assert invoke(arguments) == 1
        assert capsys.readouterr().err == "sb3-course: a reward is not finite\n"
    else:  # of the environment: its traceback is shown
        with pytest.raises(RuntimeError, match="not finite"):
            invoke(arguments)
    assert sb3_course.load(model, device="cpu").n_rounds == 1


def test_sigterm_does_what_ctrl_c_does(files, capsys, tmp_path, monkeypatch):
    def stopped(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(command.DAgger, "collect_rollouts", stopped)
    arguments = ["imitate", "Pendulum-v1", "--expert", files[0], "--demos", files[1], "--dagger"]
    assert invoke([*arguments, "--out", str(tmp_path / "model.zip")]) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / "model.zip").exists()


def test_an_environment_with_settings(tmp_path, monkeypatch, capsys):
    """Expert, training, evaluation, video and the saved model have the same ones."""
    monkeypatch.chdir(tmp_path)
    walk = ["tests.own_envs:Walk-v0", "--env-kwargs", "goal=3.0"]
    walk += ["--wrapper", "RescaleAction: {min_action: -9, max_action: 9}"]
    words = ["--timesteps", "16", "--n-envs", "1", "--backend", "dummy", "-p", "n_steps=8"]
    assert invoke(["train", "NPG", *walk, *words]) == 0
    words = ["--expert", "model.zip", "--dagger", "--rounds", "1", "--out", "new.zip"]
    assert invoke(["imitate", *walk, *words, "--video", "both.mp4"]) == 0
    header = read_header("new.zip")
    assert header["env"] == walk[0]
    assert header["env_settings"] == read_header("model.zip")["env_settings"]
    capsys.readouterr()
    assert invoke(["enjoy", "new.zip", "--episodes", "1"]) == 0
    assert invoke(["imitate", *walk[:1], "--env-kwargs", "goal=7", *words]) == 2
    assert "kwargs.goal: given 7" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--expert", "--demos"])
def test_what_is_learned_from_is_not_written_over(files, capsys, option):
    file = files[option == "--demos"]
    assert invoke(["imitate", "Pendulum-v1", option, file, "--out", file]) == 2
    assert f"--out: {file} is read as well, and kept" in capsys.readouterr().err
