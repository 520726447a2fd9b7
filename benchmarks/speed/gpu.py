"""What a GPU brings: trainings on images and on small vectors, there and on the CPU.

    python benchmarks/speed/gpu.py              # into results/speed/gpu.md and gpu.json: 5 minutes
    python benchmarks/speed/gpu.py --out ''

Contenders take turns in one process (``turns.py``), on observations that are random numbers, so
that an environment costs next to nothing. Wall time counts: a GPU works while the CPU waits. All
of the machine's cores are PyTorch's on images, one thread on vectors, as is best there.
"""

import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch as th
import typer
from memory import IMAGE, VECTOR, Noise
from sb3_contrib import TRPO
from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import DummyVecEnv
from turns import Local, alternate

from sb3_course import NPG, REINFORCE, BatchActorCritic, OnlineActorCritic
from sb3_course.benchmark.storage.provenance import machine, of_a_run
from sb3_course.common.files import write_whole

RESULTS = Path(__file__).resolve().parents[2] / "results" / "speed"
N_ENVS, BATCH, LARGE_BATCH = 8, 1024, 4096
EPISODE = 64
"""Steps of an episode."""
ONE_STEP = {"n_critic_updates": 1}
NATURAL = {"n_critic_updates": 10, "cg_max_steps": 10, "batch_size": 128}

CLASSES: dict[str, tuple[Any, dict[str, Any]]] = {
    "NPG": (NPG, NATURAL),
    "sb3-contrib's TRPO": (TRPO, NATURAL),
    "BatchActorCritic": (BatchActorCritic, ONE_STEP),
    "SB3's A2C, same batch": (A2C, {}),
    "REINFORCE, optimal baseline": (REINFORCE, ONE_STEP | {"baseline": "optimal"}),
    "OnlineActorCritic": (OnlineActorCritic, {}),
}
CHUNKED = ("NPG", "BatchActorCritic", "REINFORCE, optimal baseline")
CHUNKS = {"16 MiB": 1 / 8, "64 MiB": 1 / 2, "128 MiB, the default": 1, "256 MiB": 2, "1 GiB": 8}
"""Sizes of a chunk, in multiples of the default on a GPU."""


def training(name: str, device: str, images: bool, batch: int = BATCH) -> Any:
    """Return a model that has not learned yet."""
    algorithm, settings = CLASSES[name]
    if algorithm is REINFORCE:
        settings = settings | {"n_episodes": batch // EPISODE}
    elif algorithm is not OnlineActorCritic:
        settings = settings | {"n_steps": batch // N_ENVS}
    space, policy = (IMAGE, "CnnPolicy") if images else (VECTOR, "MlpPolicy")
    envs = DummyVecEnv([lambda: Noise(space)] * N_ENVS)
    return algorithm(policy, envs, seed=0, device=device, **settings)


def learn(model: Any, steps: int) -> int:
    """Train for so many steps at least, and return how many they were."""
    before = model.num_timesteps
    model.learn(steps, reset_num_timesteps=False, log_interval=10**9)
    if model.device.type == "cuda":
        th.cuda.synchronize()
    return int(model.num_timesteps - before)


def rates(models: dict[str, Any], batch: int, rounds: int, seconds: float) -> dict[str, float]:
    """Return environment steps per second of wall time, the median of the rounds."""
    contenders = {name: Local(partial(learn, model), batch) for name, model in models.items()}
    found = alternate(dict(contenders), rounds, seconds)
    return {name: median(t.units / t.wall for t in turns) for name, turns in found.items()}


def peak(model: Any) -> float:
    """Return by how many MB one batch raises the peak of the GPU's memory."""
    before = th.cuda.memory_allocated()
    th.cuda.reset_peak_memory_stats()
    learn(model, 1)
    return (th.cuda.max_memory_allocated() - before) / 1e6


def by_device(name: str, rounds: int, seconds: float) -> dict[str, float]:
    """Measure a class on images and on vectors, on the GPU and on the CPU."""
    found: dict[str, float] = {}
    for kind in ("images", "vectors"):
        th.set_num_threads((os.cpu_count() or 1) if kind == "images" else 1)
        models = {d: training(name, d, kind == "images") for d in ("cuda", "cpu")}
        rate = rates(models, BATCH, rounds, seconds)
        found |= {f"{kind}, GPU": rate["cuda"], f"{kind}, CPU": rate["cpu"]}
    return found


def by_chunk(name: str, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Measure a class on images, on the GPU, with chunks of several sizes."""
    models = {}
    for label, factor in CHUNKS.items():
        models[label] = training(name, "cuda", True, LARGE_BATCH)
        models[label].chunk_size = max(1, int(factor * models[label].chunk_size))
    rate = rates(models, LARGE_BATCH, rounds, seconds)
    return {label: {"rate": rate[label], "peak": peak(m)} for label, m in models.items()}


def table(heads: Iterable[str], rows: dict[str, Iterable[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    heads = ["", *heads]
    lines = [[*heads], ["---"] * len(heads), *([name, *cells] for name, cells in rows.items())]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = 3,
    seconds: Annotated[float, typer.Option(help="Wall time of a turn, in whole batches.")] = 0.5,
    out: Annotated[str, typer.Option(help="Folder; '' to print alone.")] = str(RESULTS),
) -> None:
    """Measure, print and store."""
    if not th.cuda.is_available():
        raise SystemExit("no GPU: PyTorch sees none on this machine")
    place = machine() | {"gpu": th.cuda.get_device_name(), "torch_cuda": th.version.cuda}
    devices = {name: by_device(name, rounds, seconds) for name in CLASSES}
    sizes = {name: by_chunk(name, rounds, seconds) for name in CHUNKED}
    lines = [
        "Environment steps per second of wall time, collection and updates, "
        f"{N_ENVS} environments, batches of {BATCH:,} (OnlineActorCritic: of {N_ENVS}); "
        f"{place['gpu']}, {place['cpu_count']} cores.",
        "",
        *table(
            devices["NPG"], {n: [f"{r:,.0f}" for r in row.values()] for n, row in devices.items()}
        ),
        "",
        f"On images on the GPU, batches of {LARGE_BATCH:,}, by what a chunk's graph may keep "
        "(and by how much a batch raises the peak of the GPU's memory):",
        "",
        *table(
            CHUNKS,
            {
                name: [f"{cell['rate']:,.0f} ({cell['peak']:,.0f} MB)" for cell in row.values()]
                for name, row in sizes.items()
            },
        ),
    ]
    print("\n".join(lines))
    if out:
        measured = {"machine": place, "made_with": of_a_run(), "rounds": rounds}
        measured |= {"devices": devices, "chunks": sizes}
        write_whole(Path(out) / "gpu.json", json.dumps(measured, indent=1) + "\n")
        write_whole(Path(out) / "gpu.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
