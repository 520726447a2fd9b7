import json
import os
import pickle
import signal

import pytest
from stable_baselines3 import A2C

from sb3_course import loading, training
from sb3_course.cli import app, models
from sb3_course.cli.parts import terminal
from sb3_course.common.checkpoint import read_header


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "A2", "CartPole-v1"], ["'A2'", "did you mean 'A2C'"]),
        (["train", "A2C", "CartPol-v1"], ["'CartPol-v1'", "did you mean 'CartPole-v1'"]),
        (["train", "A2C", "CartPole-v1", "-p", "gama=1"], ["'gama'", "did you mean 'gamma'"]),
        (["train", "A2C", "CartPole-v1", "-p", "gamma"], ["'gamma'", "KEY=VALUE"]),
        (
            ["train", "A2C", "CartPole-v1", "-p", "n_steps=10", "-p", "n_steps=20"],
            ["-p n_steps is given twice; allowed: once"],
        ),
        (["train", "A2C", "CartPole-v1", "-p", "gamma=1", "-p", "gamma:1"], ["-p gamma is given"]),
        (["train", "A2C", "CartPole-v1", "-p", "learning_rate=-1"], ["learning_rate", "given -1"]),
        (["train", "NPG", "CartPole-v1", "-p", "policy=MultiInputPolicy"], ["use MlpPolicy"]),
        (["train", "A2C", "CartPole-v1", "-p", "gamma=[1"], ["'gamma=[1'", "not valid YAML"]),
        (["train", "A2C", "CartPole-v1", "-p", "gamma=9999-99-99"], ["1:1: not valid YAML"]),
        (["train", "A2C", "CartPole-v1", "-p", "gamma=" + "9" * 5000], ["1:1:", "5,000 char"]),
        (["train", "A2C", "CartPole-v1", "-p", "gamma=[" * 9999], ["…'", "not valid YAML"]),
        (["train", "A2C", "CartPole-v1", "--backend", "envpol"], ["'envpol'", "'envpool'"]),
        (["train", "A2C", "CartPole-v1", "--out", "file/a.zip"], ["--out", "file"]),
        (["train", "A2C", "CartPole-v1", "--seed", str(2**32)], ["--seed", str(2**32 - 1)]),
        (["enjoy", "none.zip", "--seed", str(2**32)], ["--seed", str(2**32 - 1)]),
        (["enjoy", "none.zip", "CartPole-v1"], ["none.zip", "train"]),
        (["enjoy", "file.txt", "CartPole-v1"], ["file.txt", "not a zip file"]),
        (["enjoy", "file.txt", "--video", "a.mp4", "--render"], ["--video", "--render"]),
    ],
)
def test_wrong_arguments_get_one_clear_line(tmp_path, monkeypatch, misused, words, expected):
    monkeypatch.chdir(tmp_path)
    for name in ("file", "file.txt"):
        (tmp_path / name).write_text("text")
    error = misused(words)
    for part in expected:
        assert part in error


