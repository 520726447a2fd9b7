import os
import re
import signal
import subprocess
import sys
from importlib import import_module
from threading import Thread

import pytest
import typer
from pydantic import model_serializer

from sb3_course.benchmark.definition.sections import Section
from sb3_course.cli import app
from sb3_course.cli.parts import terminal
from sb3_course.common.errors import UserError
from tests.benchmark.helpers import loaded_by_sb3

OPTIONAL = (
    "pandas",
    "matplotlib",
    "seaborn",
    "scipy",
    "rliable",
    "imitation",
    "envpool",
)
"""Packages that only extras install."""


def python(code, *arguments):
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True)


def test_an_unknown_command_gets_one_clear_line(misused):
    error = misused(["rn"])
    assert "rn" in error and "sb3-course --help" in error


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "demo",
        "status",
        "report",
        "regression",
        "train",
        "enjoy",
        "imitate",
        "figures",
    ],
)
def test_help_teaches_by_example(capsys, command):
    assert app.invoke([command, "--help"]) == terminal.OK
    text = capsys.readouterr().out
    assert "For example:" in text
    assert len(re.findall(rf"sb3-course {command}", text)) >= 2


def test_the_list_of_commands_says_all_of_what_each_does(capsys):
    assert app.invoke(["--help"]) == terminal.OK
    listed = " ".join(capsys.readouterr().out.split())
    for command in typer.main.get_command(app.app).commands.values():
        assert (command.help or "").splitlines()[0] in listed
        assert f"{command.name} " in listed


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("ray", "ray"),
        ("optuna.trial", "tune"),
        ("imitation.data", "imitation"),
        ("mujoco", "mujoco"),
        ("Box2D", "box2d"),
        ("pygame", "video"),
        ("pandas", "benchmark"),
        ("rliable.metrics", "benchmark"),
    ],
)
def test_a_missing_package_is_told_with_the_extra_that_brings_it(
    monkeypatch, capsys, module, extra
):
    def missing(*arguments, **options):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(app, "app", missing)
    assert app.invoke(["status"]) == terminal.FAILED
    assert f"pip install 'sb3-course[{extra}]'" in capsys.readouterr().err.replace("\n", " ")


def test_what_a_system_lacks_is_no_package_to_install(monkeypatch, capsys):
    def missing(*arguments, **options):
        raise ModuleNotFoundError("No module named 'fcntl'", name="fcntl")

    monkeypatch.setattr(app, "app", missing)
    assert app.invoke(["status"]) == terminal.FAILED
    said = capsys.readouterr().err
    assert "need Linux or macOS" in said and "pip" not in said


def test_sigterm_does_what_ctrl_c_does_in_every_command(monkeypatch, capsys, tmp_path):
    def stopped(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("sb3_course.lectures.run.make_figures", stopped)
    assert app.invoke(["figures", "--out", str(tmp_path)]) == terminal.INTERRUPTED
    assert "finished figures are kept" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "threads"), [({}, "1"), ({"OMP_NUM_THREADS": "2"}, "2")])
def test_commands_take_one_thread_unless_told_otherwise(given, threads):
    code = (
        "import sys; from contextlib import suppress; from sb3_course.cli import app\n"
        "sys.argv[1:] = ['demo', '--help']\n"
        "with suppress(SystemExit): app.main()\n"
        "import torch; print(torch.get_num_threads())"
    )
    environ = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | given
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[-1] == threads


def test_a_thread_may_call_a_command(tmp_path):
    codes = []
    words = ["figures", "unknown", "--out", str(tmp_path)]
    thread = Thread(target=lambda: codes.append(app.invoke(words)))
    thread.start()
    thread.join()
    assert codes == [terminal.MISUSED]


