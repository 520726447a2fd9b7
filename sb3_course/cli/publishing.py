"""The commands that hand a model to other programs and other people: ``export`` and ``card``."""

from pathlib import Path
from typing import Annotated

import typer

from sb3_course.cli.parts.options import Algo, Model, Trust, existing_model, warn_of_normalization
from sb3_course.cli.parts.terminal import OK, print_line
from sb3_course.common.files import check_can_write, check_not_read


def export(
    model: Model,
    out: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="File to write (default: beside MODEL)."),
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write an ONNX file, OUT.onnx.")] = False,
    torchscript: Annotated[
        bool, typer.Option("--torchscript", help="Write a file for torch.jit.load, OUT.pt.")
    ] = False,
    algo: Algo = None,
    trust: Trust = False,
) -> int:
    """Export a model's deterministic policy to a file that runs without this package.

    The input is the environment's raw observation, whose normalization is inside; the output is
    the action for the environment, clipped to its bounds. The file is compared with the model
    before it is written.

    For example:

    sb3-course export cheetah.zip --onnx

    sb3-course export cheetah.zip --torchscript robot/policy.pt
    """
    from sb3_course.publishing import export as exporting
    from sb3_course.publishing.exported import Format

    if onnx == torchscript:
        given = "both" if onnx else "none"
        raise typer.BadParameter(f"{given} given; allowed: one of --onnx and --torchscript")
    file = existing_model(model)
    form: Format = "onnx" if onnx else "torchscript"
    suffix = exporting.SUFFIXES[form]
    to = file.with_suffix(suffix) if out is None else out
    if out is not None and (out.is_dir() or not out.name):
        raise typer.BadParameter(f"OUT: {str(out)!r} is a folder; allowed: a file {suffix}")
    if not to.suffix:
        to = to.with_suffix(suffix)
    if to.suffix != suffix:
        raise typer.BadParameter(f"OUT: given {to}; allowed with --{form}: a file {suffix}")
    check_not_read("OUT", to, [file])
    check_can_write("OUT", to)
    exporting.require(form)
    warn_of_normalization(file)
    written = exporting.export_file(file, to, form, algo, trust)
    print_line(
        f"saved {written.path} ({written.size:,} bytes); on {exporting.N_CHECKED} observations its "
        f"actions differ from the model's by at most {written.difference:.1g}"
    )
    return OK


def card(
    model: Model,
    env: Annotated[
        str | None,
        typer.Argument(metavar="ENV", help="Gymnasium environment (default: the model's own)."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="New folder (default: beside MODEL, by its name)."),
    ] = None,
    episodes: Annotated[
        int,
        typer.Option(min=2, max=1_000, metavar="N", help="Number of episodes of the evaluation."),
    ] = 100,
    push: Annotated[
        str | None,
        typer.Option(metavar="REPO", help="Upload to the Hugging Face Hub, as USER/MODEL."),
    ] = None,
    algo: Algo = None,
    trust: Trust = False,
) -> int:
    """Make a folder with a model, its card, its evaluation, a video and its configuration.

    The card is the README.md that the Hugging Face Hub shows and reads. --push uploads the folder,
    and needs a login: `hf auth login`, or the variable HF_TOKEN.

    For example:

    sb3-course card cheetah.zip

    sb3-course card cheetah.zip --out my_card --episodes 20 --push me/npg-cheetah
    """
    from sb3_course.publishing import hub
    from sb3_course.publishing.card import Options, make_card

    file = existing_model(model)
    folder = out or file.with_suffix("")
    repo = None if push is None else hub.repository(push)
    warn_of_normalization(file)
    make_card(Options(file, folder, env, episodes, algo, trust, repo), print_line)
    print_line(f"saved {folder}")
    if repo is not None:
        print_line(f"uploaded to {hub.push(folder, repo)}")
    return OK
