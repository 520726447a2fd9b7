"""The command ``sb3-course``.

Commands import what they need when they run, so that help and mistakes answer at once.
"""

import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from statistics import mean, pstdev
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sb3_course.benchmark.errors import UserError
from sb3_course.figures import FIGURES, check_names

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from sb3_course.benchmark.backends import LocalProcesses, RayCluster
    from sb3_course.benchmark.grid import Grid, RunSpec
    from sb3_course.benchmark.result import RunResult
    from sb3_course.benchmark.store import Store

OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
DEMO = Path(__file__).resolve().parents[1] / "benchmarks" / "demo.yaml"


class Where(str, Enum):
    """Where the runs of a grid execute."""

    local = "local"
    ray = "ray"


@dataclass(frozen=True)
class Engine:
    """How the runs of a grid execute, as the options of ``run`` say it."""

    where: Where = Where.local
    workers: int | None = None
    address: str | None = None
    retries: int = 1
    tensorboard: Path | None = None


app = typer.Typer(
    help="""Policy gradients on Stable-Baselines3: train them, compare them, publish the comparison.

    For example:

    sb3-course demo

    sb3-course train NPG CartPole-v1 --out npg.zip

    sb3-course enjoy npg.zip --video npg.mp4""",
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
    typer.Option("--workers", min=1, metavar="N", help="Runs at a time (default: one a CPU)."),
]


class Backend(str, Enum):
    """What steps the environments; see :func:`sb3_course.make_vec_env`."""

    auto = "auto"
    envpool = "envpool"
    dummy = "dummy"
    subproc = "subproc"


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
    backend: Annotated[
        Where, typer.Option(help="Where runs execute: processes of this machine, or Ray.")
    ] = Where.local,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A running Ray cluster, as in 10.0.0.1:6379, or auto [default: start one here].",
        ),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            "--retries", min=0, metavar="N", help="How often a run whose process died is retried."
        ),
    ] = 1,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Let SB3's logger write TensorBoard files there."),
    ] = None,
    store: Annotated[
        bool,
        typer.Option("--store", help="Run anew what is done as well, and replace what is stored."),
    ] = False,
) -> int:
    """Run a grid: what is done stays done, what failed is tried again.

    Several of these may work on one grid at once, on machines that share a folder too: each run is
    done by one of them.

    With --store everything is run anew (or what --only says), and what is stored is replaced on
    purpose, once all of it has finished; until then it stays as it is, and after an interrupt the
    same command goes on.

    For example:

    sb3-course run benchmarks/demo.yaml

    sb3-course run benchmarks/demo.yaml --workers 4 --only algorithm=A2C --only seed=0

    sb3-course run benchmarks/demo.yaml --dry-run

    sb3-course run benchmarks/demo.yaml --backend ray --address auto

    sb3-course run benchmarks/regression/cartpole.yaml --store
    """
    if address is not None and backend is not Where.ray:
        raise typer.BadParameter("--address is for --backend ray")
    engine = Engine(backend, workers, address, retries, tensorboard)
    return _run(grid, engine, only or [], results, dry_run, store)


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
    return _run(DEMO, Engine(workers=workers), [], results, dry_run=False)


@app.command()
def status(grid: GridFile, results: Results = Path("results")) -> int:
    """Show how far a grid is: what is done, running, failed and missing, and when it will end.

    The exit code is 1 if a run failed, else 0.

    For example:

    sb3-course status benchmarks/demo.yaml

    watch -n 10 sb3-course status benchmarks/demo.yaml --results my_results
    """
    from sb3_course.benchmark.grid import load_grid
    from sb3_course.benchmark.status import read_status, show

    loaded = load_grid(grid)
    found = read_status(loaded.runs(), results / loaded.name)
    show(found, Console() if sys.stdout.isatty() else Console(width=1000))
    return FAILED if found.failures else OK


@app.command()
def report(grid: GridFile, results: Results = Path("results")) -> int:
    """Write tables, figures and the page anew from the results there are.

    Beside them, zoo/ holds the returns in RL Zoo's layout, for rl_zoo3's plot scripts.

    For example:

    sb3-course report benchmarks/demo.yaml

    sb3-course report benchmarks/demo.yaml --results my_results
    """
    from sb3_course.benchmark.grid import load_grid
    from sb3_course.benchmark.store import Store

    loaded = load_grid(grid)
    folder = results / loaded.name
    if not folder.is_dir():
        raise typer.BadParameter(f"no results in {folder}; `sb3-course run {grid}` makes them")
    _say(str(_publish(loaded, Store(folder))))
    return OK


