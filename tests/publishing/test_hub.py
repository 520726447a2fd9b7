from pathlib import Path

import pytest

from sb3_course.cli import app
from sb3_course.cli.parts import terminal
from sb3_course.common.errors import UserError
from sb3_course.publishing import hub
from tests.publishing.stub_hub import TOKEN, serving

ENDPOINT = "huggingface_hub.constants.ENDPOINT"
"""What the variable HF_ENDPOINT becomes when the library is first imported."""


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A stub of the Hub, at which nobody is logged in."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with serving() as server:
        monkeypatch.setattr(ENDPOINT, server.url)
        resolve = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for module in ("constants", "file_download"):  # older versions have it in both
            name = f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE"
            monkeypatch.setattr(name, resolve, raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


@pytest.fixture
def login(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "card"
    folder.mkdir()
    for name, content in [("README.md", b"---\ntags: []\n---\n"), ("a.zip", b"zip"), ("b", b"b")]:
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_is_uploaded_whole(server, login, folder):
    assert hub.repository("npg") == "me/npg"
    assert hub.repository("us/npg") == "us/npg"
    assert hub.push(folder, "us/npg").endswith("/us/npg")
    assert server.repositories == {"us/npg"}
    expected = {("us/npg", path.name): path.read_bytes() for path in folder.iterdir()}
    assert server.files == expected
    assert server.messages == ["Upload model, card and evaluation"]
    (folder / "b").write_bytes(b"new")
    hub.push(folder, "us/npg")
    assert server.files[("us/npg", "b")] == b"new"


def test_a_card_is_pushed_and_its_code_loads_the_model_from_there(
    server, login, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = ["NPG", "CartPole-v1", "--timesteps", "64", "-p", "n_steps=16", "--normalize"]
    assert app.invoke(["train", *words, "--n-envs", "2", "--backend", "dummy"]) == terminal.OK
    assert app.invoke(["card", "model.zip", "--episodes", "2", "--push", "npg"]) == terminal.OK
    assert capsys.readouterr().out.splitlines()[-1] == f"uploaded to {server.url}/me/npg"
    assert {name for _, name in server.files} == {
        *("npg-CartPole-v1.zip", "README.md", "results.json", "config.json", "replay.mp4"),
    }
    card = server.files[("me/npg", "README.md")].decode()
    loaded = {}
    exec(card.split("```python\n")[1].split("```")[0], loaded)
    file = Path(loaded["file"])
    assert file.is_relative_to(tmp_path / "cache")
    assert file.read_bytes() == Path("model.zip").read_bytes()
    assert loaded["model"].num_timesteps == 64


def test_nobody_logged_in_is_told_at_once(server, monkeypatch):
    with pytest.raises(UserError, match="nobody is logged in at the Hub: log in with `hf auth"):
        hub.repository("me/npg")
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(UserError, match="nobody is logged in at the Hub"):
        hub.repository("me/npg")


def test_a_malformed_name_is_refused(server, login):
    for name in ("a/b/c", "me/.npg", "me/n p g"):
        with pytest.raises(UserError, match="--push: .*"):
            hub.repository(name)


def test_a_network_that_does_not_answer_is_told(login, monkeypatch):
    monkeypatch.setattr(ENDPOINT, "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(UserError, match="http://127.0.0.1:9 does not answer; without --push"):
        hub.repository("me/npg")


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/repos/create", 403, r"`hf upload us/npg .*` tries again: .*; log in with"),
        ("/api/models/us/npg/commit", 400, r"card is complete, but its upload failed; `hf upload"),
        ("/api/models/us/npg/preupload", 400, r"its upload failed"),
    ],
)
def test_a_failed_upload_says_how_to_try_again(server, login, folder, path, status, message):
    server.refuse[path] = status
    with pytest.raises(UserError, match=message):
        hub.push(folder, "us/npg")
    assert server.files == {}
    assert len(list(folder.iterdir())) == 3


def test_a_missing_library_is_told_with_its_extra(monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'sb3-course\[hub\]'"):
        hub.repository("me/npg")
