"""Train the experts of ``results/experts`` with the recipe in ``experts.yaml``.

The best checkpoint of each expert is kept, chosen on evaluation episodes that neither training nor
the reported return uses. An expert that already exists is not trained again.

    python scripts/experts.py
    python scripts/experts.py --only Hopper-v4 --out my_experts
"""

import io
import json
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch as th
import typer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed

from sb3_course import NPG, load, make_vec_env
from sb3_course.common.errors import unknown
from sb3_course.common.evaluation import evaluate, evaluation_envs, undisturbed
from sb3_course.common.files import write_atomically
from sb3_course.common.tracking.code import versions
from sb3_course.common.yaml_values import read_yaml
from sb3_course.registry import constructor_arguments

HERE = Path(__file__).resolve().parent
CHOICE_SEED, FINAL_SEED = 5_000_000, 6_000_000
"""First seeds of the episodes that select a checkpoint and of those whose return is reported."""


class KeepBest(BaseCallback):
    """Callback that keeps the checkpoint with the best mean return, in memory."""

    def __init__(self, env_id: str, every: int, episodes: int) -> None:
        super().__init__()
        self.best_return, self.best_step, self.checkpoint = -np.inf, 0, b""
        self._env_id, self._every, self._episodes = env_id, every, episodes
        self._next = every

    def _on_training_start(self) -> None:
        with undisturbed(self.model):
            self._envs = evaluation_envs(self._env_id, self._episodes)

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next += self._every
            self._measure()
        return True

    def _on_training_end(self) -> None:
        self._measure()
        self._envs.close()

    def _measure(self) -> None:
        with undisturbed(self.model):
            returns, _ = evaluate(self.model, self._envs, CHOICE_SEED)
        print(f"{self._env_id} {self.num_timesteps:>9,} steps: {returns.mean():8.1f}", flush=True)
        if returns.mean() > self.best_return:
            self.best_return, self.best_step = float(returns.mean()), self.num_timesteps
            buffer = io.BytesIO()
            self.model.save(buffer, exclude=["ep_info_buffer"])
            self.checkpoint = buffer.getvalue()


def train(env_id: str, recipe: dict[str, Any], every: int, episodes: int) -> KeepBest:
    """Train one expert; the same recipe leads to the same expert, bit for bit."""
    arguments = constructor_arguments("NPG", recipe["params"])
    seed = recipe["seed"]
    set_random_seed(seed)
    env = make_vec_env(env_id, recipe["n_envs"], seed, "envpool", normalize=True, verbose=0)
    model = NPG(env=env, seed=seed, device="cpu", verbose=0, **arguments)
    keeper = KeepBest(env_id, every, episodes)
    model.learn(recipe["total_timesteps"], callback=keeper)
    env.close()
    return keeper


def measure(path: Path, env_id: str, episodes: int) -> dict[str, Any]:
    """Evaluate a saved expert on fresh episodes."""
    envs = evaluation_envs(env_id, episodes)
    model = load(path, env=envs, normalize="freeze", device="cpu")
    returns, lengths = evaluate(model, envs, FINAL_SEED)
    envs.close()
    return {
        "return_mean": returns.mean(),
        "return_std": returns.std(),
        "return_min": returns.min(),
        "return_max": returns.max(),
        "episode_length": float(lengths.mean()),
        "episodes": episodes,
        "first_seed": FINAL_SEED,
        "returns": returns.round(3).tolist(),
    }


def main(
    only: Annotated[
        list[str] | None, typer.Option(help="Train experts only for these environments.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the experts.")] = HERE.parent
    / "results"
    / "experts",
    recipe_file: Annotated[Path, typer.Option("--recipe", help="Recipe (YAML).")] = HERE
    / "experts.yaml",
) -> None:
    """Train the experts that are missing."""
    th.set_num_threads(1)
    recipes = read_yaml(recipe_file.read_text())
    for env_id in set(only or ()) - recipes["experts"].keys():
        raise typer.BadParameter(unknown("environment", env_id, recipes["experts"]))
    setting = recipes["evaluation"]
    for env_id, recipe in recipes["experts"].items():
        path = out / f"{env_id}.zip"
        if (only and env_id not in only) or path.exists():
            continue
        started = time.perf_counter()
        keeper = train(env_id, recipe, setting["every"], setting["episodes"])
        write_atomically(path, keeper.checkpoint)
        facts = {
            "environment": env_id,
            "algorithm": "NPG",
            "recipe": recipe,
            "checkpoint": {
                "step": keeper.best_step,
                "return_mean": keeper.best_return,
                "episodes": setting["episodes"],
                "first_seed": CHOICE_SEED,
            },
            "evaluation": measure(path, env_id, setting["final_episodes"]),
            "seconds": round(time.perf_counter() - started, 1),
            "command": "python scripts/experts.py",
            "versions": versions(),
        }
        description = out / "experts.json"
        known = json.loads(description.read_text()) if description.exists() else {}
        known = dict(sorted((known | {env_id: facts}).items()))
        write_atomically(description, (json.dumps(known, indent=1) + "\n").encode())
        print(f"{path.name}: {facts['evaluation']['return_mean']:,.1f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