@app.command()
def regression(
    grid: GridFile,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, metavar="K", help="How many stored seeds to train.")
    ] = 3,
    workers: Workers = None,
    results: Results = Path("results"),
) -> int:
    """Train the first stored seeds of a grid anew, and compare: does the code still learn as well?

    Where versions and processor are those of the stored runs, every return has to be the same.
    Elsewhere the mean of the new runs has to fall into the band that the stored ones give, 10 at
    least; it does in all but about 1 of 1,000 rounds if nothing has changed. What is stored stays
    as it is; `run GRID --store` renews it. The exit code is 1 if a verdict is bad, else 0.

    For example:

    sb3-course regression benchmarks/regression/mujoco.yaml

    sb3-course regression benchmarks/regression/cartpole.yaml --seeds 10 --workers 2
    """
    return _regression(grid, seeds, workers, results)


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
    backend: Annotated[
        Backend, typer.Option("--backend", help="What steps them; auto is EnvPool where it can.")
    ] = Backend.auto,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Normalise observations and rewards.")
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Log to DIR/ENV for TensorBoard.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to save.")] = Path("model.zip"),
) -> int:
    """Train one algorithm on one environment and save it; Ctrl-C saves what has been learned.

    For example:

    sb3-course train REINFORCE CartPole-v1 --timesteps 100000 --out cartpole.zip

    sb3-course train NPG HalfCheetah-v4 --normalize --n-envs 16 -p target_kl=lin_0.05

    sb3-course train A2C CartPole-v1 -p learning_rate=1e-3 -p "policy_kwargs={net_arch: [32]}"

    sb3-course train PPO Hopper-v4 --tensorboard logs && tensorboard --logdir logs
    """
    from sb3_course.benchmark import single

    arguments = _parameters(params or [])
    logs = None if tensorboard is None else single.place_to_log(tensorboard, env)
    model = single.build(
        algo, arguments, env, n_envs, seed, backend.value, normalize, tensorboard=logs
    )
    file = single.place_to_save(out)
    code = _learn(model, timesteps)
    single.save(model, file)
    own = ["--algo", algo] if ":" in algo else []  # a file names its class without the module
    _say(f"saved {file}; to watch it: {shlex.join(['sb3-course', 'enjoy', str(file), *own])}")
    return code


@app.command()
def enjoy(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A saved model.")],
    env: Annotated[
        str | None,
        typer.Argument(metavar="ENV", help="A Gymnasium environment, if not the model's own."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, metavar="N", help="How many episodes.")] = 5,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Seed of the first episode.")] = 0,
    video: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Film the episodes, as FILE.mp4.")
    ] = None,
    render: Annotated[bool, typer.Option("--render", help="Show them in a window.")] = False,
    algo: Annotated[
        str | None,
        typer.Option(
            metavar="ALGO",
            help="Class of a model that SB3 itself saved; its file holds no normalisation.",
        ),
    ] = None,
) -> int:
    """Play a saved model and print the return of each episode.

    A model's file may hold pickled Python, as SB3 saves it: open those of people you trust.

    For example:

    sb3-course enjoy cartpole.zip

    sb3-course enjoy cheetah.zip --episodes 3 --video cheetah.mp4

    sb3-course enjoy saved_by_sb3.zip CartPole-v1 --algo A2C --episodes 20
    """
    file = model if model.suffix else model.with_suffix(".zip")
    if not file.is_file():
        raise typer.BadParameter(f"{file} does not exist; give a file that `train` saved")
    if video is not None and render:
        raise typer.BadParameter("--video and --render exclude each other")
    from sb3_course.benchmark import single

    returns = []
    for value, length in single.play(file, env, episodes, seed, video, render, algo):
        returns.append(value)
        _say(f"episode {len(returns)}: return {value:,.1f} in {length:,} steps")
    _say(f"mean return {mean(returns):,.1f} ± {pstdev(returns):,.1f}")
    if video is not None:
        _say(f"saved {video}")
    return OK