@pytest.mark.parametrize("algo", ["A2C", "REINFORCE"])
def test_train_and_enjoy(tmp_path, monkeypatch, capsys, algo):
    monkeypatch.chdir(tmp_path)
    words = [algo, "CartPole-v1", "-p", "learning_rate=1e-3", "-p", "n_steps=16"]
    words += ["--timesteps", "100", "--n-envs", "2", "--backend", "dummy", "--normalize"]
    words += ["--tensorboard", "logs", "--out", "new/model"]
    assert app.invoke(["train", *words]) == terminal.OK
    assert "sb3-course enjoy new/model.zip" in capsys.readouterr().out
    assert list((tmp_path / "logs" / "CartPole-v1").glob(f"{algo}_1/events*"))
    assert app.invoke(["enjoy", "new/model.zip", "--episodes", "2"]) == terminal.OK
    plain = capsys.readouterr().out
    assert plain.count("episode ") == 2
    words = ["enjoy", "new/model", "--episodes", "2", "--video", "out.mp4"]
    assert app.invoke(words) == terminal.OK
    assert capsys.readouterr().out == plain + "saved out.mp4\n"
    assert (tmp_path / "out.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("stopped_by", "code"),
    [
        (KeyboardInterrupt, terminal.INTERRUPTED),
        (FloatingPointError, terminal.FAILED),
        (OSError, terminal.FAILED),
        (SystemExit, terminal.FAILED),
    ],
)
def test_what_was_learned_before_a_stop_is_saved(tmp_path, capsys, monkeypatch, stopped_by, code):
    def train(self):
        raise stopped_by("made to stop")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(A2C, "train", train)
    assert app.invoke(["train", "A2C", "CartPole-v1", "--n-envs", "1"]) == code
    assert "after 5 steps" in capsys.readouterr().err
    assert (tmp_path / "model.zip").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_model_is_saved_loses_nothing(tmp_path, capsys, monkeypatch, number):
    def interrupted(model, file):
        os.kill(os.getpid(), number)
        keep(model, file)

    def impatient(model, file):
        os.kill(os.getpid(), number)
        interrupted(model, file)

    monkeypatch.chdir(tmp_path)
    keep, before = loading.save, signal.getsignal(number)
    monkeypatch.setattr(loading, "save", interrupted)
    words = ["train", "A2C", "CartPole-v1", "--n-envs", "1", "--timesteps", "5"]
    assert app.invoke(words) == 128 + number
    said = capsys.readouterr().out
    assert "stopping once the model is saved; once more stops at once" in said
    assert "saved model.zip" in said and "to go on: sb3-course train --resume model.zip" in said
    assert read_header(tmp_path / "model.zip")["env"] == "CartPole-v1"
    monkeypatch.setattr(loading, "save", impatient)
    assert app.invoke([*words, "--out", "lost.zip"]) == terminal.INTERRUPTED
    assert not (tmp_path / "lost.zip").exists()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt, OSError])
def test_a_training_without_a_step_replaces_nothing(tmp_path, capsys, monkeypatch, stopped_by):
    def stop(*_, **__):
        raise stopped_by("made to stop")

    monkeypatch.chdir(tmp_path)
    words = ["train", "A2C", "CartPole-v1", "--n-envs", "1", "--timesteps", "5"]
    assert app.invoke(words) == terminal.OK
    before = (tmp_path / "model.zip").read_bytes()
    monkeypatch.setattr(A2C, "collect_rollouts", stop)
    assert app.invoke(words) != terminal.OK
    assert capsys.readouterr().out.endswith("nothing is saved: no step was made\n")
    assert (tmp_path / "model.zip").read_bytes() == before


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt, OSError, FloatingPointError])
def test_a_training_that_has_not_ended_replaces_no_other_one(
    tmp_path, capsys, monkeypatch, stopped_by
):
    def stop(*_):
        raise stopped_by("made to stop")

    monkeypatch.chdir(tmp_path)
    words = ["train", "A2C", "CartPole-v1", "--n-envs", "1", "--timesteps", "15"]
    assert app.invoke(words) == terminal.OK
    first = (tmp_path / "model.zip").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(A2C, "train", stop)
        assert app.invoke(words) != terminal.OK
        assert app.invoke([*words, "--save-every", "5", "--out", "own.zip"]) != terminal.OK
    with monkeypatch.context() as patched:
        patched.setattr(A2C, "train", lambda self: stop() if self.num_timesteps > 5 else None)
        assert app.invoke([*words, "--save-every", "5"]) != terminal.OK
    said = capsys.readouterr().out
    assert "model.zip stays: it is of another training, and this one has not ended" in said
    assert "saved model_1.zip" in said and "saved own.zip" in said and "saved model_2.zip" in said
    assert (tmp_path / "model.zip").read_bytes() == first
    same = ["--out", str(tmp_path / "model_1.zip")]
    assert app.invoke(["train", "--resume", "model_1.zip", *same]) == terminal.OK
    assert app.invoke([*words, "--save-every", "5"]) == terminal.OK  # replaces it at the end
    names = ["model.zip", "model_1.zip", "model_2.zip", "own.zip"]
    assert sorted(path.name for path in tmp_path.glob("*.zip")) == names
    assert (tmp_path / "model.zip").read_bytes() != first


