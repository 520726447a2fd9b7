"""The commands for one model: ``train`` and ``enjoy``."""

import shlex
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sb3_course.cli.parts.options import (
    Algo,
    EnvKwargs,
    Model,
    Track,
    TrackVideo,
    Trust,
    Wrappers,
    environment,
    existing_model,
    parameters,
    warn_of_normalization,
    whole_number,
)
from sb3_course.cli.parts.terminal import (
    FAILED,
    INTERRUPTED,
    OK,
    another_place,
    print_error,
    print_line,
)
from sb3_course.common.files import beside
from sb3_course.common.numbers import readable
from sb3_course.common.tracking.tracker import check_trackers
from sb3_course.envs.backends import Backend
from sb3_course.envs.config import EnvConfig

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from sb3_course.stopping import Finish
    from sb3_course.training import Setup


def train(
    context: typer.Context,
    algo: Annotated[
        str | None,
        typer.Argument(metavar="ALGO", help="Algorithm: REINFORCE, A2C, module:Class, …"),
    ] = None,
    env: Annotated[str | None, typer.Argument(metavar="ENV", help="Gymnasium environment.")] = None,
    params: Annotated[
        list[str] | None,
        typer.Option(
            "-p", "--param", metavar="KEY=VALUE", help="Hyper-parameter, in YAML; repeatable."
        ),
    ] = None,
    env_kwargs: EnvKwargs = None,
    wrapper: Wrappers = None,
    timesteps: Annotated[
        int | None,
        typer.Option(
            parser=whole_number,
            metavar="N",
            help="Environment steps in all (default: 100,000, or those of --resume).",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, metavar="S", help="Seed of all random numbers.")
    ] = 0,
    n_envs: Annotated[
        int, typer.Option("--n-envs", min=1, metavar="K", help="Number of parallel environments.")
    ] = 8,
    backend: Annotated[
        Backend,
        typer.Option("--backend", help="Backend to step environments with; auto prefers EnvPool."),
    ] = "auto",
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Normalize observations and rewards.")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="cpu, cuda or auto (default: cpu, or --resume's)."),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Log to DIR/ENV for TensorBoard.")
    ] = None,
    track: Track = None,
    track_video: TrackVideo = False,
    tables: Annotated[
        bool, typer.Option("--tables", help="Print SB3's table after each batch as well.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to save to (default: model.zip, or --resume's)."),
    ] = None,
    save_every: Annotated[
        int | None,
        typer.Option(parser=whole_number, metavar="N", help="Save after every N steps as well."),
    ] = None,
    eval_every: Annotated[
        int | None,
        typer.Option(parser=whole_number, metavar="N", help="Evaluate after every N steps."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Continue the training run that was saved to FILE."),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Read pickles in FILE, which can do harm.")
    ] = False,
) -> int:
    """Train one algorithm on one environment and save the model, also after Ctrl-C and SIGTERM.

    For example:

    sb3-course train REINFORCE CartPole-v1 --timesteps 100000 --out cartpole.zip

    sb3-course train NPG HalfCheetah-v4 --normalize --n-envs 16 -p target_kl=lin_0.05

    sb3-course train A2C CartPole-v1 -p learning_rate=1e-3 -p "policy_kwargs={net_arch: [32]}"

    sb3-course train PPO Ant-v4 --env-kwargs use_contact_forces=true --wrapper my_module:MyWrapper

    sb3-course train PPO Hopper-v4 --tensorboard logs && tensorboard --logdir logs

    sb3-course train NPG Hopper-v4 --timesteps 1e6 --save-every 50000 --out hopper.zip

    sb3-course train --resume hopper.zip

    sb3-course train NPG Hopper-v4 --track wandb --track mlflow --track-video
    """
    from sb3_course import training
    from sb3_course.common import checkpoint
    from sb3_course.opening import not_finite
    from sb3_course.stopping import finishing

    if resume is None:
        if algo is None or env is None:
            raise typer.BadParameter("ALGO and ENV are needed, as in `train NPG CartPole-v1`")
        file = checkpoint.place_to_save("--out", out or Path("model.zip"))
        config = environment(EnvConfig(env), env_kwargs, wrapper)
        if track_video and not track:
            raise typer.BadParameter("--track-video requires --track")
        check_trackers(track or ())
        setup = training.Setup(
            algo,
            config,
            n_envs,
            seed,
            backend,
            timesteps or 100_000,
            save_every,
            eval_every,
            track or (),
            track_video,
            training.new_run_id(algo, config, seed) if track else None,
            "cpu" if device is None else device,
        )
        given = parameters("-p", params or [], "learning_rate=1e-3")
        model = training.start(setup, given, normalize, tensorboard)
    else:
        changeable = {"timesteps", "device", "out", "save_every", "eval_every"}
        with_resume = changeable | {"resume", "trust", "tables"}
        others = [
            parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[-1]
            for parameter in context.command.params
            if parameter.name not in with_resume
            and str(context.get_parameter_source(parameter.name or "")).endswith("COMMANDLINE")
        ]
        if others:
            raise typer.BadParameter(
                f"--resume goes on as FILE was started: leave out {', '.join(map(str, others))}"
            )
        resume = checkpoint.existing(resume)
        model, setup = training.resume(resume, trust, print_error, device)
        file = checkpoint.place_to_save("--out" if out else "--resume", out or resume)
        setup = replace(
            setup,
            timesteps=timesteps or setup.timesteps,
            save_every=save_every or setup.save_every,
            eval_every=eval_every or setup.eval_every,
        )
        if model.num_timesteps >= setup.timesteps:
            raise typer.BadParameter(
                f"{resume} has {model.num_timesteps:,} of {setup.timesteps:,} steps: nothing is "
                f"left to do; allowed: --timesteps above {model.num_timesteps:,}, the steps in all"
            )
        print_line(f"going on at {model.num_timesteps:,} of {setup.timesteps:,} steps")
    begun = model.num_timesteps
    is_own = resume is not None and file.exists() and file.samefile(resume)
    meanwhile = beside(file) if file.exists() and not is_own else file  # until it has ended
    with finishing(print_line) as finish:
        code = _learn(model, setup, meanwhile, tables, finish)
        if code != OK and model.num_timesteps == begun:
            print_line("nothing is saved: no step was made")
            return code
        if code != OK and meanwhile != file:
            print_line(f"{file} stays: it is of another training, and this one has not ended")
            file = meanwhile
        wanted, file = file, training.save(model, file, print_error, another_place())
        if file == wanted != meanwhile:  # elsewhere, the last save is worth keeping
            meanwhile.unlink(missing_ok=True)
    code = 128 + finish.number if code == OK and finish.number else code
    option = ["--algo", setup.algo] if ":" in setup.algo else []  # a file names the class alone
    command = shlex.join(["sb3-course", "enjoy", str(file), *option])
    can_act = not_finite(model) is None
    print_line(f"saved {file}" + (f"; to watch it: {command}" if can_act else ""))
    if code not in (OK, FAILED):
        print_line(f"to go on: {shlex.join(['sb3-course', 'train', '--resume', str(file)])}")
    return code


