"""The command ``sb3-course``.

Commands import what they need when they run, so that help and mistakes answer at once.
"""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sb3_course.benchmark.errors import UserError

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

    from sb3_course.benchmark.grid import RunSpec
    from sb3_course.benchmark.run import RunResult

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
DEMO = Path(__file__).resolve().parents[1] / "benchmarks" / "demo.yaml"

app = typer.Typer(
    help="Policy gradients on Stable-Baselines3: train them, compare them, publish the comparison.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

GridFile = Annotated[Path, typer.Argument(metavar="GRID", help="A grid file (YAML).")]
Results = Annotated[
    Path, typer.Option("--results", metavar="DIR", help="Folder of all results; GRID gets its own.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Runs at a time [default: one a CPU]."),
]


@app.command()
def run(
    grid: GridFile,
    workers: Workers = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="KEY=VALUE", help="Runs with this algorithm, environment or seed."
        ),
    ] = None,
    results: Results = Path("results"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and whether they are done.")
    ] = False,
) -> int:
    """Run a grid: what is done stays done, what failed is tried again.

    For example:

    sb3-course run benchmarks/demo.yaml

    sb3-course run benchmarks/demo.yaml --workers 4 --only algorithm=A2C --only seed=0

    sb3-course run benchmarks/demo.yaml --dry-run
    """
    return _run(grid, workers, only or [], results, dry_run)


@app.command()
def demo(workers: Workers = None, results: Results = Path("results")) -> int:
    """Run the demonstration: six algorithms on two environments, in minutes.

    For example:

    sb3-course demo

    sb3-course demo --workers 2 --results my_results
    """
    if not DEMO.exists():
        raise typer.BadParameter(
            "the demonstration's grid is in a checkout of the project alone, as "
            "benchmarks/demo.yaml; give `sb3-course run` a copy of it"
        )
    return _run(DEMO, workers, [], results, dry_run=False)


@app.command()
def report(grid: GridFile, results: Results = Path("results")) -> int:
    """Write tables, figures and the page anew from the results there are.

    For example:

    sb3-course report benchmarks/demo.yaml

    sb3-course report benchmarks/demo.yaml --results my_results
    """
    from sb3_course.benchmark.grid import load_grid
    from sb3_course.benchmark.report import publish
    from sb3_course.benchmark.store import Store

    loaded = load_grid(grid)
    folder = results / loaded.name
    if not folder.is_dir():
        raise typer.BadParameter(f"no results in {folder}; `sb3-course run {grid}` makes them")
    _say(str(publish(loaded, Store(folder))))
    return OK


@app.command()
def train(
    algo: Annotated[str, typer.Argument(metavar="ALGO", help="REINFORCE, A2C, module:Class …")],
    env: Annotated[str, typer.Argument(metavar="ENV", help="A Gymnasium environment.")],
    params: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="KEY=VALUE", help="A hyper-parameter, in YAML."),
    ] = None,
    timesteps: Annotated[
        int, typer.Option(min=1, metavar="N", help="Environment steps.")
    ] = 100_000,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Seed of everything random.")] = 0,
    n_envs: Annotated[
        int, typer.Option("--n-envs", min=1, metavar="K", help="Environments in parallel.")
    ] = 8,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Normalise observations and rewards.")
    ] = False,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to save.")] = Path("model.zip"),
) -> int:
    """Train one algorithm on one environment and save it; Ctrl-C saves what has been learned.

    For example:

    sb3-course train REINFORCE CartPole-v1 --timesteps 100000 --out cartpole.zip

    sb3-course train NPG HalfCheetah-v4 --normalize --n-envs 16 -p target_kl=lin_0.05

    sb3-course train A2C CartPole-v1 -p learning_rate=1e-3 -p "policy_kwargs={net_arch: [32]}"
    """
    from sb3_course.benchmark.grid import check_environment

    arguments = _parameters(params or [])
    check_environment(env)
    from sb3_course import make_vec_env
    from sb3_course.benchmark.algorithms import constructor_arguments, find_algorithm

    arguments = constructor_arguments(algo, arguments)
    vec_env = make_vec_env(env, n_envs=n_envs, seed=seed, normalize=normalize, verbose=1)
    try:
        model = find_algorithm(algo)(env=vec_env, seed=seed, device="cpu", verbose=1, **arguments)
    except ValueError as error:
        raise UserError(str(error)) from error
    code = OK
    try:
        model.learn(timesteps, progress_bar=sys.stderr.isatty())
    except KeyboardInterrupt:
        _complain(f"interrupted after {model.num_timesteps:,} steps")
        code = INTERRUPTED
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)
    _say(f"saved {out}")
    return code


