"""Compare BC and DAgger on four tasks: runs, tables, figures, videos and a report page.

The study is defined in ``imitation.yaml``. Each finished run is stored and not repeated, so the
same command continues after an interruption. It always writes the whole report from the stored
runs. Once every run has finished, their files become one, ``runs.jsonl``.

    python scripts/imitate.py
    python scripts/imitate.py --cs285 DIR    # with the homework's files in DIR
    python scripts/imitate.py --report       # only write the report
"""

import base64
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch as th
import typer
from matplotlib.axes import Axes

from sb3_course.benchmark.reporting.content import NOTHING, Cell, Picture, Table
from sb3_course.benchmark.reporting.drawing import figures, plots
from sb3_course.benchmark.reporting.drawing.figures import Panel
from sb3_course.benchmark.reporting.drawing.files import INK, save
from sb3_course.benchmark.reporting.drawing.styles import Styles, styles
from sb3_course.benchmark.reporting.numbers import span
from sb3_course.benchmark.reporting.page.templates import render
from sb3_course.common.evaluation import evaluation_envs
from sb3_course.common.files import write_whole
from sb3_course.common.tracking.code import versions
from sb3_course.common.video import record
from sb3_course.common.yaml_values import read_yaml
from sb3_course.homework import imitation_runs
from sb3_course.homework.imitation_runs import Teacher, mean_return, run_files, train
from sb3_course.imitation import as_expert, demonstrate, load_demonstrations, load_expert
from sb3_course.registry import constructor_arguments

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
N_DEMONSTRATED = 2
TITLES = {
    "homework": "With the homework's files",
    "ours": "With our own experts",
    "batch size": "Batch size of BC",
}


@dataclass(frozen=True)
class Run:
    """One run of the study: a part, an environment, a method and a seed."""

    part: str
    environment: str
    method: str
    seed: int
    rounds: int
    episodes: int
    files: bool
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the run's file, without its suffix."""
        words = f"{self.part} {self.environment} {self.method} seed{self.seed}".lower()
        return words.replace(",", "").replace(" ", "_")


def runs_of(study: dict[str, Any], with_files: bool) -> Iterator[Run]:
    """Yield all runs of the study, part by part."""
    for name, part in study["parts"].items():
        files = part["experts"] == "files"
        if files and not with_files:
            continue
        for environment, (method, settings), seed in itertools.product(
            part["environments"], part["methods"].items(), range(study["seeds"])
        ):
            yield Run(
                name,
                environment,
                method,
                seed,
                part.get("rounds", study["rounds"]),
                study["eval_episodes"],
                files,
                study["settings"] | settings,
            )


@cache
def teacher(environment: str, files: Path | None) -> Teacher:
    """Return an expert, its demonstrations and its mean return over ten episodes."""
    stem = environment.partition("-")[0]
    if files is None:
        expert = load_expert(RESULTS / "experts" / f"{environment}.zip")
        demonstrations = demonstrate(expert, evaluation_envs(environment, 2), N_DEMONSTRATED, 0)
    else:
        expert = load_expert(files / f"{stem}.pkl")
        demonstrations = load_demonstrations(files / f"expert_data_{environment}.pkl")
    return Teacher(expert, demonstrations, mean_return(expert, environment, 10))


def teacher_of(run: Run, files: Path | None) -> Teacher:
    """Return the expert of a run."""
    return teacher(run.environment, files if run.files else None)


def arguments(run: Run) -> dict[str, Any]:
    """Return the constructor's arguments of a run."""
    return constructor_arguments("sb3_course:DAgger", run.settings)


def execute(run: Run, files: Path | None, out: Path) -> str:
    """Train one model, store its rounds, and return a line that describes them."""
    th.set_num_threads(1)
    stored = run_files(out, Run)
    rounds = imitation_runs.execute(run, teacher_of(run, files), arguments(run), stored)
    last = rounds[-1]["eval/mean_reward"]
    return f"{run.name}: {last:,.0f} after {len(rounds) - 1} rounds"