@app.command()
def figures(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help=f"All, or some of: {', '.join(FIGURES)}."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer seeds and sizes: all in under 5 minutes.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of figures, numbers and page.")
    ] = Path("results/figures"),
) -> int:
    """Make figures of the lectures' claims; Ctrl-C keeps the finished ones.

    For example:

    sb3-course figures

    sb3-course figures natural_path kl_expansion --quick

    sb3-course figures --quick --out my_figures
    """
    chosen = check_names(names or [])
    from sb3_course.figures.run import make_figures

    try:
        doubtful = make_figures(chosen, quick, out, Console(stderr=True))
    except KeyboardInterrupt:
        _complain(f"interrupted: finished figures are kept in {out}")
        return INTERRUPTED
    except FloatingPointError as error:
        _complain(str(error))
        return FAILED
    _say(str(out / "report.html"))
    for name in doubtful:
        _complain(f"{name}: the claim does not hold in these numbers; the page says so")
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
        typer.Option(metavar="FILE", help="Record the policies side by side, as .mp4."),
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

    sb3-course imitate CartPole-v1 --expert ppo.zip --algo PPO --video cartpole.mp4
    """
    from sb3_course.benchmark.checks import check_environment

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


def _run(
    path: Path,
    engine: Engine,
    only: Sequence[str],
    results: Path,
    dry_run: bool,
    renew: bool = False,
) -> int:
    started = time.time()
    from sb3_course.benchmark.checks import checked_grid

    grid = checked_grid(path)
    from sb3_course.benchmark import renewal, runner
    from sb3_course.benchmark.rehearsal import rehearse
    from sb3_course.benchmark.store import Store

    kept = Store(results / grid.name)
    store = renewal.staging(kept) if renew else kept
    chosen = runner.select(grid.runs(), only)
    todo = runner.to_do(chosen, store)
    if todo:
        rehearse(todo, path)
    what = "runs to renew" if renew else "runs"
    _say(f"{grid.name}: {len(chosen)} {what}, {len(chosen) - len(todo)} done, {len(todo)} to do")
    if dry_run:
        _list(chosen, todo)
        return OK
    if renew and "-dirty" in store.folder.name:
        _complain("files differ from the last commit, which the stored runs will name as -dirty")
    if todo and not _work(grid, engine, store, todo, started):
        return INTERRUPTED
    failures = store.failures(chosen)
    if renew and failures:
        _complain(f"what is stored in {kept.folder} stays as it is: the same command goes on")
        return _tell_failures(failures)
    if renew:
        renewal.replace(kept, store, chosen, whole=not only)
    page = kept.folder / "report.html"
    up_to_date = not (todo or renew) and kept.older_than(page) and runner.is_of(grid, kept.folder)
    _say(str(page if up_to_date else _publish(grid, kept)))
    return _tell_failures(failures)


def _work(
    grid: "Grid", engine: Engine, store: "Store", todo: Sequence["RunSpec"], started: float
) -> bool:
    """Do runs, and say whether nobody interrupted them."""
    from sb3_course.benchmark import runner

    backend = _backend(engine, grid, store, len(todo))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does
    try:
        runner.run_all(todo, store, backend, Console(stderr=True), engine.retries)
    except KeyboardInterrupt:
        _complain("interrupted: finished runs are kept; the same command goes on from there")
        return False
    finally:
        if store.finished() or store.failed():
            runner.write_manifest(grid, store.folder, _command(), backend.workers, started)
    return True


def _regression(path: Path, seeds: int, workers: int | None, results: Path) -> int:
    from sb3_course.benchmark.checks import checked_grid

    grid = checked_grid(path)
    from sb3_course.benchmark import regression, runner
    from sb3_course.benchmark.store import Store

    stored = regression.stored_tasks(grid, Store(results / grid.name), seeds)
    specs = [result.spec for runs in stored.values() for result in runs[:seeds]]
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        backend = _backend(Engine(workers=workers), grid, store, len(specs))
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does
        try:
            runner.run_all(runner.to_do(specs, store), store, backend, Console(stderr=True))
        except KeyboardInterrupt:
            _complain("interrupted: nothing is kept of new runs, what is stored is as it was")
            return INTERRUPTED
        new = regression.by_task(store.read(specs))
    compared = [regression.compare(stored[task], new[task], len(stored)) for task in stored]
    terminal = sys.stdout.isatty()
    (Console() if terminal else Console(width=1000)).print(regression.table(compared, terminal))
    bad = [str(comparison) for comparison in compared if not comparison.verdict.good]
    for line in bad:
        _complain(line)
    return FAILED if bad else OK


def _backend(
    engine: Engine, grid: "Grid", store: "Store", todo: int
) -> "LocalProcesses | RayCluster":
    from sb3_course.benchmark import backends
    from sb3_course.benchmark.heartbeat import logs_folder
    from sb3_course.benchmark.provenance import memory_gib
    from sb3_course.benchmark.worker import Conditions

    tensorboard = engine.tensorboard and engine.tensorboard.resolve()
    logs = logs_folder(store.folder).resolve()
    if engine.where is Where.ray:
        conditions = Conditions(logs, grid.time_limit, grid.memory_limit, tensorboard)
        return backends.RayCluster(engine.workers, conditions, engine.address)
    workers = min(engine.workers or _cpus(), todo)
    memory = memory_gib()
    share = None if memory is None else max(memory / workers, 2.0)
    conditions = Conditions(logs, grid.time_limit, grid.memory_limit or share, tensorboard)
    return backends.LocalProcesses(workers, conditions)


def _publish(grid: "Grid", store: "Store") -> Path:
    """Write everything that is derived from the results."""
    from sb3_course.benchmark.report import publish
    from sb3_course.benchmark.zoo import write_zoo

    page = publish(grid, store)
    write_zoo(store.read(grid.runs()), store.folder / "zoo")
    return page


def _learn(model: "BaseAlgorithm", timesteps: int) -> int:
    """Train; whatever stops it, what has been learned until then can be saved."""
    try:
        model.learn(timesteps, progress_bar=sys.stderr.isatty())
    except KeyboardInterrupt:
        _complain(f"interrupted after {model.num_timesteps:,} steps")
        return INTERRUPTED
    except FloatingPointError as error:
        _complain(f"stopped after {model.num_timesteps:,} steps: {error}")
        return FAILED
    except Exception:
        traceback.print_exc()
        _complain(f"stopped after {model.num_timesteps:,} steps by the error above")
        return FAILED
    return OK


def _tell_failures(failures: Sequence["RunResult"]) -> int:
    if not failures:
        return OK
    table = Table("algorithm", "environment", "seed", "error", title="Failed runs")
    for result in failures:
        spec = result.spec
        cells = (spec.algorithm, spec.environment, str(spec.seed), result.reason)
        table.add_row(*map(Text, cells))  # no markup: brackets are brackets
    Console(stderr=True).print(table)
    _complain(f"{len(failures)} runs failed; the report holds their tracebacks")
    return FAILED


def _list(chosen: Sequence["RunSpec"], todo: Sequence["RunSpec"]) -> None:
    waiting = {spec.id for spec in todo}
    for spec in chosen:
        state = "to do" if spec.id in waiting else "done "
        _say(f"{state}  {spec.label}, {spec.config.total_timesteps:,} steps")


def _parameters(items: Sequence[str]) -> dict[str, Any]:
    from yaml import YAMLError

    from sb3_course.benchmark.source import read_yaml

    parameters = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"-p {item!r}: expected KEY=VALUE, as in learning_rate=1e-3")
        try:
            parameters[key] = read_yaml(value)
        except YAMLError as error:
            raise typer.BadParameter(f"-p {item!r}: not valid YAML: {value!r}") from error
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
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.filename is None:
            raise
        _complain(f"{error.filename}: {error.strerror}")  # such as a folder of somebody else
        return FAILED
    except Exception as error:
        # Exceptions of Typer's own in some releases and of click in others.
        if type(error).__name__ == "Abort":  # by Ctrl-C
            return INTERRUPTED
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()  # empty where no argument at all brought up the help
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if message and context else ""
        _complain(message.rstrip(".") + hint)
        return MISUSED
    return code if isinstance(code, int) else OK


def main() -> None:
    """Run the command line and exit with its code."""
    # As `python -m` does, but last: a grid's module:Class may be in this folder.
    sys.path.append(str(Path.cwd()))
    sys.exit(invoke(sys.argv[1:]))
