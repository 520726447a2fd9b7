"""Measure what separates one run of one round of DAgger from another, with the homework's files.

Every combination of the choices in ``imitation_factors.yaml`` is trained with several seeds. Each
finished run is stored and not repeated, so the same command continues after an interruption.

    python scripts/imitation_factors.py DIR    # with the homework's files in DIR
"""

import copy
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch as th
import typer
from stable_baselines3.common.env_util import make_vec_env

from sb3_course import DAgger
from sb3_course.benchmark.storage.manifest import merge_manifest
from sb3_course.benchmark.storage.provenance import machine, of_a_run
from sb3_course.common.evaluation import evaluate, evaluation_envs, evaluation_seed
from sb3_course.common.tracking.code import git_commit, versions
from sb3_course.common.yaml_values import read_yaml
from sb3_course.homework.imitation_runs import run_files
from sb3_course.imitation import demonstrate, load_demonstrations, load_expert
from sb3_course.registry import constructor_arguments

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "results" / "imitation_factors"


@dataclass(frozen=True)
class Run:
    """One run: its choice of each setting, what else it sets, and its seed."""

    choices: dict[str, str]
    also: dict[str, Any]
    seed: int

    @property
    def name(self) -> str:
        """Name of the run's file, without its suffix."""
        more = [f"{key}{value}" for key, value in self.also.items()]
        words = "_".join([*self.choices.values(), *more, f"seed{self.seed}"])
        return words.replace(" ", "-")


def read_study() -> dict[str, Any]:
    """Read the definition of the study."""
    study: dict[str, Any] = read_yaml((HERE / "imitation_factors.yaml").read_text())
    return study


def first_choices(study: dict[str, Any]) -> dict[str, str]:
    """Return the first choice of each setting."""
    return {name: next(iter(choices)) for name, choices in study["factors"].items()}


def runs_of(study: dict[str, Any]) -> Iterator[Run]:
    """Yield all runs, in blocks with a seed of every combination and a few of the others."""
    names = list(study["factors"])
    each = study["more"]["seeds"] // study["seeds"]
    for block in range(study["seeds"]):
        for choices in itertools.product(*study["factors"].values()):
            yield Run(dict(zip(names, choices, strict=True)), {}, block)
        for seed in range(block * each, (block + 1) * each):
            for changes in study["more"]["combinations"].values():
                chosen = {key: value for key, value in changes.items() if key != "settings"}
                also = changes.get("settings", {})
                if also or seed >= study["seeds"]:
                    yield Run(first_choices(study) | chosen, also, seed)


def make_model(run: Run, study: dict[str, Any], files: Path) -> DAgger:
    """Make the model of a run."""
    environment = study["environment"]
    settings = copy.deepcopy(study["settings"])
    for name, choice in run.choices.items():
        settings |= study["factors"][name][choice]
    settings |= run.also
    held_std = settings.pop("held_std", None)
    if held_std is not None:
        settings["policy_kwargs"] = settings["policy_kwargs"] | {"log_std_init": np.log(held_std)}
    model = DAgger(
        env=make_vec_env(environment, 1, seed=run.seed),
        expert=load_expert(files / f"{environment.partition('-')[0]}.pkl"),
        demonstrations=load_demonstrations(files / f"expert_data_{environment}.pkl"),
        seed=run.seed,
        device="cpu",
        **constructor_arguments("sb3_course:DAgger", settings),
    )
    if held_std is not None:
        model.policy.log_std.requires_grad_(False)
    return model


class Sampling:
    """A model that samples its actions where it is evaluated, as the homework's policy does."""

    def __init__(self, model: DAgger) -> None:
        self._model = model

    def get_vec_normalize_env(self) -> None:
        """Return None: nothing is normalized."""

    def predict(self, obs: Any, *state: Any, deterministic: bool) -> Any:
        """Sample actions, whatever is asked for."""
        return self._model.predict(obs, *state, deterministic=False)


def execute(run: Run, study: dict[str, Any], files: Path) -> dict[str, Any]:
    """Train one model, and return its returns with the mean action and with sampled ones."""
    started = time.process_time()
    model, envs = (
        make_model(run, study, files),
        evaluation_envs(study["environment"], study["episodes"]),
    )
    seed = evaluation_seed(run.seed)
    returns = evaluate(model.learn(model.n_steps), envs, seed)[0]
    th.manual_seed(seed)
    sampled = evaluate(Sampling(model), envs, seed)[0]
    return {
        "run": asdict(run),
        "returns": np.round(returns, 1).tolist(),
        "returns_sampled": np.round(sampled, 1).tolist(),
        "std": round(model.policy.log_std.exp().mean().item(), 4),
        "seconds": round(time.process_time() - started, 1),
        "versions": of_a_run(),
    }


def expert_returns(study: dict[str, Any], files: Path) -> list[float]:
    """Return the returns of the expert itself."""
    environment, n = study["environment"], study["expert_episodes"]
    expert = load_expert(files / f"{environment.partition('-')[0]}.pkl")
    played = demonstrate(expert, evaluation_envs(environment, n), n, evaluation_seed(0))
    return [round(float(trajectory.rews.sum()), 1) for trajectory in played]


def write_manifest(out: Path, started: float, expert: list[float]) -> None:
    """Write what the runs were made with, and what the expert returns."""
    manifest = {
        "expert_returns": expert,
        "commands": [f"python scripts/{Path(sys.argv[0]).name} DIR"],
        "git_commit": git_commit(),
        "versions": versions(),
        "machine": machine(),
        "duration_seconds": round(time.monotonic() - started, 1),
    }
    merge_manifest(out, manifest)


def main(
    files: Annotated[Path, typer.Argument(help="Folder of the homework's files.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = OUT,
) -> None:
    """Execute the missing runs."""
    th.set_num_threads(1)
    study, started = read_study(), time.monotonic()
    runs, finished = list(runs_of(study)), run_files(out, Run).names()
    todo = [run for run in runs if run.name not in finished]
    print(f"{len(runs)} runs, {len(runs) - len(todo)} done", flush=True)
    for run in todo:
        facts = execute(run, study, files)
        run_files(out, Run).write(run.name, json.dumps(facts) + "\n")
        print(f"{run.name}: {np.mean(facts['returns']):,.0f}", flush=True)
    run_files(out, Run).pack()
    write_manifest(out, started, expert_returns(study, files))


if __name__ == "__main__":
    typer.run(main)