@app.command()
def enjoy(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A saved model.")],
    env: Annotated[str, typer.Argument(metavar="ENV", help="A Gymnasium environment.")],
    episodes: Annotated[int, typer.Option(min=1, metavar="N", help="How many episodes.")] = 5,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Seed of the episodes.")] = 0,
    algo: Annotated[
        str | None,
        typer.Option(metavar="ALGO", help="Class of a model that SB3 saved, without its name."),
    ] = None,
) -> int:
    """Play a saved model and print the return of each episode.

    For example:

    sb3-course enjoy cartpole.zip CartPole-v1

    sb3-course enjoy a2c.zip CartPole-v1 --algo A2C --episodes 20
    """
    if not model.exists():
        raise typer.BadParameter(f"{model} does not exist; give a file that `train` saved")
    from sb3_course.benchmark.grid import check_environment

    check_environment(env)
    from sb3_course.benchmark.evaluation import evaluate, evaluation_envs

    envs = evaluation_envs(env, episodes)
    returns, lengths = evaluate(_load(model, envs, algo), envs, seed)
    for i, (value, length) in enumerate(zip(returns, lengths, strict=True)):
        _say(f"episode {i + 1}: return {value:.1f} in {length} steps")
    _say(f"mean return {returns.mean():.1f} ± {returns.std():.1f}")
    return OK


@app.command()
def imitate(
    env: Annotated[str, typer.Argument(metavar="ENV", help="A Gymnasium environment.")],
    expert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A saved model, or a .pkl of CS285; else ours."),
    ] = None,
    demos: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="A .npz, .pkl of CS285, folder or minari:NAME; else the expert's."
        ),
    ] = None,
    dagger: Annotated[
        bool, typer.Option("--dagger", help="Go on with rounds of DAgger after cloning.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="How many rounds.")] = 6,
    no_collect: Annotated[
        bool,
        typer.Option("--no-collect", help="The control: the rounds of DAgger with no new data."),
    ] = False,
    video: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Record the policies side by side, as .mp4 or .gif."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Save the model here.")] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Seed of everything random.")] = 0,
    algo: Annotated[
        str | None,
        typer.Option(metavar="ALGO", help="Class of an expert that SB3 saved, without its name."),
    ] = None,
) -> int:
    """Imitate an expert: clone its behaviour, and go on with DAgger if asked to.

    The settings are those of CS285's first homework: in each round the policy takes 1,000 new
    steps, and 1,000 gradient steps of 100 transitions follow.

    For example:

    sb3-course imitate Walker2d-v4 --dagger

    sb3-course imitate Hopper-v4 --expert Hopper.pkl --demos expert_data_Hopper-v4.pkl --dagger

    sb3-course imitate Walker2d-v4 --dagger --no-collect --rounds 3

    sb3-course imitate CartPole-v1 --expert ppo.zip --algo PPO --video cartpole.gif
    """
    from sb3_course.benchmark.grid import check_environment

    check_environment(env)
    try:
        from sb3_course.imitation import command
    except ModuleNotFoundError:
        raise
    except ImportError as error:  # the extra is not installed; the message says which
        raise UserError(str(error)) from error
    going = dagger or no_collect
    options = command.Options(
        env, expert, demos, going, rounds, not no_collect, seed, algo, out, video
    )
    return OK if command.imitate(options, _say) else INTERRUPTED


