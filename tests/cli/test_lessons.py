import importlib

import pytest

from sb3_course.cli import app
from sb3_course.cli.parts import terminal
from sb3_course.envs.config import EnvConfig
from sb3_course.lectures import run


@pytest.fixture
def made(monkeypatch):
    """Replace the figures by a function that records its arguments."""
    calls = []

    def make_figures(names, quick, folder, console):
        calls.append((names, quick, folder.name))
        return ["natural_path"]

    monkeypatch.setattr(run, "make_figures", make_figures)
    return calls


def test_figures_are_made_in_the_lectures_order(made, capsys):
    words = ["figures", "kl_expansion", "natural_path", "--quick", "--out", "mine"]
    assert app.invoke(words) == terminal.OK
    assert made == [(["natural_path", "kl_expansion"], True, "mine")]
    out, err = capsys.readouterr()
    assert out.endswith("mine/report.html\n")
    assert err.startswith("sb3-course: natural_path: the claim does not hold")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), terminal.INTERRUPTED, "finished figures are kept in"),
        (FloatingPointError("cost is nan"), terminal.FAILED, "cost is nan"),
    ],
)
def test_figures_that_stop_say_why(monkeypatch, capsys, error, code, message):
    def make_figures(*arguments):
        raise error

    monkeypatch.setattr(run, "make_figures", make_figures)
    assert app.invoke(["figures"]) == code
    out, err = capsys.readouterr()
    assert message in err and out == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"dagger": False, "collect": True, "rounds": 6, "seed": 0, "expert": None}),
        (["--dagger", "--rounds", "2"], {"dagger": True, "collect": True, "rounds": 2}),
        (["--no-collect", "--seed", "3"], {"dagger": True, "collect": False, "seed": 3}),
        (["--algo", "PPO", "--expert", "a.zip", "--trust"], {"algo": "PPO", "trust": True}),
        (
            ["--env-kwargs", "sutton_barto_reward=true", "--wrapper", "Autoreset"],
            {"env": EnvConfig("CartPole-v1", {"sutton_barto_reward": True}, ("Autoreset",))},
        ),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_imitate_passes_its_options_on(monkeypatch, words, expected, finished):
    pytest.importorskip("imitation")
    command = importlib.import_module("sb3_course.imitation.command")
    calls = []

    def imitate(options, print_line, ask):
        calls.append(options)
        return finished

    monkeypatch.setattr(command, "imitate", imitate)
    code = app.invoke(["imitate", "CartPole-v1", *words])
    assert code == (terminal.OK if finished else terminal.INTERRUPTED)
    (options,) = calls
    assert options.env.id == "CartPole-v1"
    assert {key: getattr(options, key) for key in expected} == expected
