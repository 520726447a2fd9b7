import pytest
from stable_baselines3 import A2C

from sb3_course.cli import app, models, terminal


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "A2", "CartPole-v1"], ["'A2'", "did you mean 'A2C'"]),
        (["train", "A2C", "CartPol-v1"], ["'CartPol-v1'", "did you mean 'CartPole-v1'"]),
        (["train", "A2C", "CartPole-v1", "-p", "gama=1"], ["'gama'", "did you mean 'gamma'"]),
        (["train", "A2C", "CartPole-v1", "-p", "gamma"], ["'gamma'", "KEY=VALUE"]),
        (["train", "A2C", "CartPole-v1", "-p", "learning_rate=-1"], ["learning_rate", "given -1"]),
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


@pytest.mark.parametrize("text", ["1e5", "100000", "100_000", "1E5"])
def test_a_number_of_steps_may_be_written_with_an_exponent(text):
    assert models.whole_number(text) == 100_000


@pytest.mark.parametrize("text", ["0", "-5", "1.5", "1e-3", "many", "inf", "nan"])
def test_other_numbers_of_steps_are_refused(text, capsys):
    assert app.invoke(["train", "NPG", "CartPole-v1", "--timesteps", text]) == terminal.MISUSED
    error = capsys.readouterr().err
    assert repr(text) in error and "a whole number of at least 1, as in 1e5" in error
