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
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import jinja2
import numpy as np
import pandas as pd
import torch as th
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from stable_baselines3.common.env_util import make_vec_env

from sb3_course import DAgger
from sb3_course.benchmark.reporting.figures import save, style
from sb3_course.benchmark.storage.provenance import of_a_run, versions
from sb3_course.benchmark.storage.run_files import RunFiles
from sb3_course.common.evaluation import evaluation_envs
from sb3_course.common.files import write_whole
from sb3_course.common.video import record
from sb3_course.common.yaml_values import read_yaml
from sb3_course.imitation import as_expert, demonstrate, load_demonstrations, load_expert
from sb3_course.lectures.toolkit import Palette
from sb3_course.lectures.toolkit import colors as named_colors
from sb3_course.registry import constructor_arguments

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
N_DEMONSTRATED = 2
EXPERT_SEED = 7_000_000


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
def teacher(environment: str, files: Path | None) -> tuple[Any, Any, float]:
    """Return an expert, its demonstrations and its mean return over ten episodes."""
    stem = environment.partition("-")[0]
    if files is None:
        expert = load_expert(RESULTS / "experts" / f"{environment}.zip")
        demonstrations = demonstrate(expert, evaluation_envs(environment, 2), N_DEMONSTRATED, 0)
    else:
        expert = load_expert(files / f"{stem}.pkl")
        demonstrations = load_demonstrations(files / f"expert_data_{environment}.pkl")
    played = demonstrate(expert, evaluation_envs(environment, 10), 10, EXPERT_SEED)
    return expert, demonstrations, float(np.mean([t.rews.sum() for t in played]))


def train(run: Run, files: Path | None) -> DAgger:
    """Train one model."""
    expert, demonstrations, _ = teacher(run.environment, files if run.files else None)
    arguments = constructor_arguments("sb3_course:DAgger", run.settings)
    model = DAgger(
        env=make_vec_env(run.environment, 1, seed=run.seed),
        expert=expert,
        demonstrations=demonstrations,
        n_eval_episodes=run.episodes,
        seed=run.seed,
        device="cpu",
        **arguments,
    )
    return model.learn(run.rounds * model.n_steps)


def execute(run: Run, files: Path | None, out: Path) -> str:
    """Train one model, store its rounds, and return a line that describes them."""
    th.set_num_threads(1)
    started = time.perf_counter()
    model = train(run, files)
    facts = {
        "run": asdict(run),
        "expert_return": teacher(run.environment, files if run.files else None)[2],
        "rounds": model.rounds,
        "seconds": round(time.perf_counter() - started, 1),
        "versions": of_a_run(),
    }
    run_files(out).write(run.name, json.dumps(facts) + "\n")
    last = model.rounds[-1]["eval/mean_reward"]
    return f"{run.name}: {last:,.0f} after {len(model.rounds) - 1} rounds"


def run_files(out: Path) -> RunFiles:
    """Return the files of the finished runs."""
    return RunFiles(out, lambda text: Run(**json.loads(text)["run"]).name)


def table_of(out: Path) -> pd.DataFrame:
    """Read the stored runs into one table with one row per round."""
    rows = []
    stored = run_files(out).read(run_files(out).names())
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


def draw_rounds(axes: Axes, table: pd.DataFrame, colors: Palette) -> None:
    """Draw mean returns by round, their range over seeds, and the expert's return as a line."""
    for method, color in colors.items():
        by_round = table[table["method"] == method].groupby("round")["eval_mean_reward"]
        mean = by_round.mean()
        axes.plot(mean, label=method, marker="o", markersize=3, color=color)
        axes.fill_between(mean.index, by_round.min(), by_round.max(), alpha=0.12, color=color)
    axes.axhline(table["expert"].iloc[0], color="0.3", linestyle="--", label="expert")
    axes.set(
        title=table["environment"].iloc[0],
        xlabel="Round (0 is BC)",
        ylabel="Evaluation return",
    )


def mark_notes(axes: Axes, environment: str, notes: dict[str, Any]) -> None:
    """Mark the returns that the course's notes report."""
    for name, marker, first in (("BC", "s", 0), ("DAgger", "*", 1)):
        given = notes[name].get(environment, [])
        places = range(first, first + len(given))
        axes.scatter(places, given, marker=marker, color="k", zorder=3, label=f"notes: {name}")