def table_of(out: Path) -> pd.DataFrame:
    """Read the stored runs into one table with one row per round."""
    rows = []
    files = run_files(out, Run)
    stored = files.read(files.names())
    for name in sorted(stored):
        facts = json.loads(stored[name].text)
        rows += [
            {
                **{key: facts["run"][key] for key in ("part", "environment", "method", "seed")},
                "expert": facts["expert_return"],
                "round": int(measured["dagger/round"]),
                **{
                    key.replace("/", "_"): measured.get(key, float("nan"))
                    for key in (
                        "eval/mean_reward",
                        "eval/std_reward",
                        "eval/min_reward",
                        "eval/max_reward",
                        "eval/mean_ep_length",
                        "rollout/ep_rew_mean",
                        "dagger/expert_action_loss",
                        "dagger/env_steps",
                        "dagger/expert_queries",
                    )
                },
            }
            for measured in facts["rounds"]
        ]
    return pd.DataFrame(rows)


def rounds_panel(table: pd.DataFrame, look: Styles, notes: dict[str, Any]) -> Panel:
    """Return a panel of one environment: mean returns by round and their range over seeds."""
    environment = table["environment"].iloc[0]

    def draw(axes: Axes) -> None:
        for method, style in look.items():
            by_round = table[table["method"] == method].groupby("round")["eval_mean_reward"]
            mean = by_round.mean()
            (line,) = axes.plot(mean, marker="o", markersize=3, color=style.color)
            line.set_dashes(style.dash or (1, 0))
            axes.fill_between(
                mean.index, by_round.min(), by_round.max(), alpha=0.12, color=style.color
            )
        plots.references(axes, {"expert": table["expert"].iloc[0]})
        for name, marker, first in (("BC", "s", 0), ("DAgger", "*", 1)):
            given = notes.get(name, {}).get(environment, [])
            axes.scatter(
                range(first, first + len(given)), given, marker=marker, color=INK, zorder=4
            )
        plots.nice_ticks(axes)

    return Panel(environment, draw, "Round (0 is BC)", "Return", 2.2, ["expert"])


def batch_sizes_panel(table: pd.DataFrame) -> Panel:
    """Return a panel of BC's return by batch size, with one point per seed."""

    def draw(axes: Axes) -> None:
        sizes = table["method"].astype(int)
        axes.scatter(sizes, table["eval_mean_reward"], s=12, alpha=0.6)
        axes.plot(table.groupby(sizes)["eval_mean_reward"].mean(), color=INK)
        plots.nice_ticks(axes)
        axes.set_xscale("log")

    title = table["environment"].iloc[0]
    return Panel(title, draw, "Transitions of a gradient step", "Return of BC", 2.2)


def picture_of(part: str, table: pd.DataFrame, study: dict[str, Any]) -> Picture:
    """Make the figure of one part."""
    settings, look = study["parts"][part], {}
    by_environment = [rows for _, rows in table.groupby("environment", sort=False)]
    if part == "batch size":
        panels = [batch_sizes_panel(rows) for rows in by_environment]
        caption = "Return of BC by batch size: a point for each seed, and their mean."
    else:
        look = styles([m for m in settings["methods"] if m in set(table["method"])])
        notes = study["notes"] if settings["experts"] == "files" else {}
        panels = [rounds_panel(rows, look, notes) for rows in by_environment]
        caption = "Mean return by round; shaded is the range over seeds."
        caption += " Squares: BC in the notes; stars: DAgger in the notes." if notes else ""
    return Picture(
        part.replace(" ", "_"),
        f"{TITLES[part]}, one panel per environment; the tables below contain the numbers.",
        caption,
        figures.together(panels, look),
        panels,
        look,
    )


def by_plan(table: pd.DataFrame, study: dict[str, Any]) -> pd.DataFrame:
    """Sort a table's rows in the study's order of parts, environments and methods."""
    plan = [(r.part, r.environment, r.method, r.seed) for r in runs_of(study, True)]
    place = {key: number for number, key in enumerate(plan)}
    keys = table[["part", "environment", "method", "seed"]].apply(tuple, axis=1).map(place)
    order = keys.sort_values(kind="stable").index
    return table.loc[order].reset_index(drop=True)


