"""What return can be had on Acrobot? Actions that are found by search, from a grid's starts.

`python benchmarks/tuning/acrobot_bound.py benchmarks/classic.yaml` searches Acrobot-v1, whose
steps are deterministic, without learning: from each start where a seed of the grid is evaluated,
all three torques are tried in the most energetic of the states that were reached, one in each cell
of a lattice,

    B_{t+1} = the 2,000 of most energy among {f(s, u) : s in B_t, u in {-1, 0, 1}},

until one of them is above the line. The actions that led there are then played in Gymnasium's own
environment, whose return is written to `results/tuning_acrobot_bound/bound.csv`: a row with the
mean of each seed. The best policy returns that much or more, since the search may miss a quicker
way: on six starts one of 20,000 states in cells of half the width was shorter by 0.3 on average.
It takes half a minute.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.common.evaluation import evaluation_seed

FILE = Path("results/tuning_acrobot_bound/bound.csv")
DT, GRAVITY = 0.2, 9.8
FASTEST = np.array([[4 * np.pi], [9 * np.pi]])
KEPT = 2_000
CELL = np.array([[0.1], [0.1], [0.2], [0.4]])
"""Width of a cell in both angles (radians) and both velocities (radians per second)."""
LONGEST = 200

Array = NDArray[np.float64]
"""States (θ₁, θ₂, ω₁, ω₂), of shape (4, N)."""


def derivative(state: Array, torque: Array) -> Array:
    """Return the time derivative of states: links of mass, length and inertia 1."""
    angle, bend, omega, bending = state
    inertia = 3.5 + np.cos(bend)
    coupling = 1.25 + 0.5 * np.cos(bend)
    lower = 0.5 * GRAVITY * np.sin(angle + bend)
    upper = 1.5 * GRAVITY * np.sin(angle) + lower
    upper -= 0.5 * np.sin(bend) * bending * (bending + 2 * omega)
    push = torque + coupling / inertia * upper - 0.5 * omega**2 * np.sin(bend) - lower
    faster = push / (1.25 - coupling**2 / inertia)
    return np.stack([omega, bending, -(coupling * faster + upper) / inertia, faster])


def step(state: Array, torque: Array) -> Array:
    """Return the next states, by one Runge-Kutta step as in Gymnasium."""
    k1 = derivative(state, torque)
    k2 = derivative(state + DT / 2 * k1, torque)
    k3 = derivative(state + DT / 2 * k2, torque)
    k4 = derivative(state + DT * k3, torque)
    after = state + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    after[:2] = (after[:2] + np.pi) % (2 * np.pi) - np.pi
    after[2:] = np.clip(after[2:], -FASTEST, FASTEST)
    return after


def height(state: Array) -> Array:
    """Return the height of the tip; an episode ends above 1."""
    return np.asarray(-np.cos(state[0]) - np.cos(state[0] + state[1]))


def energy(state: Array) -> Array:
    """Return kinetic and potential energy."""
    angle, bend, omega, bending = state
    both = omega + bending
    kinetic = 0.625 * omega**2 + 0.5 * omega**2 + 0.625 * both**2
    kinetic += 0.5 * omega * both * np.cos(bend)
    return np.asarray(kinetic - GRAVITY * (1.5 * np.cos(angle) + 0.5 * np.cos(angle + bend)))


def search(start: Array) -> list[int]:
    """Return actions 0, 1 or 2 that lead from a start of shape (4,) above the line."""
    states, came = start[:, None], []
    for _ in range(LONGEST):
        n = states.shape[1]
        after = step(np.tile(states, 3), np.repeat([-1.0, 0.0, 1.0], n))
        above = np.flatnonzero(height(after) > 1)
        if len(above):
            came.append(above[:1])
            break
        order = np.argsort(-energy(after))
        cells = np.floor(after[:, order] / CELL).astype(np.int64)
        firsts = np.sort(np.unique(cells, axis=1, return_index=True)[1])
        came.append(order[firsts[:KEPT]])
        states = after[:, came[-1]]
    else:
        raise RuntimeError(f"no way up in {LONGEST} steps")
    actions, place = [], 0
    for t in reversed(range(len(came))):  # a child is number (action, parent) of 3 x n
        n = len(came[t - 1]) if t else 1
        action, place = divmod(int(came[t][place]), n)
        actions.append(action)
    return actions[::-1]


def play(seed: int) -> float:
    """Return the return of the actions that are found, in Gymnasium's environment."""
    env: Any = gymnasium.make("Acrobot-v1")
    env.reset(seed=seed)
    total, terminated = 0.0, False
    for action in search(np.array(env.unwrapped.state, np.float64)):
        _, reward, terminated, _, _ = env.step(action)
        total += float(reward)
    if not terminated:
        raise RuntimeError(f"the actions for seed {seed} do not lead above the line")
    return total


def main() -> None:
    """Write the file, and print the mean over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("grid")
    grid = load_grid(parser.parse_args().grid)
    specs = [spec for spec in grid.runs() if spec.environment == "Acrobot-v1"]
    episodes = {spec.seed: spec.config.evaluation_episodes for spec in specs}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    means = []
    with FILE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["grid", "seed", "mean_return"])
        for seed, n in sorted(episodes.items()):
            first = evaluation_seed(seed)
            means.append(np.mean([play(first + k) for k in range(n)]))
            writer.writerow([grid.name, seed, f"{means[-1]:.1f}"])
    print(f"{np.mean(means):.1f} over {len(means)} seeds")


if __name__ == "__main__":
    main()
