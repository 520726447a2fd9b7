"""The command line, as a student calls it."""

import os
import subprocess
import sys

import pytest

from sb3_course.exercises.__main__ import invoke
from sb3_course.exercises.student_file import statements

TO_GO = """
    returns = rewards.copy()
    for t in reversed(range(len(rewards) - 1)):
        returns[t] += gamma * ~ends[t] * returns[t + 1]
    return returns
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    assert invoke(["start", str(path)]) == 0
    return path


def fill(path, body):
    """Write the first function."""
    text = path.read_text()
    path.write_text(text.replace("    raise NotImplementedError\n", body, 1))


def test_a_new_worksheet_is_to_do(mine, capsys):
    assert invoke(["check", str(mine)]) == 1
    out = capsys.readouterr().out
    assert out.count("to do") == 12 and out.endswith("0 of 12 right\n")


def test_a_right_answer_shows_what_it_shows(mine, capsys):
    fill(mine, TO_GO)
    assert invoke(["check", str(mine), "reward_to_go"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-3].split() == ["reward_to_go", "right"]
    assert "is ∇J" in out[-2] and out[-1] == "1 of 1 right"
    assert invoke(["list", str(mine)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["reward_to_go", "right"]
    assert [line.split()[1:3] for line in lines[1:]] == [["to", "do"]] * 11


def test_a_wrong_answer_is_diagnosed(mine, capsys):
    fill(mine, TO_GO.replace("~ends[t] * ", ""))
    assert invoke(["check", str(mine), "reward_to_go"]) == 1
    assert "the sum runs over the ends of episodes" in capsys.readouterr().out


def test_the_list_needs_no_file(capsys):
    assert invoke(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(statements())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "gone.py"], "gone.py: No such file or directory"),
        (["check", "gone.py", "reward_togo"], "did you mean 'reward_to_go'?"),
        (["list", "gone.py"], "gone.py: No such file or directory"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(words, said, capsys):
    assert invoke(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("sb3_course.exercises: ") and said in error
    assert error.count("\n") == 1


def test_start_keeps_a_file(mine, capsys):
    assert invoke(["start", str(mine)]) == 2
    assert "exists and is kept" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["check"], ["start"]])
def test_only_the_file_is_required(words, capsys):
    with pytest.raises(SystemExit):
        invoke(words)
    assert capsys.readouterr().err.endswith("the following arguments are required: FILE\n")


@pytest.mark.parametrize(
    "text", ["import os\nos._exit(0)\n", "from os import _exit as end\nend(0)", "quit(0)", "exit()"]
)
@pytest.mark.parametrize("words", [["check"], ["list"]])
def test_a_file_that_ends_the_process_is_told(mine, text, words, capsys):
    mine.write_text(text)
    assert invoke([*words, str(mine)]) == 2
    error = capsys.readouterr().err
    assert "SystemExit: " in error and f"{mine}:" in error
    if "_exit" in text:
        assert f"{mine}:2: SystemExit: the file ends the process by os._exit(0)\n" in error


def test_a_function_that_ends_the_process_is_wrong_and_others_are_judged(mine, capsys):
    fill(mine, "    import os\n    os._exit(0)\n")
    assert invoke(["check", str(mine)]) == 1
    out = capsys.readouterr().out
    assert "the file ends the process by os._exit(0)" in out
    assert out.count("to do") == 11


@pytest.mark.parametrize("words", [[], ["gone"], ["check"]])
def test_wrong_words_exit_with_2(words):
    with pytest.raises(SystemExit) as raised:
        invoke(words)
    assert raised.value.code == 2


def test_an_interrupt_exits_with_130(mine):
    mine.write_text("raise KeyboardInterrupt")
    assert invoke(["check", str(mine)]) == 130


def test_it_runs_as_a_module_without_torch(tmp_path):
    """To start, no library has to be loaded."""
    code = (
        "import runpy, sys; sys.argv[1:] = ['start', 'mine.py']\n"
        "try: runpy.run_module('sb3_course.exercises', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "mine.py\n0 False\n"


def test_a_terminal_in_ascii_shows_everything(mine):
    mine.write_text("raise ValueError('γ is missing')")
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "sb3_course.exercises", "check", str(mine)],
        capture_output=True,
        env={**os.environ, **ascii_only, "PYTHONCOERCECLOCALE": "0"},
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr.decode("ascii")
    assert b"\\u03b3 is missing" in done.stderr
