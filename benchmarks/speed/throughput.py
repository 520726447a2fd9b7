"""Environment steps a second of ``learn``, ours beside SB3's and sb3-contrib's.

Every contender learns on the same task with the same number of environments, one torch thread. They
take turns for several rounds in this one process, since a machine's speed drifts; the table holds
the median over the rounds, and ratios of medians. Beside them stands the rate at which EnvPool
steps random actions with no ``VecEnv`` in between: the most that any algorithm could reach.

    python benchmarks/speed/throughput.py
    python benchmarks/speed/throughput.py --env Hopper-v4 --n-envs 16 --rounds 3 --out ''
"""

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import envpool
import numpy as np
import torch as th
import typer
from rich.console import Console
from rich.table import Table
from sb3_contrib import TRPO
from stable_baselines3 import A2C

from sb3_course import ISPG, NPG, REINFORCE, BatchActorCritic, OnlineActorCritic, make_vec_env
from sb3_course.benchmark.storage.provenance import versions
from sb3_course.envs.make import Backend

#: name -> (class, backend, keyword arguments)
CONTENDERS: dict[str, tuple[Any, Backend, dict[str, Any]]] = {
    "REINFORCE value": (REINFORCE, "envpool", {"baseline": "value", "n_steps": 1000}),
    "REINFORCE none": (REINFORCE, "envpool", {"baseline": None, "n_steps": 1000}),
    "REINFORCE optimal": (REINFORCE, "envpool", {"baseline": "optimal", "n_steps": 1000}),
    "ISPG": (ISPG, "envpool", {"n_steps": 1000}),
    "NPG": (NPG, "envpool", {"n_steps": 128, "n_critic_updates": 10, "cg_max_steps": 10}),
    "BatchActorCritic": (BatchActorCritic, "envpool", {"n_steps": 128}),
    "OnlineActorCritic": (OnlineActorCritic, "envpool", {}),
    "A2C": (A2C, "envpool", {}),
    "A2C DummyVecEnv": (A2C, "dummy", {}),
    "TRPO": (TRPO, "envpool", {"n_steps": 128, "batch_size": 4096, "cg_max_steps": 10}),
}


def learner(name: str, env_id: str, n_envs: int, steps: int) -> Callable[[], float]:
    """Make a function that learns for a number of steps and returns the steps per second."""
    algorithm, backend, kwargs = CONTENDERS[name]
    env = make_vec_env(env_id, n_envs, seed=0, backend=backend, verbose=0)
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **kwargs)

    def rate() -> float:
        start = time.perf_counter()
        model.learn(steps)
        return float(model.num_timesteps / (time.perf_counter() - start))

    return rate


def raw_stepper(env_id: str, n_envs: int, steps: int, num_threads: int) -> Callable[[], float]:
    """Step EnvPool itself with random actions, as fast as it goes."""
    env = envpool.make_gymnasium(env_id, num_envs=n_envs, seed=0, num_threads=num_threads)
    env.reset()
    shape = (256, n_envs, *env.action_space.shape)
    actions = np.random.default_rng(0).uniform(-1, 1, shape)
    n = max(1, steps // n_envs)

    def rate() -> float:
        start = time.perf_counter()
        for i in range(n):
            env.step(actions[i % len(actions)])
        return n * n_envs / (time.perf_counter() - start)

    return rate


def main(
    env: str = "HalfCheetah-v4",
    n_envs: int = 32,
    steps: int = 64_000,
    rounds: int = 5,
    threads: int = 2,
    out: str = "results/throughput",
) -> None:
    """Measure, print a table, and write it to OUT.json and OUT.md (nowhere if OUT is empty)."""
    warnings.filterwarnings("ignore", message=".*out of date.*")
    th.set_num_threads(1)
    console = Console()
    measures = {"EnvPool raw": raw_stepper(env, n_envs, steps, threads)}
    measures |= {name: learner(name, env, n_envs, steps) for name in CONTENDERS}
    rates: dict[str, list[float]] = {name: [] for name in measures}
    for turn in range(rounds + 1):
        for name, measure in measures.items():
            rate = measure()
            if turn:  # the first turn warms up
                rates[name].append(rate)
        console.print(f"round {turn} of {rounds}" if turn else "warmed up")

    middle = {name: median(values) for name, values in rates.items()}
    references = ["EnvPool raw", "A2C", "A2C DummyVecEnv", "TRPO"]
    header = ["", "steps/s", "range", *(f"x {name}" for name in references)]
    rows = [
        [
            name,
            f"{middle[name]:,.0f}",
            f"{min(values):,.0f} to {max(values):,.0f}",
            *(f"{middle[name] / middle[reference]:.2f}" for reference in references),
        ]
        for name, values in rates.items()
    ]
    title = f"{env}, {n_envs} environments, {threads} EnvPool threads, 1 torch thread"
    table = Table(*header, title=title)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if out:
        write(Path(out), title, header, rows, {"rates": rates, "versions": versions()})


def write(
    out: Path, title: str, header: list[str], rows: list[list[str]], record: dict[str, Any]
) -> None:
    """Store the table for readers and the rates for programs."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows]]
    out.with_suffix(".md").write_text(f"{title}\n\n" + "\n".join(lines) + "\n")
    out.with_suffix(".json").write_text(json.dumps({"title": title} | record, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
