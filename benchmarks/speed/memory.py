"""The peak memory of one update against the number of its transitions.

Each point is a process of its own: it makes a model and a batch of episodes of random observations,
takes one small update (so that libraries are loaded and optimizers have their state), and then
measures by how much an update on the whole batch raises the peak of the resident memory above what
was there before it, the stored batch included. Blocks of 64 KiB and more are given back as soon as
they are free (glibc's ``MALLOC_MMAP_THRESHOLD_``), so that the peak is what is in use and not what
the allocator keeps: with its defaults the numbers scatter, by 200 MB in one case.

    python benchmarks/speed/memory.py
    python benchmarks/speed/memory.py --out '' --only images
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import torch as th
import typer
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

import sb3_course
from sb3_course.benchmark.storage.provenance import machine
from sb3_course.common.files import write_whole
from sb3_course.common.tracking.code import versions

RESULTS = Path(__file__).resolve().parents[2] / "results" / "speed"
IMAGE = spaces.Box(0, 255, (84, 84, 4), dtype=np.uint8)
VECTOR = spaces.Box(-1, 1, (17,))
LENGTH = 64
"""Steps of an episode, of which there are as many as the batch needs."""
BATCHES = (64, 256, 1024, 4096)
WIDE = {"net_arch": [1024, 1024]}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "REINFORCE, no baseline": ("REINFORCE", {"baseline": None}),
    "REINFORCE, optimal baseline": ("REINFORCE", {"baseline": "optimal"}),
    "BatchActorCritic": ("BatchActorCritic", {"n_critic_updates": 1}),
    "NPG": ("NPG", {"n_critic_updates": 1, "cg_max_steps": 1}),
    "ISPG": ("ISPG", {"n_epochs": 1, "n_critic_updates": 1}),
}
"""Fewer repetitions of the same step than by default, which do not change the peak."""


class Noise(gym.Env[Any, Any]):
    """Random observations, and episodes of one length."""

    def __init__(self, space: spaces.Box) -> None:
        self.observation_space = space
        self.action_space = spaces.Discrete(6) if space is IMAGE else spaces.Box(-1, 1, (6,))
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        """Begin an episode."""
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Go on, whatever the action."""
        self.steps += 1
        return self.observe(), float(self.np_random.random()), self.steps == LENGTH, False, {}

    def observe(self) -> Any:
        """Draw an observation of the space's dtype, no larger on the way."""
        if self.observation_space is IMAGE:
            return np.frombuffer(self.np_random.bytes(84 * 84 * 4), np.uint8).reshape(84, 84, 4)
        return self.np_random.random(17, dtype=np.float32)


def resident() -> float:
    """Return the resident memory at present, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def reset_peak() -> None:
    """Make the peak of the resident memory what is resident now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Return the peak of the resident memory, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def measure(case: str, kind: str, transitions: int) -> dict[str, float]:
    """Measure an update in this process.

    :param case: Name of a case
    :param kind: ``images`` or ``width 1024``
    :param transitions: Transitions of the batch
    :return: MB by which the peak rose, seconds of CPU, and bytes of the model
    """
    th.set_num_threads(1)
    name, settings = CASES[case]
    images = kind == "images"
    space, policy = (IMAGE, "CnnPolicy") if images else (VECTOR, "MlpPolicy")
    n_envs = 1 if images else 8
    whole = name in ("REINFORCE", "ISPG")
    size = {"n_episodes": 2} if whole else {"n_steps": LENGTH // n_envs}
    model = getattr(sb3_course, name)(
        policy,
        DummyVecEnv([lambda: Noise(space)] * n_envs),
        policy_kwargs={} if images else WIDE,
        seed=0,
        device="cpu",
        **settings,
        **size,
    )
    model.learn(1)
    if whole:
        model.n_episodes = max(2, transitions // LENGTH)
    else:
        model.n_steps = transitions // n_envs
    _, callback = model._setup_learn(10**9)
    model.past_batches = []
    model.collect_rollouts(model.env, callback)
    before = resident()
    reset_peak()
    start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    model.train()
    seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - start
    return {"mb": peak() - before, "seconds": seconds, "transitions": model.rollout.n_transitions}


def main(
    out: Annotated[str, typer.Option(help="Folder of the results; '' for none")] = str(RESULTS),
    only: Annotated[str, typer.Option(help="Measure only what has this in its name")] = "",
    point: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure each point in a process of its own, print and store the table."""
    if point:
        case, kind, transitions = point.split(";")
        print(json.dumps(measure(case, kind, int(transitions))))
        return
    rows = []
    for kind in ("images", "width 1024"):
        for case in CASES:
            if only in f"{case}, {kind}":
                found = [measured(case, kind, transitions) for transitions in BATCHES]
                rows.append({"update": case, "policy": kind, "points": found})
                print(line(rows[-1]), flush=True)
    if out:
        text = "\n".join([HEAD, *map(line, rows)])
        content = {"machine": machine(), "versions": versions(), "rows": rows}
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "memory.md", text + "\n")
        write_whole(folder / "memory.json", json.dumps(content, indent=1) + "\n")


HEAD = f"""# Peak memory of an update

MB by which the peak of the resident memory rises in one update, beyond the stored batch, by the
transitions of the batch (episodes of {LENGTH} steps). Images: `CnnPolicy`, 84 x 84 x 4 bytes; width
1024: two layers of 1,024 units for actor and critic each. The last column is the slope from the
first to the last batch. Made by `benchmarks/speed/memory.py`.

| update | policy | {" | ".join(f"{n:,}" for n in BATCHES)} | KB per transition |
|---|---|{"---|" * len(BATCHES)}---|"""


def line(row: dict[str, Any]) -> str:
    """Write a row of the table."""
    points = row["points"]
    first, last = points[0], points[-1]
    slope = 1e3 * (last["mb"] - first["mb"]) / (last["transitions"] - first["transitions"])
    cells = (f"{point['mb']:.0f}" for point in points)
    return f"| {row['update']} | {row['policy']} | {' | '.join(cells)} | {slope:.1f} |"


def measured(case: str, kind: str, transitions: int) -> dict[str, float]:
    """Measure a point in a process of its own."""
    command = [sys.executable, __file__, "--point", f"{case};{kind};{transitions}"]
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    typer.run(main)
