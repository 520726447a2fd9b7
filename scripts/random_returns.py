"""Measure the return of uniformly random actions, the zero of normalized scores.

    python scripts/random_returns.py                  # every environment with a reference score
    python scripts/random_returns.py Hopper-v4 --episodes 100

Episode i resets its environment with seed i and samples its actions, uniformly within their bounds,
from an action space with seed i, so that each episode is the same in every measurement. This script
printed the numbers in ``sb3_course/benchmark/statistics/reference_scores.yaml``.
"""

import argparse
import warnings
from collections.abc import Iterator

import gymnasium
import numpy as np

from sb3_course.benchmark.references import random_returns
from sb3_course.benchmark.statistics.scores import load_references
from sb3_course.envs.config import EnvConfig


def measure(names: list[str], episodes: int) -> Iterator[str]:
    """Yield one line per environment: mean return, its standard error, number of episodes."""
    for name in names:
        try:
            returns = random_returns(EnvConfig(name), episodes)
        except gymnasium.error.Error as error:
            yield f"{name}: not measured ({error})"
            continue
        error = np.std(returns, ddof=1) / np.sqrt(episodes)
        yield f"{name}: {np.mean(returns):.2f} +- {error:.2f} (s.e., {episodes:,} episodes)"


def main() -> None:
    """Parse the command line, and print each measurement when it is done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "environments", nargs="*", help="Gymnasium ids (default: all with a reference score)"
    )
    parser.add_argument("--episodes", type=int, default=1000, help="number of episodes for each")
    arguments = parser.parse_args()
    names = arguments.environments or list(load_references().environments)
    warnings.filterwarnings("ignore", message=".*out of date.*")
    for line in measure(names, arguments.episodes):
        print(line, flush=True)


if __name__ == "__main__":
    main()