def test_a_signal_before_the_first_step_ends_the_training(tmp_path, capsys, monkeypatch):
    def made_later(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*args)

    monkeypatch.chdir(tmp_path)
    original = training._set_logger
    monkeypatch.setattr(training, "_set_logger", made_later)
    words = ["train", "A2C", "CartPole-v1", "--n-envs", "1", "--timesteps", "50"]
    assert app.invoke(words) == 128 + signal.SIGTERM
    assert capsys.readouterr().out.endswith("nothing is saved: no step was made\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["DQN", "-p", "train_freq=[1, episode]"], "only one env when doing episodic training"),
        (["MaskablePPO", "-p", "n_steps=16", "-p", "batch_size=16"], "support action masking"),
    ],
)
def test_what_sb3_refuses_as_training_begins_is_one_line(
    tmp_path, monkeypatch, capsys, words, expected
):
    monkeypatch.chdir(tmp_path)
    algo, *params = words
    sizes = ["--n-envs", "2", "--backend", "dummy", "--timesteps", "64"]
    assert app.invoke(["train", algo, "CartPole-v1", *params, *sizes]) == terminal.FAILED
    said = capsys.readouterr().err
    assert f"{algo} refuses it: " in said and expected in said and "Traceback" not in said


@pytest.mark.parametrize("text", ["1e5", "100000", "100_000", "1E5"])
def test_a_number_of_steps_may_be_written_with_an_exponent(text):
    assert models.whole_number(text) == 100_000


@pytest.mark.parametrize("text", ["0", "-5", "1.5", "1e-3", "many", "inf", "nan"])
def test_other_numbers_of_steps_are_refused(text, capsys):
    assert app.invoke(["train", "NPG", "CartPole-v1", "--timesteps", text]) == terminal.MISUSED
    error = capsys.readouterr().err
    assert repr(text) in error and "a whole number of at least 1, as in 1e5" in error


OWN = "tests.own_envs"
WALK = [f"{OWN}:Walk-v0", "--env-kwargs", "goal=3.0", "--wrapper"]
WALK += [
    f"{OWN}:Scaled: {{times: 1000}}",
    "--wrapper",
    "RescaleAction: {min_action: -9, max_action: 9}",
]


def test_a_model_remembers_the_settings_of_its_environment(tmp_path, monkeypatch, capsys):
    """enjoy and --resume build the same, and enjoy takes others on request."""
    monkeypatch.chdir(tmp_path)
    words = ["train", "A2C", *WALK, "--timesteps", "64", "--n-envs", "2", "-p", "n_steps=8"]
    assert app.invoke([*words, "--eval-every", "32", "--backend", "dummy"]) == terminal.OK
    header = read_header("model.zip")
    assert header["env"] == f"{OWN}:Walk-v0"
    assert header["env_settings"] == {
        "kwargs": {"goal": 3.0},
        "wrappers": [
            {f"{OWN}:Scaled": {"times": 1000}},
            {"RescaleAction": {"min_action": -9, "max_action": 9}},
        ],
    }
    capsys.readouterr()
    assert app.invoke(["train", "--resume", "model.zip", "--timesteps", "128"]) == terminal.OK
    assert "goes on" not in capsys.readouterr().err
    assert read_header("model.zip")["env_settings"] == header["env_settings"]
    played = []
    for words in ([], [f"{OWN}:Walk-v0"], ["--env-kwargs", "goal=-4"]):
        assert app.invoke(["enjoy", "model.zip", *words, "--episodes", "2"]) == terminal.OK
        played.append(capsys.readouterr().out)
    assert played[0] == played[1] != played[2]  # its id alone stands for its settings
    assert app.invoke(["enjoy", "model.zip", "--wrapper", "Autoreset"]) == terminal.MISUSED
    assert "Action spaces do not match" in capsys.readouterr().err  # it takes the place of its own
    returns = [float(line.split()[3]) for line in played[0].splitlines()[:-1]]
    assert all(-4.3 * 20 < r < 0 for r in returns)  # a thousand times as much with the wrapper
    assert app.invoke(["enjoy", "model.zip", "--episodes", "2", "--video", "a.mp4"]) == terminal.OK
    assert capsys.readouterr().out.startswith(played[0])


