"""What an exported policy costs beside the model: bytes of the files, processor time of a call.

`python benchmarks/speed/exported.py` prints the table of `docs/recipes/export.md`: the expert on
HalfCheetah (two hidden layers of 64, observations normalized) and SB3's convolutional network on
four frames of Atari. Processor seconds of this process on one thread, in microseconds a call; the
kinds alternate, and the median of the rounds counts.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_course import NPG, loading
from sb3_course.collection.observations import select
from sb3_course.common.files import shipped
from sb3_course.envs.spaces_only import SpacesOnlyEnv
from sb3_course.opening import open_policy
from sb3_course.publishing.export import SUFFIXES, export_model
from sb3_course.publishing.exported import runner, sample_observations

ROUNDS, BATCHES = 15, (1, 64)


def models(folder: Path) -> dict[str, tuple[BaseAlgorithm, Path]]:
    """Return models and their files.

    :param folder: where files may be written
    """
    expert = shipped("results/experts/HalfCheetah-v4.zip")
    frames = SpacesOnlyEnv(spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(6))
    atari = NPG("CnnPolicy", frames, seed=0, device="cpu")
    loading.save(atari, folder / "atari.zip")
    return {
        "MLP": (open_policy(expert, None, trust=False), expert),
        "CNN": (atari, folder / "atari.zip"),
    }


def predict(model: BaseAlgorithm, obs: Any) -> Any:
    """Act as a script does that has the model and raw observations.

    :param model: the model
    :param obs: raw observations
    """
    venv = model.get_vec_normalize_env()
    return model.predict(obs if venv is None else venv.normalize_obs(obs), deterministic=True)[0]


def seconds(run: Callable[[Any], Any], obs: Any, calls: int) -> float:
    """Return the processor seconds of one call.

    :param run: function
    :param obs: its argument
    :param calls: how many calls are timed together
    """
    started = time.process_time()
    for _ in range(calls):
        run(obs)
    return (time.process_time() - started) / calls


def main() -> None:
    """Print the table."""
    th.set_num_threads(1)
    print("| policy | kind | file | a call with 1 observation | with 64 |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, (model, file) in models(folder).items():
            runs: dict[str, Callable[[Any], Any]] = {"model": partial(predict, model)}
            sizes = {"model": file.stat().st_size}
            for form, suffix in SUFFIXES.items():
                written = export_model(model, folder / f"policy{suffix}", form)
                runs[form], sizes[form] = runner(written.path.read_bytes(), form), written.size
            observations = sample_observations(model, max(BATCHES))
            times: dict[tuple[str, int], list[float]] = {}
            for _ in range(ROUNDS):
                for n in BATCHES:
                    obs = select(observations, slice(n))
                    for kind, run in runs.items():
                        calls = 200 if name == "MLP" else 10
                        times.setdefault((kind, n), []).append(seconds(run, obs, calls))
            for kind in runs:
                cells = [f"{1e6 * median(times[kind, n]):,.0f} µs" for n in BATCHES]
                print(f"| {name} | {kind} | {sizes[kind] / 1e3:,.0f} kB | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
