"""The whole command line: all commands, and how errors are reported."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from sb3_course.cli import (
    clusters,
    grids,
    homework,
    lessons,
    models,
    publishing,
    reports,
    running,
    tuning,
)
from sb3_course.cli.parts.terminal import (
    FAILED,
    INTERRUPTED,
    MISUSED,
    OK,
    print_error,
    stop_on_sigterm,
)
from sb3_course.common.errors import UserError, show_anywhere

app = typer.Typer(
    help="""Policy gradients on Stable-Baselines3: train them, compare them, publish the comparison.

    For example:

    sb3-course demo

    sb3-course train NPG CartPole-v1 --out npg.zip

    sb3-course enjoy npg.zip --video npg.mp4""",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Typer's import of Rich takes longer than all the rest of a help text
)
for command in (
    running.run,
    running.demo,
    grids.status,
    reports.report,
    grids.references,
    grids.regression,
    tuning.tune,
    clusters.slurm,
    models.train,
    models.enjoy,
    publishing.export,
    publishing.card,
    lessons.figures,
    lessons.imitate,
):
    # Whole, where Typer would cut it off.
    app.command(short_help=(command.__doc__ or "").partition("\n")[0])(command)
app.add_typer(homework.homework, name="homework")


# Extras by the modules that they install; all other optional modules are of the extra "benchmark".
EXTRAS = {
    "Box2D": "box2d",
    "envpool": "envpool",
    "huggingface_hub": "hub",
    "imageio_ffmpeg": "video",
    "imitation": "imitation",
    "mujoco": "mujoco",
    "onnxruntime": "export",
    "onnxscript": "export",
    "pygame": "video",
    "mlflow": "mlflow",
    "optuna": "tune",
    "ray": "ray",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}


POSIX = ("fcntl", "resource")
"""Modules that Python has not on Windows."""


def _missing(module: str) -> str:
    """Return what to do about a module that cannot be imported."""
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names:
        posix = ": grids and --track mlflow need Linux or macOS" * (package in POSIX)
        return f"Python has no module {module!r} on this system{posix}"
    extra = EXTRAS.get(package, "benchmark")
    return f"{module} is not installed: pip install 'sb3-course[{extra}]'"


def invoke(arguments: Sequence[str]) -> int:
    """Run the command line.

    :param arguments: Words of the command line after the command's name
    :return: Exit code: 0 for success, 1 for a failure, 2 for wrong arguments, 130 for Ctrl-C
    """
    stop_on_sigterm()  # before pygame listens to it
    try:
        code = app(list(arguments), prog_name="sb3-course", standalone_mode=False)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sb3_course"):
            raise
        print_error(_missing(error.name or ""))
        return FAILED
    except (UserError, ImportError) as error:
        if isinstance(error, ImportError) and error.name != "imitation":  # whose message says it
            raise
        print_error(str(error))
        return MISUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as left:  # as pygame's environments do when their window is closed
        if not _is_unread(left.__context__):  # by which Rich leaves
            print_error(f"an environment or module of yours has called sys.exit({left.code!r})")
        return FAILED
    except OSError as error:
        return _of_system(error)
    except Exception as error:
        return _told(error)
    return code if isinstance(code, int) else OK


def _of_system(error: OSError) -> int:
    if not _is_unread(error):
        if error.filename is None:
            raise error
        print_error(f"{error.filename}: {error.strerror}")  # for example another user's folder
    return FAILED


def _is_unread(error: BaseException | None) -> bool:
    """Whether nobody reads the output any more, as in ``sb3-course status GRID | head``."""
    if not isinstance(error, BrokenPipeError):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where Python writes the rest at its end
    return True


def _told(error: Exception) -> int:
    """Report an error of the command line's words, and return the exit code; raise any other."""
    # Some releases of Typer raise exceptions of their own, others those of click.
    kind = type(error).__name__
    if kind == "Abort":  # Ctrl-C
        return INTERRUPTED
    if kind == "PydanticSerializationError" and "KeyboardInterrupt" in str(error):
        return INTERRUPTED  # which came while pydantic called back
    if not hasattr(error, "format_message"):
        raise error
    message = error.format_message()  # empty if the help was shown for want of arguments
    if kind == "NoArgsIsHelpError":  # whose message is the help, in newer releases
        print(message, file=sys.stderr)
        return MISUSED
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if message and context else ""
    print_error(message.rstrip(".") + hint)
    return MISUSED


def main() -> None:
    """Run the command line and exit with its code."""
    # As `python -m` does, but last: a grid's module:Class may be in the working directory.
    sys.path.append(str(Path.cwd()))
    show_anywhere()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before PyTorch reads it
    sys.exit(invoke(sys.argv[1:]))