def _run(path: Path, workers: int | None, only: Sequence[str], results: Path, dry_run: bool) -> int:
    started = time.time()
    from sb3_course.benchmark.grid import check_grid, load_grid

    grid = load_grid(path)
    check_grid(grid, path)
    from functools import partial

    from sb3_course.benchmark import backends, runner
    from sb3_course.benchmark.report import publish
    from sb3_course.benchmark.store import Store

    store = Store(results / grid.name)
    chosen = runner.select(grid.runs(), only)
    todo = runner.to_do(chosen, store)
    _say(f"{grid.name}: {len(chosen)} runs, {len(chosen) - len(todo)} done, {len(todo)} to do")
    if dry_run:
        _list(chosen, todo)
        return OK
    if not todo:
        _say(str(publish(grid, store)))
        return OK
    workers = min(workers or _cpus(), len(todo))
    backend = partial(backends.local_processes, workers=workers)
    try:
        landed = runner.run_all(todo, store, backend, Console(stderr=True))
    except KeyboardInterrupt:
        _complain("interrupted: finished runs are kept; the same command goes on from there")
        return INTERRUPTED
    finally:
        runner.write_manifest(grid, store.folder, _command(), workers, started)
    _say(str(publish(grid, store)))
    return _tell_failures([result for result in landed if result.failure is not None])


def _load(path: Path, envs: "VecEnv", algo: str | None) -> "BaseAlgorithm":
    if algo is not None:
        from sb3_course.benchmark.algorithms import find_algorithm

        return find_algorithm(algo).load(path, env=envs, device="cpu")
    from sb3_course import load

    try:
        return load(path, env=envs, normalize="freeze", device="cpu")
    except ValueError as error:
        raise typer.BadParameter(f"{error}; --algo names it, as in --algo A2C") from error


def _tell_failures(failures: Sequence["RunResult"]) -> int:
    if not failures:
        return OK
    table = Table("algorithm", "environment", "seed", "error", title="Failed runs")
    for result in failures:
        last = (result.failure or "").strip().splitlines()[-1]
        spec = result.spec
        table.add_row(spec.algorithm, spec.environment, str(spec.seed), last)
    Console(stderr=True).print(table)
    _complain(f"{len(failures)} runs failed; the report holds their tracebacks")
    return FAILED


def _list(chosen: Sequence["RunSpec"], todo: Sequence["RunSpec"]) -> None:
    waiting = {spec.id for spec in todo}
    for spec in chosen:
        state = "to do" if spec.id in waiting else "done "
        _say(f"{state}  {spec.label}, {spec.config.total_timesteps:,} steps")


def _parameters(items: Sequence[str]) -> dict[str, Any]:
    from sb3_course.benchmark.grid import read_yaml

    parameters = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"-p {item!r}: expected KEY=VALUE, as in learning_rate=1e-3")
        parameters[key] = read_yaml(value)
    return parameters


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _command() -> str:
    """Return the command that is running, with files outside this folder by name alone."""
    here = Path.cwd()
    words = []
    for word in sys.argv[1:]:
        path = Path(word)
        inside = path.is_absolute() and path.is_relative_to(here)
        short = str(path.relative_to(here)) if inside else path.name
        words.append(short if path.is_absolute() else word)
    return shlex.join(["sb3-course", *words])


def _say(line: str) -> None:
    print(line, flush=True)


def _complain(text: str) -> None:
    for line in text.splitlines():
        print(f"sb3-course: {line}", file=sys.stderr, flush=True)


def invoke(arguments: Sequence[str]) -> int:
    """Run the command line.

    :param arguments: its words
    :return: the exit code: 0 done, 1 something failed, 2 wrong arguments, 130 interrupted
    """
    try:
        code = app(list(arguments), prog_name="sb3-course", standalone_mode=False)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sb3_course"):
            raise
        _complain(f"{error.name} is not installed: pip install 'sb3-course[benchmark]'")
        return FAILED
    except UserError as error:
        _complain(str(error))
        return MISUSED
    except Exception as error:
        # Wrong arguments: an exception of Typer's own in some releases and of click in others.
        if not hasattr(error, "format_message"):
            raise
        _complain(error.format_message())  # empty where no argument at all brought up the help
        return MISUSED
    return code if isinstance(code, int) else OK


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(invoke(sys.argv[1:]))