def draw_part(name: str, table: pd.DataFrame, study: dict[str, Any]) -> Figure:
    """Draw one panel for each environment of a part."""
    part = study["parts"][name]
    colors = named_colors([m for m in part["methods"] if m in set(table["method"])])
    order = [e for e in part["environments"] if e in set(table["environment"])]
    columns = min(2, len(order))
    rows = -(-len(order) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.8 * rows + 0.5), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, environment in zip(panels, order, strict=False):
        draw_rounds(axes, table[table["environment"] == environment], colors)
        if part["experts"] == "files":
            mark_notes(axes, environment, study["notes"])
    for axes in panels[len(order) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw(table: pd.DataFrame, study: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Draw one figure for each part that has runs."""
    drawn = {}
    with style():
        for part, group in table.groupby("part", sort=False):
            batches = part == "batch size"
            figure = draw_batch_sizes(group) if batches else draw_part(str(part), group, study)
            name = str(part).replace(" ", "_")
            save(figure, folder, name)
            drawn[str(part)] = folder / f"{name}.png"
    return drawn


def draw_batch_sizes(table: pd.DataFrame) -> Figure:
    """Draw BC's return by batch size, with one point per seed."""
    figure = Figure(figsize=(3.6, 2.8), layout="constrained")
    axes = figure.subplots()
    sizes = table["method"].astype(int)
    axes.scatter(sizes, table["eval_mean_reward"], s=12, alpha=0.6, label="a seed")
    axes.plot(table.groupby(sizes)["eval_mean_reward"].mean(), color="k", label="mean")
    axes.axhline(table["expert"].iloc[0], color="0.3", linestyle="--", label="expert")
    axes.set(
        xscale="log",
        title=table["environment"].iloc[0],
        xlabel="Transitions of a gradient step",
        ylabel="Evaluation return of BC",
    )
    axes.legend(fontsize="small")
    return figure


def by_plan(table: pd.DataFrame, study: dict[str, Any]) -> pd.DataFrame:
    """Sort a table's rows in the study's order of parts, environments and methods."""
    plan = [(r.part, r.environment, r.method, r.seed) for r in runs_of(study, True)]
    place = {key: number for number, key in enumerate(plan)}
    keys = table[["part", "environment", "method", "seed"]].apply(tuple, axis=1).map(place)
    order = keys.sort_values(kind="stable").index
    return table.loc[order].reset_index(drop=True)


def summaries(table: pd.DataFrame) -> dict[str, str]:
    """Make an HTML table of means and standard deviations over seeds for each part."""
    found = {}
    for part, group in table.groupby("part", sort=False):
        keys = ["environment", "expert", "method", "round"]
        cells = group.groupby(keys, sort=False)["eval_mean_reward"].agg(["mean", "std", "count"])
        text = cells.apply(
            lambda c: f"{c['mean']:,.0f} ± {0 if np.isnan(c['std']) else c['std']:,.0f}", axis=1
        )
        wide = text.unstack("round").reset_index().rename_axis(columns=None)
        wide["expert"] = wide["expert"].map("{:,.0f}".format)
        wide["seeds"] = cells["count"].groupby(keys[:3], sort=False).max().to_numpy()
        found[str(part)] = wide.to_html(index=False, border=0, na_rep="")
    return found


def film(study: dict[str, Any], table: pd.DataFrame, files: Path | None, out: Path) -> list[Path]:
    """Record the expert, BC and DAgger side by side, unless there already is a video."""
    wanted, paths = study["videos"], []
    for environment in wanted["environments"]:
        path = out / "videos" / f"{environment}.mp4"
        paths.append(path)
        if path.exists():
            continue
        runs = [
            run
            for run in runs_of(study, files is not None)
            if (run.part, run.environment, run.method, run.seed)
            == (wanted["part"], environment, "DAgger", wanted["seed"])
        ]
        settings = runs[0].settings
        clone, full = (
            train(
                Run(**asdict(runs[0]) | {"rounds": n, "episodes": 0, "settings": settings}), files
            )
            for n in (0, runs[0].rounds)
        )
        expert = teacher(environment, files if runs[0].files else None)[0]
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
    figures = draw(table, study, out / "figures")
    videos = film(study, table, files, out)
    template = jinja2.Template((HERE / "imitation.html.j2").read_text(), autoescape=True)
    page = template.render(
        study=study,
        tables=summaries(table),
        figures={part: inline(path, "image/png") for part, path in figures.items()},
        videos={path.stem: inline(path, "video/mp4") for path in videos},
        versions=versions(),
    )
    write_whole(out / "report.html", page)
    return out / "report.html"


def main(
    cs285: Annotated[Path | None, typer.Option(help="Folder of the homework's files.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of parallel runs.")] = 1,
    report: Annotated[bool, typer.Option("--report", help="Only write the report.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = RESULTS / "imitation",
) -> None:
    """Execute the missing runs, then write the report."""
    study = read_yaml((HERE / "imitation.yaml").read_text())
    runs = list(runs_of(study, cs285 is not None))
    finished = run_files(out).names()
    todo = [run for run in runs if run.name not in finished]
    print(f"{len(runs)} runs, {len(runs) - len(todo)} done", flush=True)
    if not report:
        with ProcessPoolExecutor(workers) as pool:
            for done in as_completed([pool.submit(execute, run, cs285, out) for run in todo]):
                print(done.result(), flush=True)
    if run_files(out).names() >= {run.name for run in runs}:
        run_files(out).pack()
    print(publish(study, cs285, out))


if __name__ == "__main__":
    typer.run(main)