def enjoy(
    model: Model,
    env: Annotated[
        str | None,
        typer.Argument(
            metavar="ENV",
            help="Gymnasium environment (default: the model's own, with its settings).",
        ),
    ] = None,
    env_kwargs: EnvKwargs = None,
    wrapper: Wrappers = None,
    episodes: Annotated[int, typer.Option(min=1, metavar="N", help="Number of episodes.")] = 5,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, metavar="S", help="Seed of the first episode.")
    ] = 0,
    video: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record the episodes, as FILE.mp4.")
    ] = None,
    render: Annotated[
        bool, typer.Option("--render", help="Show the episodes in a window.")
    ] = False,
    algo: Algo = None,
    trust: Trust = False,
) -> int:
    """Play a saved model and print the return of each episode.

    A model file can contain pickled Python, which can do anything that you can. Of a file that you
    did not write on this machine only what is harmless is read, unless you add --trust.

    For example:

    sb3-course enjoy cartpole.zip

    sb3-course enjoy cheetah.zip --episodes 3 --video cheetah.mp4

    sb3-course enjoy saved_by_sb3.zip CartPole-v1 --algo A2C --trust --episodes 20
    """
    import numpy as np

    file = existing_model(model)
    if video is not None and render:
        raise typer.BadParameter("--video and --render exclude each other")
    from sb3_course.opening import environment_of
    from sb3_course.playing import play

    warn_of_normalization(file)
    given: EnvConfig | str | None = env
    if env_kwargs or wrapper:
        given = environment(environment_of(file, env, trust), env_kwargs, wrapper)
    returns = []
    for total, length in play(file, given, episodes, seed, video, render, algo, trust):
        returns.append(total)
        print_line(f"episode {len(returns)}: return {readable(total)[0]} in {length:,} steps")
    mean_and_std = readable(float(np.mean(returns)), float(np.std(returns)))
    print_line(f"mean return {' ± '.join(mean_and_std)}")
    if video is not None:
        print_line(f"saved {video}")
    return OK


def _learn(
    model: "BaseAlgorithm",
    setup: "Setup",
    file: Path,
    tables: bool,
    finish: "Finish",
) -> int:
    """Train, and return an exit code whatever stops training, so that the model can be saved."""
    from sb3_course import training
    from sb3_course.cli.parts.training_progress import TrainingProgress
    from sb3_course.common.errors import in_words, of_sb3

    begun = model.num_timesteps
    try:
        shown = TrainingProgress(setup.timesteps, Console(stderr=True))
        with shown.live():
            training.train(model, setup, file, print_line, [shown], tables, finish)
    except KeyboardInterrupt as stopped:
        print_error(f"interrupted after {model.num_timesteps:,} steps")
        number = stopped.args[0] if stopped.args else None
        return 128 + number if isinstance(number, int) else INTERRUPTED
    except FloatingPointError as error:
        print_error(f"stopped after {model.num_timesteps:,} steps: {error}")
        return FAILED
    except (Exception, SystemExit) as error:  # by SystemExit pygame leaves with its window
        if model.num_timesteps == begun and of_sb3(error):
            print_error(f"{setup.algo} refuses it: {in_words(error)}")
            return FAILED
        traceback.print_exc()
        print_error(f"stopped after {model.num_timesteps:,} steps by the error above")
        return FAILED
    return OK
