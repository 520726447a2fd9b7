r"""Batch, online and parallel actor-critic: learning per environment step and per second.

The online actor-critic updates after every step of its N parallel actors, with the gradient of N
transitions (CS285 lecture 6, "online actor-critic in practice"):

.. math:: \theta \leftarrow \theta + \frac{\alpha}{N} \sum_{n=1}^{N}
    \nabla \log \pi_\theta(a_n|s_n) \left( r_n + \gamma V(s'_n) - V(s_n) \right)

More actors make the gradient of each update less noisy but need more steps for it. Steps of
parallel environments are cheap and updates are not, so what is worse per step may be better per
second. The batch actor-critic uses the same batch size for any N, so that N changes the cost of its
updates by little. It is another estimator, though: with batch / N steps of each actor, GAE is cut
and bootstrapped earlier.

Returns are those of the training episodes themselves, with the noise of the policy. Seconds are
wall-clock seconds of :meth:`learn` on the measuring machine, including the effect of its other
load.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from stable_baselines3.common.callbacks import BaseCallback

from sb3_course import BatchActorCritic, OnlineActorCritic, make_vec_env
from sb3_course.benchmark.reporting.drawing.files import PAGE, style
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from sb3_course.lectures.toolkit import (
    FONT_SCALE,
    Conclusion,
    Note,
    colors,
    curve,
    legend,
    make,
    panel_title,
    silent,
    track,
)

TITLE = "Batch, online and parallel actor-critic"
CLAIM = (
    "Per environment step an online actor-critic learns more with few actors than with many, "
    "because it updates after every step of theirs; per second several learn more than one, as "
    "their steps are cheap and their gradients less noisy. The batch actor-critic, with a constant "
    "batch size, becomes faster as well."
)
EQUATION = (
    r"$\theta \leftarrow \theta + \frac{\alpha}{N} \sum_{n=1}^{N} \nabla \log "
    r"\pi_\theta(a_n|s_n) \left( r_n + \gamma V(s^{\prime}_n) - V(s_n) \right)$"
)
CAPTION = (
    "Return of training episodes against environment steps (left) and wall-clock seconds (right), "
    "for 1 to 64 parallel actors; mean over seeds with 95% bootstrap interval over seeds, at the "
    "mean of the seeds' times. The machine is named at the end of this page; other processes ran "
    "on it at the same time."
)
ONLINE, BATCH = "OnlineActorCritic", "BatchActorCritic"


@dataclass(frozen=True)
class Config:
    """Settings.

    :param seed: Seed of the first run; the others have the following seeds
    :param n_seeds: Number of runs of each kind
    :param environment: Name of the environment
    :param n_actors: Numbers of parallel actors
    :param timesteps: Environment steps of a run, one number for each number of actors
    :param batch: Number of transitions of a batch, a multiple of every number of actors
    :param learning_rate: Learning rate of both policies
    :param critic_learning_rate: Learning rate of both critics
    :param n_records: Number of points of a curve
    """

    seed: int = 0
    n_seeds: int = 4
    environment: str = "CartPole-v1"
    n_actors: tuple[int, ...] = (1, 4, 16, 64)
    timesteps: tuple[int, ...] = (6_000, 20_000, 64_000, 160_000)
    batch: int = 256
    learning_rate: float = 1e-3
    critic_learning_rate: float = 3e-3
    n_records: int = 32


QUICK = Config(n_seeds=2, timesteps=(3_000, 10_000, 32_000, 80_000))


class Record(BaseCallback):
    """Mean return of the episodes that ended in each of equal parts of a run.

    A point is at the middle of its part, in steps and seconds. A part in which no episode ends is
    joined with the next one.

    :param total_timesteps: Environment steps of the run
    :param n_records: Number of points
    """

    def __init__(self, total_timesteps: int, n_records: int) -> None:
        super().__init__()
        self.points: list[tuple[int, float, float, float]] = []
        self._due = np.linspace(0, total_timesteps, n_records + 1)[1:]
        self._passed, self._begun = 0, (0.0, 0.0)
        self._returns: list[float] = []

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        if self.locals["dones"].any():
            self._returns += [info["episode"]["r"] for info in infos if "episode" in info]
        passed = int(np.searchsorted(self._due, self.num_timesteps, side="right"))
        if passed > self._passed and self._returns:
            now = float(self.num_timesteps), time.perf_counter() - self._started
            step, seconds = np.mean([self._begun, now], axis=0).tolist()
            self.points.append((passed, step, seconds, float(np.mean(self._returns))))
            self._passed, self._returns, self._begun = passed, [], now
        return True


def model_of(config: Config, algorithm: str, actors: int, seed: int) -> PolicyGradientAlgorithm:
    """Make a model of one of the two algorithms.

    :param config: Settings
    :param algorithm: :data:`ONLINE` or :data:`BATCH`
    :param actors: Number of actors N
    :param seed: Seed of everything random
    :return: Model
    """
    env = make_vec_env(config.environment, n_envs=actors, seed=seed, verbose=0)
    common = {
        "gamma": 0.99,
        "learning_rate": config.learning_rate,
        "critic_learning_rate": config.critic_learning_rate,
        "policy_kwargs": {"net_arch": [64, 64]},
    }
    if algorithm == ONLINE:
        return make(OnlineActorCritic, env, seed, **common)
    n_steps = config.batch // actors
    return make(BatchActorCritic, env, seed, n_steps=n_steps, normalize_advantage=True, **common)


def measure(config: Config, note: Note = silent) -> pd.DataFrame:
    """Train with each number of actors.

    :param config: Settings
    :param note: Function that is called with the progress
    :return: Table with ``algorithm, actors, seed, record, step, seconds, value``
    :raises ValueError: A number of actors does not divide the batch
    """
    if any(config.batch % actors for actors in config.n_actors):
        raise ValueError(f"n_actors: given {config.n_actors}; allowed: divisors of {config.batch}")
    rows = []
    runs = [
        (algorithm, actors, timesteps, seed)
        for seed in range(config.seed, config.seed + config.n_seeds)
        for algorithm in (ONLINE, BATCH)
        for actors, timesteps in zip(config.n_actors, config.timesteps, strict=True)
    ]
    described = track(runs, note, lambda run: f"{run[0]}, {run[1]} actors, seed {run[3]}")
    for algorithm, actors, timesteps, seed in described:
        model = model_of(config, algorithm, actors, seed)
        record = Record(timesteps, config.n_records)
        model.learn(timesteps, record)
        assert model.env is not None
        model.env.close()
        rows += [(algorithm, actors, seed, *point) for point in record.points]
    names = ["algorithm", "actors", "seed", "record", "step", "seconds", "value"]
    return pd.DataFrame(rows, columns=names)


def with_mean_seconds(table: pd.DataFrame) -> pd.DataFrame:
    """Interpolate points without an ended episode, and average each point's seconds over seeds.

    Points missing inside a run are interpolated linearly. Points that some run lacks at its ends
    are left out, so means over seeds always include all seeds.

    :param table: Table of :func:`measure`
    :return: Table with one row per run and point
    """
    run = ["algorithm", "actors", "seed"]
    runs = []
    for _, points in table.groupby(run):
        every = range(points["record"].min(), points["record"].max() + 1)
        points = points.set_index("record").reindex(every)
        numbers = ["step", "seconds", "value"]
        points[numbers] = points[numbers].interpolate(method="index")
        runs.append(points.assign(**points[run].ffill()).reset_index(names="record"))
    filled = pd.concat(runs, ignore_index=True).astype({"actors": int, "seed": int})
    groups = filled.groupby(["algorithm", "actors", "record"])["seconds"]
    of_all = groups.transform("size") == table["seed"].nunique()
    return filled.assign(seconds=groups.transform("mean"))[of_all]


def draw(table: pd.DataFrame) -> Figure:
    """Draw returns against steps and against seconds.

    :param table: Table of :func:`measure`
    :return: Figure
    """
    actors = sorted(table["actors"].unique())
    palette = colors([f"{n} actor{'s' if n > 1 else ''}" for n in actors])
    shades = dict(zip(actors, palette.values(), strict=True))
    with style(FONT_SCALE):
        figure = Figure(figsize=(PAGE, 4.6), layout="constrained")
        panels = figure.subplots(2, 2, sharey=True, sharex="col")
        for row, algorithm in zip(panels, (ONLINE, BATCH), strict=True):
            part = with_mean_seconds(table[table["algorithm"] == algorithm])
            for axes, x in zip(row, ("step", "seconds"), strict=True):
                curve(axes, part, x, "value", hue="actors", hue_order=actors, palette=shades)
                axes.set(xscale="log", xlabel="", ylabel="Training return")
            panel_title(row[0], algorithm)
        panels[1][0].set_xlabel("Environment steps")
        panels[1][1].set_xlabel("Seconds")
        legend(figure, palette, 4)
    return figure


def at(table: pd.DataFrame, x: str, algorithm: str) -> tuple["pd.Series[float]", float]:
    """Compute each number of actors' mean return at the largest x that all of them reached.

    :param table: Table of :func:`measure`
    :param x: Column, ``"step"`` or ``"seconds"``
    :param algorithm: Algorithm
    :return: Mean return by number of actors, and that x
    """
    part = with_mean_seconds(table[table["algorithm"] == algorithm])
    mean = part.groupby(["actors", "record"])[[x, "value"]].mean()
    common = mean[x].groupby("actors").max().min()
    found = {
        n: float(np.interp(common, mean.loc[n, x], mean.loc[n, "value"]))
        for n in mean.index.unique("actors")
    }
    return pd.Series(found), float(common)


def conclude(table: pd.DataFrame) -> Conclusion:
    """Conclude which number of actors is best, per step and per second.

    :param table: Table of :func:`measure`
    :return: Sentence, whether the claim holds, and its numbers
    """
    per_step, steps = at(table, "step", ONLINE)
    per_second, _ = at(table, "seconds", ONLINE)
    batch, _ = at(table, "seconds", BATCH)
    batch_per_step, batch_steps = at(table, "step", BATCH)
    few, many = per_step.index.min(), per_step.index.max()
    last = table.loc[table.groupby(["algorithm", "actors", "seed"])["record"].idxmax()]
    speed = (last["step"] / last["seconds"]).groupby([last["algorithm"], last["actors"]]).mean()
    best = per_second.idxmax()
    return Conclusion(
        f"After the same {steps:,.0f} environment steps the return of the online actor-critic is "
        f"{per_step[few]:.0f} with {few} actor and {per_step[many]:.0f} with {many} actors; after "
        f"the same time it is {per_second[few]:.0f} with {few}, {per_second[many]:.0f} with {many} "
        f"and highest ({per_second[best]:.0f}) with {best}. It takes {speed[ONLINE, few]:,.0f} "
        f"steps per second with {few} actor and {speed[ONLINE, many]:,.0f} with {many}; the batch "
        f"actor-critic takes {speed[BATCH, few]:,.0f} and {speed[BATCH, many]:,.0f}, and after "
        f"{batch_steps:,.0f} steps, with GAE cut earlier the more there are, its return is "
        f"{batch_per_step[few]:.0f} and {batch_per_step[many]:.0f}.",
        bool(
            per_step[few] > per_step[many]
            and best != few
            and all(speed[name, many] > speed[name, few] for name in (ONLINE, BATCH))
        ),
        {
            **{f"return at equal steps, {n} actors": v for n, v in per_step.items()},
            **{f"return at equal seconds, {n} actors": v for n, v in per_second.items()},
            **{f"batch: return at equal steps, {n} actors": v for n, v in batch_per_step.items()},
            **{f"batch: return at equal seconds, {n} actors": v for n, v in batch.items()},
            **{
                f"steps per second, {algorithm}, {n} actors": float(speed[algorithm, n])
                for algorithm in (ONLINE, BATCH)
                for n in per_step.index
            },
        },
    )
