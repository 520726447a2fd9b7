"""How far does TRPO move the policy? The KL that its updates realize, beside their bound.

`python benchmarks/tuning/realized_kl.py benchmarks/mujoco.yaml --steps 200000`
trains the first seed of a grid's TRPO again, up to some steps, and writes the mean KL of each
quarter of its updates, in nats, to `results/tuning_realized_kl/realized_kl.csv`. sb3-contrib
averages the KL of a Gaussian over the dimensions of the action; here it is the sum, as for NPG. Its
step β has

    β² xᵀ(F + λI) x = 2δ,    so that    KL ≈ ½ β² xᵀF x = δ xᵀF x / xᵀ(F + λI) x,

the less below the bound δ the more of the quadratic form is the damping λ.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch as th
from sb3_contrib import TRPO
from stable_baselines3.common.callbacks import BaseCallback

from sb3_course.benchmark.definition.grid import RunSpec, load_grid
from sb3_course.benchmark.execution.train_run import model_of

FILE = Path("results/tuning_realized_kl/realized_kl.csv")
QUARTERS = ["first", "second", "third", "last"]


class Realized(BaseCallback):
    """Reads the KL of every update.

    :param steps: Steps at which training stops
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.found: list[float] = []

    def _on_rollout_start(self) -> None:
        kl = self.logger.name_to_value.get("train/kl_divergence_loss")
        if kl is not None:
            self.found.append(float(kl))

    def _on_step(self) -> bool:
        return self.num_timesteps < self.steps


def row_of(spec: RunSpec, steps: int) -> list[str]:
    """Train a run of TRPO up to some steps.

    :param spec: Run
    :param steps: Steps
    :return: Row of the file
    """
    model = model_of(spec)
    assert isinstance(model, TRPO)
    realized = Realized(steps)
    model.learn(spec.config.total_timesteps, callback=realized, log_interval=1)
    shape = model.action_space.shape
    n = int(np.prod(shape)) if shape else 1
    means = [n * float(part.mean()) for part in np.array_split(realized.found, len(QUARTERS))]
    shown = [f"{value:.4f}" for value in (n * model.target_kl, *means)]
    return [spec.environment, str(spec.seed), str(len(realized.found)), *shown]


def main() -> None:
    """Train the first seed on every environment of a grid, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("grid")
    parser.add_argument("--steps", type=int, default=200_000)
    given = parser.parse_args()
    th.set_num_threads(1)
    specs = [s for s in load_grid(given.grid).runs() if s.algorithm == "TRPO" and s.seed == 0]
    rows = []
    for spec in specs:
        rows.append(row_of(spec, given.steps))
        print(*rows[-1], flush=True)
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["environment", "seed", "updates", "bound", *QUARTERS])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
