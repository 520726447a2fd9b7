"""A student's file: how it begins, how its functions are loaded, and where an error is in it.

Checking a file executes it, as Python would: it is the student's own.
"""

import ast
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dis import opmap
from functools import cache
from inspect import cleandoc
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from sb3_course.common.errors import UserError, in_words

WORKSHEET = Path(__file__).with_name("worksheet.py")
"""What a student's file begins as."""
MODULE = "student_file"
"""Name of the module that a student's file becomes: none of the library's, whatever the file's."""


@cache
def statements() -> dict[str, str]:
    """Return what each exercise asks for: the docstring of its function in the worksheet.

    :return: Statements by name, in the order of the worksheet
    """
    functions = [
        n for n in ast.parse(WORKSHEET.read_bytes()).body if isinstance(n, ast.FunctionDef)
    ]
    return {f.name: cleandoc(ast.get_docstring(f) or "") for f in functions}


def start(path: Path) -> None:
    """Write the worksheet.

    :param path: File to write
    :raises UserError: The file exists, or its folder does not
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(WORKSHEET.read_text(encoding="utf-8"))
    except FileExistsError:
        raise UserError(f"{path} exists and is kept: choose another name") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def load(path: Path) -> dict[str, Any]:
    """Execute a student's file.

    :param path: File
    :return: What it defines
    :raises UserError: It cannot be read or executed; the message has the line
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    linecache.checkcache(str(path))
    module = sys.modules[MODULE] = ModuleType(MODULE)
    module.__file__ = str(path)
    sys.path.insert(0, beside := str(path.resolve().parent))
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except SyntaxError as error:
        line = "" if error.lineno is None else f":{error.lineno}"
        raise UserError(f"{error.filename or path}{line}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise UserError(described(error, path)) from error
    finally:
        with suppress(ValueError):  # the file has removed it
            sys.path.remove(beside)
    return vars(module)


@contextmanager
def kept_running() -> Iterator[None]:
    """Make ``os._exit`` raise within a context, where it would end this process without a word.

    :yield: Nothing
    """
    leave, process = os._exit, os.getpid()

    def told(status: int) -> NoReturn:
        if os.getpid() != process:  # one that the file has forked
            leave(status)
        raise SystemExit(f"the file ends the process by os._exit({status})")

    os._exit = told
    try:
        yield
    finally:
        os._exit = leave


def described(error: BaseException, path: Path) -> str:
    """Describe an exception with the last line of the student's file that led to it.

    :param error: Exception
    :param path: Student's file
    :return: Place, line and message
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == str(path)]
    if not own:
        return in_words(error)
    return f"{path}:{own[-1].lineno}: {in_words(error)}\n    {own[-1].line}"


def unfinished(error: NotImplementedError, path: Path) -> bool:
    """Return whether the student's file itself says that something is not yet written.

    :param error: Exception, which PyTorch raises as well, for operators that a type lacks
    :param path: Student's file
    :return: Whether a statement of the file raised it
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return False
    code = last.tb_frame.f_code
    raised = code.co_code[last.tb_lasti] == opmap["RAISE_VARARGS"]  # and not CALL
    return raised and code.co_filename == str(path)


def function(namespace: dict[str, Any], name: str) -> Callable[..., Any] | None:
    """Return a function of a student's file.

    :param namespace: What the file defines
    :param name: Name of the function
    :return: Function; None if there is none of that name
    """
    found = namespace.get(name)
    return found if callable(found) else None
