"""Why does a run fall at a single evaluation? Its policy there, with less and with more noise.

`python benchmarks/tuning/falls.py GRID --algorithm NPG --environment Hopper-v4 --seeds 1 7 9`
trains stored runs of a grid again, checks that they return what is stored, and plays the policy of
every evaluation that falls, and of the one before it, with its noise scaled by 0 (the deterministic
policy, which is published), 0.1, 0.3 and 1 (the policy that is trained):

    a = mean(s) + scale * std * ε,    ε ~ N(0, I)

An evaluation falls if its mean return is below half of the one before. Rows are added to
`results/tuning_falls/falls.csv` as runs end; a run that has rows there is not trained again.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize

from sb3_course.benchmark.definition.grid import Grid, RunSpec, load_grid
from sb3_course.benchmark.execution.evaluation_callback import EvaluationCallback
from sb3_course.benchmark.execution.train_run import model_of
from sb3_course.benchmark.storage.result import Measurement
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.evaluation import evaluation_envs, evaluation_seed, play_episodes

FILE = Path("results/tuning_falls/falls.csv")
SCALES = 0.0, 0.1, 0.3, 1.0
EPISODES = 50
HEADER = "grid,algorithm,environment,seed,step,falls,stored,scale,mean,whole_episodes\n"


class Noisy:
    """A model that acts with scaled noise.

    :param model: Model, whose policy is Gaussian
    :param scale: Factor of the standard deviation
    :param rng: Generator of the noise
    """

    def __init__(self, model: BaseAlgorithm, scale: float, rng: np.random.Generator) -> None:
        self._model, self._scale, self._rng = model, scale, rng

    def get_vec_normalize_env(self) -> VecNormalize | None:
        """Return the normalization of the model's environment."""
        return self._model.get_vec_normalize_env()

    def predict(self, obs: Any, *_: Any, **__: Any) -> tuple[NDArray[np.float32], None]:
        """Return one action per observation, clipped to the bounds."""
        policy = self._model.policy
        assert isinstance(policy, ActorCriticPolicy)
        with th.no_grad():
            distribution = policy.get_distribution(policy.obs_to_tensor(obs)[0])
        assert isinstance(distribution, DiagGaussianDistribution)
        normal = distribution.distribution
        noise = self._scale * self._rng.standard_normal(tuple(normal.mean.shape))
        actions = normal.mean.numpy() + normal.stddev.numpy() * noise.astype(np.float32)
        space: Any = self._model.action_space
        return np.clip(actions, space.low, space.high), None


def rows_of(spec: RunSpec, stored: list[Measurement]) -> Iterator[list[Any]]:
    """Train a run again, and play the policies where it falls.

    :param spec: Run
    :param stored: Its stored measurements
    :return: Rows of the file from ``step`` on
    :raises RuntimeError: The run returns something else here
    """
    config = spec.config
    model = model_of(spec)
    means = [float(np.mean(each.returns)) for each in stored]
    falls = {i for i in range(1, len(means)) if means[i] < means[i - 1] / 2}
    envs = evaluation_envs(spec.env, EPISODES)
    rows: list[list[Any]] = []

    def played(now: Measurement) -> None:
        i = config.evaluation_steps.index(now.step)
        if now.returns != stored[i].returns:
            raise RuntimeError(f"{spec.label} returns something else here at step {now.step}")
        if i not in falls and i + 1 not in falls:
            return
        for scale in SCALES:
            acting: Any = Noisy(model, scale, np.random.default_rng(now.step))
            episodes = play_episodes(acting, envs, evaluation_seed(spec.seed))
            whole = sum(info["TimeLimit.truncated"] for info in episodes.infos)
            shown = f"{means[i]:.1f}", scale, f"{episodes.returns.mean():.1f}", whole
            rows.append([now.step, int(i in falls), *shown])

    callback = EvaluationCallback(
        spec.env, config.evaluation_steps, config.evaluation_episodes, spec.seed, told=played
    )
    model.learn(config.total_timesteps, callback=callback)
    yield from rows


def done() -> set[tuple[str, ...]]:
    """Return grid, algorithm, environment and seed of the runs that have rows."""
    if not FILE.exists():
        return set()
    with FILE.open(newline="") as file:
        return {tuple(row[:4]) for row in csv.reader(file)}


def main() -> None:
    """Train the runs that were asked for, and add their rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("grid")
    parser.add_argument("--algorithm", required=True)
    parser.add_argument("--environment", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    given = parser.parse_args()
    th.set_num_threads(1)
    grid: Grid = load_grid(given.grid)
    specs = [
        spec
        for spec in grid.runs()
        if (spec.algorithm, spec.environment) == (given.algorithm, given.environment)
        and spec.seed in given.seeds
    ]
    FILE.parent.mkdir(parents=True, exist_ok=True)
    for result in Store(Path("results") / grid.name).read(specs):
        key = (grid.name, given.algorithm, given.environment, str(result.spec.seed))
        if key in done():
            continue
        rows = [[*key, *row] for row in rows_of(result.spec, result.measurements)]
        is_new = not FILE.exists()
        with FILE.open("a", newline="") as file:
            file.write(HEADER if is_new else "")
            csv.writer(file, lineterminator="\n").writerows(rows)
        print(f"{result.spec.label}: {len(rows)} rows")


if __name__ == "__main__":
    main()
