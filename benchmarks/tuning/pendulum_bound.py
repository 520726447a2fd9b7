"""What can a discount reach on Pendulum? The best policy of each, from a grid's starts.

`python benchmarks/tuning/pendulum_bound.py benchmarks/classic.yaml` solves Pendulum-v1 on a
lattice of angles and velocities, without learning: value iteration for a discount γ, and the 200
steps of an episode backward, without discount, for the optimum,

    V_γ(s) = max_u [r(s, u) + γ V_γ(s')]
    V_t(s) = max_u [r(s, u) + V_{t+1}(s')],    V_200 = 0,

with V bilinear between the points. The greedy policies then act in Gymnasium's own environment,
from the starts where each seed of the grid is evaluated. Their mean returns, without discount, are
written to `results/tuning_pendulum_bound/bound.csv`, one row for each seed. It takes minutes.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.common.evaluation import evaluation_seed

FILE = Path("results/tuning_pendulum_bound/bound.csv")
DISCOUNTS = 0.9, 0.95, 0.98, 0.99
STEPS, FASTEST, TORQUE, DT = 200, 8.0, 2.0, 0.05
N_ANGLES, N_VELOCITIES = 401, 401
TORQUES = np.linspace(-TORQUE, TORQUE, 81)
FINE_TORQUES = np.linspace(-TORQUE, TORQUE, 401)
TOLERANCE = 1e-3

Array = NDArray[np.float64]
Values = Callable[[int], Array]
"""V, of shape (N_ANGLES, N_VELOCITIES), after a number of steps."""


def step(angle: Array, velocity: Array, torque: Array) -> tuple[Array, Array, Array]:
    """Return reward, next angle and next velocity, as Gymnasium computes them."""
    turned = (angle + np.pi) % (2 * np.pi) - np.pi
    reward = -(turned**2 + 0.1 * velocity**2 + 0.001 * torque**2)
    faster = np.clip(velocity + (15.0 * np.sin(angle) + 3.0 * torque) * DT, -FASTEST, FASTEST)
    return reward, angle + faster * DT, faster


class Bilinear:
    """Values between the points of the lattice.

    :param angle: Angles θ, in radians
    :param velocity: Velocities ω, of the same shape
    """

    def __init__(self, angle: Array, velocity: Array) -> None:
        x = (angle + np.pi) % (2 * np.pi) / (2 * np.pi) * (N_ANGLES - 1)
        y = (velocity + FASTEST) / (2 * FASTEST) * (N_VELOCITIES - 1)
        i = np.minimum(x.astype(np.int64), N_ANGLES - 2)
        j = np.minimum(y.astype(np.int64), N_VELOCITIES - 2)
        self._corner, self._x, self._y = i * N_VELOCITIES + j, x - i, y - j

    def __call__(self, values: Array) -> Array:
        """Return the values there."""
        flat, corner, x, y = values.ravel(), self._corner, self._x, self._y
        low = (1 - y) * flat[corner] + y * flat[corner + 1]
        corner = corner + N_VELOCITIES
        high = (1 - y) * flat[corner] + y * flat[corner + 1]
        return np.asarray((1 - x) * low + x * high)


def backups() -> Callable[[Array, float], Array]:
    """Return the Bellman operator of the lattice, V ↦ max_u [r(s, u) + γ V(s')]."""
    angles = np.linspace(-np.pi, np.pi, N_ANGLES)
    velocities = np.linspace(-FASTEST, FASTEST, N_VELOCITIES)
    angle, velocity = np.meshgrid(angles, velocities, indexing="ij")
    moves = [step(angle, velocity, torque) for torque in TORQUES]
    after = [(reward, Bilinear(theta, omega)) for reward, theta, omega in moves]

    def backup(values: Array, gamma: float) -> Array:
        best = np.full_like(values, -np.inf)
        for reward, at in after:
            np.maximum(best, reward + gamma * at(values), out=best)
        return best

    return backup


def discounted(backup: Callable[[Array, float], Array], gamma: float) -> Values:
    """Return V_γ, which is the same at every step."""
    values, change = np.zeros((N_ANGLES, N_VELOCITIES)), np.inf
    while change > TOLERANCE:
        better = backup(values, gamma)
        values, change = better, float(np.abs(better - values).max())
    return lambda _: values


def undiscounted(backup: Callable[[Array, float], Array]) -> Values:
    """Return V_t of an episode of 200 steps."""
    of_remaining = [np.zeros((N_ANGLES, N_VELOCITIES))]
    for _ in range(STEPS):
        of_remaining.append(backup(of_remaining[-1], 1.0))
    return lambda t: of_remaining[STEPS - t]


def play(values: Values, gamma: float, seed: int) -> float:
    """Return the return of the greedy policy, in Gymnasium's environment.

    :param values: V after a number of steps
    :param gamma: Discount γ
    :param seed: Seed of the episode
    :return: Sum of the rewards, without discount
    """
    env: Any = gymnasium.make("Pendulum-v1")
    env.reset(seed=seed)
    total = 0.0
    for t in range(STEPS):
        angle, velocity = env.unwrapped.state
        reward, theta, omega = step(angle, velocity, FINE_TORQUES)
        q = reward + gamma * Bilinear(theta, omega)(values(t + 1))
        torque = FINE_TORQUES[[np.argmax(q)]].astype(np.float32)
        total += float(env.step(torque)[1])
    return total


def main() -> None:
    """Write the file, and print the mean over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("grid")
    grid = load_grid(parser.parse_args().grid)
    specs = [spec for spec in grid.runs() if spec.environment == "Pendulum-v1"]
    episodes = {spec.seed: spec.config.evaluation_episodes for spec in specs}
    backup = backups()
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["grid", "gamma", "seed", "mean_return"])
        for gamma in (*DISCOUNTS, 1.0):
            values = undiscounted(backup) if gamma == 1.0 else discounted(backup, gamma)
            means = []
            for seed, n in sorted(episodes.items()):
                first = evaluation_seed(seed)
                means.append(np.mean([play(values, gamma, first + k) for k in range(n)]))
                writer.writerow([grid.name, gamma, seed, f"{means[-1]:.1f}"])
            print(f"gamma {gamma}: {np.mean(means):.1f} over {len(means)} seeds", flush=True)


if __name__ == "__main__":
    main()