class Abort(Exception):
    """What Typer raises for Ctrl-C, whatever its release."""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), terminal.INTERRUPTED, ""),
        (Abort(), terminal.INTERRUPTED, ""),
        (PermissionError(13, "Permission denied", "taken/x"), terminal.FAILED, "taken/x: Permis"),
        (UserError("a mistake"), terminal.MISUSED, "sb3-course: a mistake"),
        (SystemExit(0), terminal.FAILED, "module of yours has called sys.exit(0)"),
    ],
)
def test_errors_of_users_and_machines_are_one_line(monkeypatch, capsys, error, code, words):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(app, "app", fail)
    assert app.invoke(["status"]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        OSError("no file is to blame"),
        ZeroDivisionError("a fault of ours"),
        ModuleNotFoundError("No module named 'sb3_course.x'", name="sb3_course.x"),
    ],
)
def test_our_own_faults_keep_their_traceback(monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(type(error)):
        app.invoke(["status"])


@pytest.mark.parametrize("package", ["sb3_course", "sb3_course.envs", "sb3_course.benchmark"])
def test_a_package_has_only_the_names_that_it_has(package):
    name = "NoSuchName"
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(import_module(package), name)


@pytest.mark.parametrize("command", [[], ["train"], ["report"], ["run"], ["homework", "hw2"]])
def test_help_imports_only_what_it_shows(command):
    """What it waited for once: two thirds of a help text's time, and seconds for those of torch."""
    slow = {"torch", "gymnasium", "stable_baselines3", "rich.markdown", "pygments", *OPTIONAL}
    slow |= set() if command else {"importlib.metadata", "pydantic"}  # Typer's for parameters
    code = (
        "import sys; from sb3_course.cli.app import invoke; invoke(sys.argv[1:]);"
        f"sys.exit(' '.join({slow!r} & sys.modules.keys()))"
    )
    shown = python(code, *command, "--help")
    assert "Usage: sb3-course" in shown.stdout
    assert not shown.stderr.strip()


def test_training_needs_no_extra(tmp_path):
    """Typer itself imports pydantic in some releases, so that only this package may not."""
    code = """if True:
        import builtins, sys

        missing, out = sys.argv[1].split(","), sys.argv[2]
        sys.modules.update(dict.fromkeys(missing))
        plain_import = builtins.__import__

        def checked_import(name, globals=None, *rest, **named):
            importer = (globals or {}).get("__name__") or ""
            if name.partition(".")[0] == "pydantic" and importer.startswith("sb3_course"):
                raise ModuleNotFoundError(f"{importer} imports pydantic", name="pydantic")
            return plain_import(name, globals, *rest, **named)

        builtins.__import__ = checked_import
        from sb3_course.cli.app import invoke

        words = ["train", "NPG", "CartPole-v1", "-p", "target_kl=0.02"]
        code = invoke([*words, "--timesteps", "300", "--out", out])
        print([name for name in sys.modules if name.startswith("sb3_course.benchmark")])
        sys.exit(code)
        """
    missing = set(OPTIONAL) - loaded_by_sb3()
    done = python(code, ",".join(missing), tmp_path / "npg.zip")
    assert done.returncode == terminal.OK, done.stderr
    assert "on backend 'dummy' (EnvPool is not installed" in done.stdout
    assert done.stdout.endswith("\n[]\n")
    assert (tmp_path / "npg.zip").is_file()


def test_a_missing_extra_is_named(monkeypatch, capsys, grid):
    path = grid()
    monkeypatch.setitem(sys.modules, "pydantic", None)
    for module in ("api", "definition.grid"):
        monkeypatch.delitem(sys.modules, f"sb3_course.benchmark.{module}", raising=False)
    assert app.invoke(["report", path]) == terminal.FAILED
    assert "pip install 'sb3-course[benchmark]'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["homework"]])
def test_without_arguments_the_help_is_shown_as_it_is(capsys, words):
    assert app.invoke(words) == terminal.MISUSED
    printed = "".join(capsys.readouterr())
    assert printed.startswith("Usage: sb3-course")
    assert "sb3-course: " not in printed
    assert "(see" not in printed


def test_ctrl_c_while_pydantic_calls_back_is_ctrl_c(monkeypatch):
    class Stopped(Section):
        @model_serializer(mode="wrap")
        def _stop(self, handler):
            raise KeyboardInterrupt

    monkeypatch.setattr(app, "app", lambda *_, **__: Stopped().model_dump())
    assert app.invoke(["status", "grid.yaml"]) == terminal.INTERRUPTED


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), SystemExit(1)])
def test_a_reader_that_has_left_is_no_mistake(error, monkeypatch, capfd):
    """As in `sb3-course status GRID | head -1`; Rich leaves by sys.exit(1)."""
    if isinstance(error, SystemExit):
        error.__context__ = BrokenPipeError(32, "Broken pipe")

    def leave(*_, **__):
        raise error

    monkeypatch.setattr(app, "app", leave)
    kept = os.dup(1)
    try:
        assert app.invoke(["status", "grid.yaml"]) == 1
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    assert capfd.readouterr().err == ""