def test_wrappers_of_a_stranger_are_not_imported(tmp_path, monkeypatch, capsys, misused):
    monkeypatch.chdir(tmp_path)
    words = ["train", "A2C", "CartPole-v1", "--wrapper", f"{OWN}:Scaled", "--timesteps", "10"]
    assert app.invoke([*words, "--n-envs", "1", "--backend", "dummy"]) == terminal.OK
    monkeypatch.setenv("XDG_CONFIG_HOME", "another")
    for words in (["enjoy", "model.zip"], ["enjoy", "model.zip", "CartPole-v1"]):
        assert f"puts wrappers around its environment, {OWN}:Scaled" in misused(words)
    error = misused(["enjoy", "model.zip", "--wrapper", "Autoreset"])
    assert "add --trust" in error
    assert "add --trust" in misused(["train", "--resume", "model.zip", "--timesteps", "20"])
    assert app.invoke(["enjoy", "model.zip", "--trust"]) == terminal.OK


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--env-kwargs", "goal"], ["--env-kwargs 'goal'", "KEY=VALUE"]),
        (["--env-kwargs", "goal=1", "--env-kwargs", "goal=2"], ["goal is given twice"]),
        (["--env-kwargs", "{goal: 3}"], ["--env-kwargs", "KEY=VALUE"]),
        (["--env-kwargs", "goal=[1"], ["--env-kwargs 'goal=[1'", "not valid YAML"]),
        (["--env-kwargs", "goal=7"], ["kwargs.goal: given 7", "goal must lie between"]),
        (["--env-kwargs", "goal:7"], ["kwargs.goal: given 7"]),  # as RL Zoo writes it
        (["--env-kwargs", "gaol=1"], ["kwargs.gaol: given 1", "unexpected keyword"]),
        (["--wrapper", "Autorest"], ["wrappers.0", "did you mean 'Autoreset'"]),
        (["--wrapper", "a:B: 3"], ["--wrapper", "allowed: module:Class"]),
        (["--wrapper", f"{OWN}:leaves"], ["SystemExit: made to leave"]),
        (["--wrapper", f"{OWN}:Scaled", "--backend", "envpool"], ["here: EnvPool's environments"]),
    ],
)
def test_settings_that_do_not_fit_are_told_before_anything_is_trained(
    tmp_path, monkeypatch, misused, words, expected
):
    if "envpool" in words:
        pytest.importorskip("envpool")
    monkeypatch.chdir(tmp_path)
    error = misused(["train", "A2C", f"{OWN}:Walk-v0", "--backend", "dummy", *words])
    for part in expected:
        assert part in error


NPG_ON_CARTPOLE = ["train", "NPG", "CartPole-v1", "--n-envs", "2", "--backend", "dummy"]
NPG_ON_CARTPOLE += ["-p", "n_steps=50", "--timesteps", "200"]


@pytest.mark.parametrize("more", [[], ["--tensorboard", "logs"]])
def test_tables_are_printed_if_they_are_asked_for(tmp_path, monkeypatch, capsys, more):
    monkeypatch.chdir(tmp_path)
    assert app.invoke([*NPG_ON_CARTPOLE, *more]) == terminal.OK
    assert "ep_rew_mean" not in capsys.readouterr().out
    assert app.invoke([*NPG_ON_CARTPOLE, *more, "--tables"]) == terminal.OK
    assert capsys.readouterr().out.count("ep_rew_mean") == 2


