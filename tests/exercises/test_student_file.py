import ast
import os
import random
import sys

import pytest

from sb3_course.common.errors import UserError
from sb3_course.exercises.student_file import (
    WORKSHEET,
    function,
    kept_running,
    load,
    start,
    statements,
)


def test_the_worksheet_is_written_once(tmp_path):
    path = tmp_path / "mine.py"
    start(path)
    assert path.read_text() == WORKSHEET.read_text()
    path.write_text("mine")
    with pytest.raises(UserError, match=r"mine\.py exists and is kept"):
        start(path)
    assert path.read_text() == "mine"
    with pytest.raises(UserError, match="No such file"):
        start(tmp_path / "gone" / "mine.py")


def test_the_worksheet_holds_no_solution():
    """Functions to write are empty, and the others are judged to have their bug still."""
    functions = [n for n in ast.parse(WORKSHEET.read_text()).body if isinstance(n, ast.FunctionDef)]
    empty = [f.name for f in functions if isinstance(f.body[1], ast.Raise) and len(f.body) == 2]
    assert empty == [name for name in statements() if not name.endswith("_update")]


def test_statements_are_the_docstrings():
    assert statements()["reward_to_go"].startswith("Compute the reward to go Q̂_t")
    assert all(":return:" in statement for statement in statements().values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nb = (\n", r"mine\.py:2: '\(' was never closed"),
        ("a = 1\n\nb = c\n", r"mine\.py:3: NameError: name 'c' is not defined\n    b = c"),
        ("import gone_for_good", r"mine\.py:1: ModuleNotFoundError"),
        ("raise SystemExit(2)", r"mine\.py:1: SystemExit: 2"),
        ("a = '\x00'", r"mine\.py(:1)?: "),
    ],
)
def test_a_file_that_does_not_run_is_refused_with_the_line(text, said, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        load(path)


def test_a_file_is_a_module_of_its_own_whatever_its_name(tmp_path):
    """Dataclasses look their module up; a file that is called as one of the library's is none."""
    path = tmp_path / "random.py"
    path.write_text(
        "from __future__ import annotations\nimport dataclasses\n"
        "@dataclasses.dataclass\nclass A:\n    b: int\n"
        "if __name__ == '__main__':\n    raise SystemExit\n"
    )
    assert load(path)["A"](3).b == 3
    assert hasattr(random, "seed") and sys.modules["random"] is random


def test_processes_that_a_file_forks_end_as_they_would(tmp_path):
    leave = os._exit
    with kept_running():
        child = os.fork()
        if not child:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        with pytest.raises(SystemExit, match="os._exit"):
            os._exit(0)
    assert os._exit is leave


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load(tmp_path / "gone.py")
    with pytest.raises(UserError, match="Is a directory"):
        load(tmp_path)


def test_names_of_functions_alone_count(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("gae = 3\ndef reward_to_go(): pass\n")
    namespace = load(path)
    assert function(namespace, "gae") is None and function(namespace, "gone") is None
    assert function(namespace, "reward_to_go") is namespace["reward_to_go"]


def test_a_file_imports_what_is_beside_it(tmp_path):
    (tmp_path / "helper_of_mine.py").write_text("x = 3")
    (tmp_path / "mine.py").write_text("from helper_of_mine import x")
    before = list(sys.path)
    assert load(tmp_path / "mine.py")["x"] == 3
    assert sys.path == before


def test_an_error_of_a_helper_is_told_at_the_helper(tmp_path):
    (tmp_path / "helper_with_an_error.py").write_text("one = 1\ntwo = = 2\n")
    (tmp_path / "mine.py").write_text("from helper_with_an_error import one\n")
    with pytest.raises(UserError, match=r"helper_with_an_error\.py:2: invalid syntax"):
        load(tmp_path / "mine.py")
