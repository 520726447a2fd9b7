"""BC and DAgger beside ``imitation``'s own trainers: gradient steps a second, seconds a round.

All are given the same task, network, optimizer's settings and demonstrations, and one torch thread.
They take turns in this one process, since a machine's speed drifts; the table holds medians. A
round is what the homework's is: 1,000 environment steps and 1,000 gradient steps of 100.

    python benchmarks/speed/imitation_speed.py
    python benchmarks/speed/imitation_speed.py --turns 3 --out ''
"""

import contextlib
import io
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch as th
import typer
from imitation.algorithms import bc as imitation_bc
from imitation.algorithms.dagger import SimpleDAggerTrainer
from imitation.data.rollout import flatten_trajectories
from imitation.util import logger as imitation_logger
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from sb3_course import BC, DAgger, load
from sb3_course.benchmark.storage.provenance import machine, versions
from sb3_course.common.evaluation import evaluation_envs
from sb3_course.common.files import write_whole
from sb3_course.imitation import demonstrate, load_expert

ENV_ID, BATCH, STEPS, RATE = "Walker2d-v4", 100, 1000, 5e-3
RESULTS = Path(__file__).resolve().parents[2] / "results"
EXPERT = RESULTS / "experts" / f"{ENV_ID}.zip"


def policy_for(env: VecEnv) -> ActorCriticPolicy:
    """The network that SB3 makes, for those who do not."""
    return ActorCriticPolicy(env.observation_space, env.action_space, lambda _: RATE)


def their_bc(env: VecEnv, demonstrations: Any) -> Any:
    """The trainer of ``imitation``, with a logger that keeps quiet."""
    return imitation_bc.BC(
        observation_space=env.observation_space,
        action_space=env.action_space,
        rng=np.random.default_rng(0),
        policy=policy_for(env),
        demonstrations=demonstrations,
        batch_size=BATCH,
        optimizer_kwargs={"lr": RATE},
        custom_logger=imitation_logger.configure(tempfile.mkdtemp(), format_strs=[]),
        device="cpu",
    )


def bc_contenders(demonstrations: Any) -> dict[str, Callable[[], None]]:
    """What takes STEPS gradient steps."""
    env = make_vec_env(ENV_ID, 1, seed=0)
    ours = BC("MlpPolicy", env, demonstrations, RATE, BATCH, seed=0, device="cpu")
    theirs = their_bc(env, flatten_trajectories(demonstrations))
    return {
        "sb3_course": lambda: ours.learn(STEPS * BATCH) and None,
        "imitation": lambda: theirs.train(n_batches=STEPS, progress_bar=False),
    }


def dagger_contenders(demonstrations: Any) -> dict[str, Callable[[], None]]:
    """What takes STEPS environment steps and STEPS gradient steps, again and again."""
    env = make_vec_env(ENV_ID, 1, seed=0)
    ours = DAgger(
        "MlpPolicy",
        env,
        load_expert(EXPERT),
        demonstrations,
        RATE,
        n_steps=STEPS,
        gradient_steps=STEPS,
        batch_size=BATCH,
        n_eval_episodes=0,
        seed=0,
        device="cpu",
    )
    ours.learn(0)
    their_env = make_vec_env(ENV_ID, 1, seed=0)
    expert = load(EXPERT, env=make_vec_env(ENV_ID, 1), normalize="freeze", device="cpu").policy
    theirs = SimpleDAggerTrainer(
        venv=their_env,
        scratch_dir=tempfile.mkdtemp(),
        expert_policy=expert,
        expert_trajs=demonstrations,
        rng=np.random.default_rng(0),
        bc_trainer=their_bc(their_env, flatten_trajectories(demonstrations)),
        beta_schedule=lambda number: 1.0,  # the expert acts, so that a round has STEPS steps
        custom_logger=imitation_logger.configure(tempfile.mkdtemp(), format_strs=[]),
    )
    settings = {"n_batches": STEPS, "progress_bar": False, "log_rollouts_venv": None}

    def their_round() -> None:
        theirs.train(
            STEPS - BATCH,
            rollout_round_min_episodes=1,
            rollout_round_min_timesteps=STEPS - BATCH,
            bc_train_kwargs=settings,
        )

    return {
        "sb3_course": lambda: ours.learn(STEPS, reset_num_timesteps=False) and None,
        "imitation": their_round,
    }


def measure(contenders: dict[str, Callable[[], None]], turns: int) -> dict[str, list[float]]:
    """Time all of them in turns, after one turn that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns + 1):
        for name, work in contenders.items():
            started = time.perf_counter()
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                work()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def main(
    turns: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = 5,
    out: Annotated[str, typer.Option(help="Folder; '' to print alone.")] = str(RESULTS),
) -> None:
    """Measure, print and keep."""
    warnings.filterwarnings("ignore")
    th.set_num_threads(1)
    expert = load_expert(EXPERT)
    demonstrations = demonstrate(expert, evaluation_envs(ENV_ID, 2), 2, seed=0)
    steps = measure(bc_contenders(demonstrations), turns)
    rounds = measure(dagger_contenders(demonstrations), turns)
    lines = ["| | BC, gradient steps/s | x | a DAgger round, s | x |", "|---|---|---|---|---|"]
    for name in steps:
        fast, round_ = STEPS / median(steps[name]), median(rounds[name])
        lines.append(
            f"| {name} | {fast:,.0f} | {median(steps['imitation']) / median(steps[name]):.1f} "
            f"| {round_:.2f} | {median(rounds['imitation']) / round_:.1f} |"
        )
    text = "\n".join(lines)
    print(text)
    if out:
        facts = {"seconds": {"bc": steps, "dagger": rounds}, "turns": turns}
        facts |= {"environment": ENV_ID, "versions": versions(), "machine": machine()}
        write_whole(Path(out) / "imitation_speed.json", json.dumps(facts, indent=1) + "\n")
        heading = (
            f"{ENV_ID}, batches of {BATCH}, one torch thread, medians of {turns} turns, taken "
            "alternately in one process by `python benchmarks/speed/imitation_speed.py`:\n\n"
        )
        write_whole(Path(out) / "imitation_speed.md", heading + text + "\n")


if __name__ == "__main__":
    typer.run(main)