def test_what_is_resumed_stays_where_the_new_model_had_to_go_elsewhere(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    start = ["train", "A2C", "CartPole-v1", "--timesteps", "16", "--backend", "dummy"]
    assert app.invoke([*start, "-p", "n_steps=8"]) == terminal.OK
    spare = tmp_path / "spare.zip"

    def elsewhere(model, file, tell, ask):
        loading.save(model, spare)
        return spare

    monkeypatch.setattr(training, "save", elsewhere)
    resume = ["train", "--resume", "model.zip", "--timesteps", "128"]
    assert app.invoke(resume) == terminal.OK
    assert (tmp_path / "model.zip").exists() and f"saved {spare}" in capsys.readouterr().out
    # Nor does the periodic save of a training whose place was taken.
    longer = ["192" if word == "16" else word for word in start]
    assert app.invoke([*longer, "-p", "n_steps=8", "--save-every", "64"]) == terminal.OK
    assert (tmp_path / "model_1.zip").exists()


def test_a_resumed_training_is_the_same_run_in_its_tracker(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert app.invoke([*NPG_ON_CARTPOLE, "--track", "tensorboard"]) == terminal.OK
    (run,) = (tmp_path / "runs" / "sb3-course").iterdir()
    assert run.name.startswith("npg_cartpole-v1_seed0_")
    config = json.loads((run / "config.json").read_text())
    assert config["params"]["n_steps"] == 50 and config["params"]["gamma"] == 0.99
    assert "git_commit" in config["code"] and config["env_id"] == "CartPole-v1"
    before = len(list(run.glob("events*")))
    resume = ["train", "--resume", "model.zip", "--timesteps", "300"]
    assert app.invoke(resume) == terminal.OK
    assert list((tmp_path / "runs" / "sb3-course").iterdir()) == [run]
    assert len(list(run.glob("events*"))) == before + 1
    monkeypatch.setattr("sb3_course.loading.is_trusted", lambda path: False)
    assert app.invoke([*resume[:-1], "400"]) == terminal.OK  # a stranger's file starts no tracker
    assert len(list(run.glob("events*"))) == before + 1
    capsys.readouterr()
    assert app.invoke([*NPG_ON_CARTPOLE, "--track-video"]) == terminal.MISUSED
    assert "--track-video requires --track" in capsys.readouterr().err
    blind = [
        "sb3_course.envs.dilemmas:Dilemmas-v0" if w == "CartPole-v1" else w for w in NPG_ON_CARTPOLE
    ]
    assert app.invoke([*blind, "--track", "tensorboard", "--track-video"]) == terminal.MISUSED
    assert "renders no images (rgb_array); its render modes: none" in capsys.readouterr().err
    assert app.invoke([*NPG_ON_CARTPOLE, "--track", "wanbd"]) == terminal.MISUSED
    assert "did you mean 'wandb'" in capsys.readouterr().err


def test_statistics_beside_a_file_of_sb3_are_told_to_be_unread(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = A2C("MlpPolicy", "CartPole-v1", device="cpu")
    (tmp_path / "CartPole-v1").mkdir()
    for place in ("CartPole-v1/vecnormalize.pkl", "vec_normalize.pkl"):
        for name, save in (("theirs", A2C.save), ("ours", loading.save)):
            save(model, tmp_path / f"{name}.zip")
            words = ["enjoy", f"{name}.zip", "CartPole-v1", "--algo", "A2C", "--trust"]
            (tmp_path / place).write_bytes(pickle.dumps("never read"))
            assert app.invoke([*words, "--episodes", "1"]) == terminal.OK
            told = capsys.readouterr().err
            assert (f"{place} is not read" in told) == (name == "theirs")
            (tmp_path / place).unlink()
            assert app.invoke([*words, "--episodes", "1"]) == terminal.OK
            assert capsys.readouterr().err == ""


def test_returns_that_are_no_numbers_are_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    A2C("MlpPolicy", "CartPole-v1", device="cpu").save("m")
    monkeypatch.setattr("sb3_course.playing.play", lambda *_: iter([(float("nan"), 3), (1.0, 4)]))
    assert app.invoke(["enjoy", "m", "CartPole-v1"]) == terminal.OK
    assert capsys.readouterr().out.endswith("mean return nan ± nan\n")


def test_small_returns_are_not_printed_as_0(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    A2C("MlpPolicy", "CartPole-v1", device="cpu").save("m")
    monkeypatch.setattr("sb3_course.playing.play", lambda *_: iter([(0.001, 3), (0.003, 4)]))
    assert app.invoke(["enjoy", "m", "CartPole-v1"]) == terminal.OK
    printed = capsys.readouterr().out
    assert "return 0.00100 in 3 steps" in printed
    assert printed.endswith("mean return 0.00200 ± 0.00100\n")
