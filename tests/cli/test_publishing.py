import onnxruntime
import pytest
from stable_baselines3 import A2C

from sb3_course.cli import app
from sb3_course.cli.parts import terminal


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A small model in the working directory, as model.zip."""
    monkeypatch.chdir(tmp_path)
    words = ["train", "NPG", "CartPole-v1", "--timesteps", "64", "-p", "n_steps=16"]
    words += ["--n-envs", "2", "--backend", "dummy", "--normalize", "--seed", "3"]
    assert app.invoke(words) == terminal.OK
    return "model.zip"


def test_export_writes_beside_the_model_or_where_it_is_told(model, tmp_path, capsys):
    assert app.invoke(["export", "model", "--onnx"]) == terminal.OK
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("saved model.onnx (") and "at most 0" in line
    session = onnxruntime.InferenceSession("model.onnx")
    assert [i.name for i in session.get_inputs()] == ["observation"]
    assert app.invoke(["export", model, "new/policy", "--torchscript"]) == terminal.OK
    assert (tmp_path / "new" / "policy.pt").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["export", "model.zip"], ["--onnx", "--torchscript"]),
        (["export", "model.zip", "--onnx", "--torchscript"], ["one of --onnx and --torchscript"]),
        (["export", "model.zip", "a.pt", "--onnx"], ["a.pt", ".onnx"]),
        (["export", "model.zip", ".", "--onnx"], ["OUT: '.' is a folder; allowed: a file .onnx"]),
        (["export", "model.zip", "folder", "--torchscript"], ["OUT: 'folder' is a folder"]),
        (["export", "model.zip", "text.zip/a.onnx", "--onnx"], ["OUT: text.zip/a.onnx cannot be"]),
        (["export", "m.pt", "--torchscript"], ["OUT: m.pt is read as well, and kept"]),
        (["export", "m.pt", "./m.pt", "--torchscript"], ["is read as well, and kept"]),
        (["export", "folder", "--onnx"], ["folder is a folder; allowed: the file of a model"]),
        (["export", "none", "--onnx"], ["none.zip does not exist"]),
        (["export", "sb3.zip", "--torchscript"], ["add it, as in --algo A2C"]),
        (["export", "text.zip", "--torchscript"], ["text.zip", "not a zip file"]),
    ],
)
def test_wrong_arguments_get_one_clear_line(tmp_path, monkeypatch, misused, words, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.zip").write_text("text")
    A2C("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "sb3.zip")
    for name in ("model.zip", "m.pt"):
        (tmp_path / name).write_bytes((tmp_path / "sb3.zip").read_bytes())
    (tmp_path / "folder").mkdir()
    error = misused(words)
    assert (tmp_path / "m.pt").read_bytes() == (tmp_path / "sb3.zip").read_bytes()
    for part in expected:
        assert part in error


def test_card_makes_a_folder_beside_the_model(model, tmp_path, capsys, misused):
    assert app.invoke(["card", model, "--episodes", "2"]) == terminal.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "saved model" and "95% interval" in lines[-2]
    assert (tmp_path / "model" / "npg-CartPole-v1.zip").exists()
    assert "a new or an empty folder" in misused(["card", model, "--episodes", "2"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["none.zip"], "none.zip does not exist"),
        (["sb3.zip"], "does not name its environment"),
        (["sb3.zip", "CartPole-v1", "--out", "sb3.zip"], "allowed: a new or an empty folder"),
        (["sb3.zip", "CartPole-v1", "--out", "sb3.zip/a"], "--out: sb3.zip is a file; allowed: a "),
        (["sb3.zip", "--out", "sb3.zip/a/b"], "--out: sb3.zip/a cannot be written (Not a dir"),
        (["sb3.zip", "CartPole-v1"], "add it, as in --algo A2C"),
        (["sb3.zip", "CartPole-v1", "--algo", "A2C"], "add --trust"),
        (["sb3.zip", "CartPol-v1"], "did you mean 'CartPole-v1'"),
        (["sb3.zip", "CartPole-v1", "--push", "a/b/c"], "--push: "),
    ],
)
def test_a_card_that_cannot_be_made_is_told(tmp_path, monkeypatch, misused, words, expected):
    monkeypatch.chdir(tmp_path)
    A2C("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "sb3.zip")
    assert expected in misused(["card", *words])
    assert not (tmp_path / "sb3").exists() or not any((tmp_path / "sb3").iterdir())