def tables_of(table: pd.DataFrame) -> list[Table]:
    """Make tables of means and standard deviations over seeds, one for each environment."""
    found = []
    for environment, rows in table.groupby("environment", sort=False):
        by_cell = rows.groupby(["method", "round"], sort=False)["eval_mean_reward"]
        cells = {
            key: Cell(f"{runs.mean():,.0f}", "" if len(runs) < 2 else f"± {runs.std():,.0f}")
            for key, runs in by_cell
        }
        methods, rounds = rows["method"].unique(), sorted(rows["round"].unique())
        expert = f"{environment}, where the expert returns {rows['expert'].iloc[0]:,.0f}"
        seeds = span(by_cell.size(), "seed")
        caption = f"{expert}: mean ± standard deviation over seeds ({seeds} each)"
        header = ["Method", *(f"Round {n}" if n else "BC" for n in rounds)]
        cells_of = [[m, *(cells.get((m, n), NOTHING) for n in rounds)] for m in methods]
        found.append(Table(caption, header, cells_of, styles(methods) if len(rounds) > 1 else {}))
    return found


def film(study: dict[str, Any], table: pd.DataFrame, files: Path | None, out: Path) -> list[Path]:
    """Record the expert, BC and DAgger side by side, unless there already is a video."""
    wanted, paths = study["videos"], []
    for environment in wanted["environments"]:
        path = out / "videos" / f"{environment}.mp4"
        paths.append(path)
        if path.exists():
            continue
        (run,) = [
            r
            for r in runs_of(study, files is not None)
            if (r.part, r.environment, r.method, r.seed)
            == (wanted["part"], environment, "DAgger", wanted["seed"])
        ]
        shown = teacher_of(run, files)
        clone, full = (
            train(replace(run, rounds=n, episodes=0), shown, arguments(run))
            for n in (0, run.rounds)
        )
        expert = shown.expert
        players = {"expert": expert, "BC": as_expert(clone), "DAgger": as_expert(full)}
        record(players, environment, path, seed=1, seconds=wanted["seconds"])
    return paths


def inline(path: Path, kind: str) -> str:
    """Return a data URL that contains a file."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def publish(study: dict[str, Any], files: Path | None, out: Path) -> Path:
    """Write the table, the figures, the videos and the report page."""
    table = by_plan(table_of(out), study)
    write_whole(out / "returns.csv", table.to_csv(index=False))
    parts = []
    for part, rows in table.groupby("part", sort=False):
        picture = picture_of(str(part), rows, study)
        save(picture.figure, out / "figures", picture.name)
        parts.append((str(part), TITLES[part], picture, tables_of(rows)))
    videos = film(study, table, files, out)
    page = render(
        "imitation.html.j2",
        HERE,
        study=study,
        parts_of_the_study=parts,
        videos={path.stem: inline(path, "video/mp4") for path in videos},
        versions=versions(),
    )
    write_whole(out / "report.html", page)
    return out / "report.html"


def main(
    cs285: Annotated[Path | None, typer.Option(help="Folder of the homework's files.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of parallel runs.")] = 1,
    report: Annotated[
        bool,
        typer.Option("--report", help="Only write the report, and train for videos it lacks."),
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = RESULTS / "imitation",
) -> None:
    """Execute the missing runs, then write the report."""
    study = read_yaml((HERE / "imitation.yaml").read_text())
    runs = list(runs_of(study, cs285 is not None))
    finished = run_files(out, Run).names()
    todo = [run for run in runs if run.name not in finished]
    print(f"{len(runs)} runs, {len(runs) - len(todo)} done", flush=True)
    if not report:
        with ProcessPoolExecutor(workers) as pool:
            for done in as_completed([pool.submit(execute, run, cs285, out) for run in todo]):
                print(done.result(), flush=True)
    if run_files(out, Run).names() >= {run.name for run in runs}:
        run_files(out, Run).pack()
    print(publish(study, cs285, out))


if __name__ == "__main__":
    typer.run(main)
