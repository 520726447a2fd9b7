"""The commands for the course: ``imitate`` and ``figures``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sb3_course.cli.parts.options import (
    EnvKwargs,
    Wrappers,
    environment,
    warn_of_normalization,
)
from sb3_course.cli.parts.terminal import (
    FAILED,
    INTERRUPTED,
    OK,
    another_place,
    print_error,
    print_line,
)
from sb3_course.common.errors import UserError
from sb3_course.envs.config import EnvConfig
from sb3_course.lectures import FIGURES, check_names


def figures(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help=f"Some of {', '.join(FIGURES)} (default: all)."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Use fewer seeds and sizes: all in under 5 minutes.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for figures, numbers and page.")
    ] = Path("results/figures"),
) -> int:
    """Measure the lectures' claims and draw figures of them; Ctrl-C keeps the finished ones.

    For example:

    sb3-course figures

    sb3-course figures natural_path kl_expansion --quick --out my_figures
    """
    chosen = check_names(names or [])
    from sb3_course.lectures.run import make_figures

    try:
        contradicted = make_figures(chosen, quick, out, Console(stderr=True))
    except KeyboardInterrupt:
        print_error(f"interrupted: finished figures are kept in {out}")
        return INTERRUPTED
    except FloatingPointError as error:
        print_error(str(error))
        return FAILED
    print_line(str(out / "report.html"))
    for name in contradicted:
        print_error(f"{name}: the claim does not hold in these numbers; the page shows this")
    return OK


def imitate(
    env: Annotated[str, typer.Argument(metavar="ENV", help="Gymnasium environment.")],
    env_kwargs: EnvKwargs = None,
    wrapper: Wrappers = None,
    expert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Saved model, or .pkl of CS285's homework (default: the project's own expert).",
        ),
    ] = None,
    demos: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Demonstrations: .npz, .pkl of CS285's homework, folder or minari:NAME "
            "(default: the expert demonstrates).",
        ),
    ] = None,
    dagger: Annotated[
        bool, typer.Option("--dagger", help="Continue with rounds of DAgger after cloning.")
    ] = False,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Number of rounds of DAgger (default: 6)."),
    ] = None,
    no_collect: Annotated[
        bool,
        typer.Option("--no-collect", help="Control experiment: rounds of DAgger without new data."),
    ] = False,
    video: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Record the policies side by side, as FILE.mp4."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Save the model here.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, metavar="S", help="Seed of all random numbers.")
    ] = 0,
    algo: Annotated[
        str | None,
        typer.Option(
            metavar="ALGO", help="Class of an expert that SB3 saved, whose file does not name it."
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Read pickles in the expert's file, which can do harm.")
    ] = False,
) -> int:
    """Imitate an expert: clone its behavior, and continue with DAgger on request.

    The settings are those of CS285's first homework: in each round the policy takes 1,000 new
    steps, and 1,000 gradient steps of 100 transitions follow.

    For example:

    sb3-course imitate Walker2d-v4 --dagger

    sb3-course imitate Hopper-v4 --expert Hopper.pkl --demos expert_data_Hopper-v4.pkl --dagger

    sb3-course imitate Walker2d-v4 --dagger --no-collect --rounds 3

    sb3-course imitate CartPole-v1 --expert ppo.zip --algo PPO --trust --video cartpole.mp4
    """
    from sb3_course.building import check_environment
    from sb3_course.common.checkpoint import existing

    check_environment(env)
    if rounds is not None and not (dagger or no_collect):
        raise UserError("--rounds requires --dagger or --no-collect")
    if expert is None and (algo is not None or trust):
        raise UserError(f"{'--trust' if algo is None else '--algo'} requires --expert")
    from sb3_course.imitation import command

    options = command.Options(
        env=environment(EnvConfig(env), env_kwargs, wrapper),
        expert=expert,
        demos=demos,
        dagger=dagger or no_collect,
        rounds=6 if rounds is None else rounds,
        collect=not no_collect,
        seed=seed,
        algo=algo,
        out=out,
        video=video,
        trust=trust,
    )
    if expert is not None and (file := existing(expert)).is_file() and file.suffix == ".zip":
        warn_of_normalization(file)
    try:
        return OK if command.imitate(options, print_line, another_place()) else INTERRUPTED
    except FloatingPointError as error:
        print_error(str(error))
        return FAILED
