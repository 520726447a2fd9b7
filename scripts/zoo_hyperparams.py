"""Write the tuned hyper-parameters of our grids in RL Zoo's format.

    python scripts/zoo_hyperparams.py         # sb3_course/zoo/hyperparams/*.yml
    python scripts/zoo_hyperparams.py --check # exit code 1 if a file is not up to date

Environments that no grid has get the constructor's defaults, with normalization and 8 environments.
"""

import argparse
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from sb3_course.benchmark.definition.checks import checked_grid
from sb3_course.benchmark.definition.grid import Grid
from sb3_course.zoo.registration import NAMES, hyperparams

ROOT = Path(__file__).resolve().parents[1]
GRIDS = ("benchmarks/classic.yaml", "benchmarks/mujoco.yaml")
IN_GRIDS = {**{name: name for name in NAMES.values()}, "REINFORCE": "REINFORCE (value baseline)"}
"""Algorithm of the grids by class: of REINFORCE's variants the one that the class is by default."""
DEFAULT = {"n_envs": 8, "n_timesteps": 1_000_000, "normalize": True}
ATARI = {
    "n_envs": 8,
    "n_timesteps": 10_000_000,
    "policy": "CnnPolicy",
    "env_wrapper": ["stable_baselines3.common.atari_wrappers.AtariWrapper"],
    "frame_stack": 4,
}
"""What RL Zoo takes for every game of Atari."""


def text_of(name: str) -> str:
    """Return the content of an algorithm's file.

    :param name: Name of the algorithm in RL Zoo
    :return: YAML
    """
    algorithm = IN_GRIDS[NAMES[name]]
    parts = [
        f"# Tuned hyper-parameters of {NAMES[name]}, made by scripts/zoo_hyperparams.py: edit the "
        "grids, not this.",
        "# For all other environments: the constructor's defaults.",
        _yaml({"default": DEFAULT}),
        "# Games of Atari: RL Zoo's wrappers and the constructor's defaults.",
        _yaml({"atari": ATARI}),
    ]
    for path, grid in _grids().items():
        parts += [f"# {path}, {algorithm}"]
        parts += [_yaml({env: entry(grid, algorithm, env)}) for env in grid.environments]
    return "\n".join(parts)


def entry(grid: Grid, algorithm: str, environment: str) -> dict[str, Any]:
    """Return the hyper-parameters of an algorithm on an environment, named as in RL Zoo.

    :param grid: Grid
    :param algorithm: Name of the algorithm in the grid
    :param environment: Name of the environment in the grid
    :return: Entry of RL Zoo's file
    """
    config = grid.config(algorithm, environment)
    found: dict[str, Any] = {
        "n_envs": config.n_envs,
        "n_timesteps": config.total_timesteps,
        "policy": "MlpPolicy",
    }
    if config.normalize:
        found["normalize"] = config.normalize
    for key, value in config.params.items():
        found[key] = python(value) if isinstance(value, dict) else value
    return found


def python(value: Any) -> str:
    """Return a mapping as RL Zoo writes it, ``dict(pi=[16])``, which it evaluates.

    :param value: Mapping, or what is in one
    :return: Python expression
    """
    if not isinstance(value, dict):
        return repr(value)
    return f"dict({', '.join(f'{key}={python(item)}' for key, item in value.items())})"


@cache
def _grids() -> dict[str, Grid]:
    return {path: checked_grid(ROOT / path) for path in GRIDS}


def _yaml(data: dict[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False, width=100)


def main() -> int:
    """Write all files, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    check = parser.parse_args().check
    old = [name for name in NAMES if not _is_current(name)]
    for name in old:
        print(f"{hyperparams(name).relative_to(ROOT)}: {'not up to date' if check else 'written'}")
        if not check:
            hyperparams(name).write_text(text_of(name))
    return 1 if check and old else 0


def _is_current(name: str) -> bool:
    path = hyperparams(name)
    return path.exists() and path.read_text() == text_of(name)


if __name__ == "__main__":
    sys.exit(main())
