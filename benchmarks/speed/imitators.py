"""Contenders that imitate: BC and DAgger, ours and those of ``imitation``.

All have the same task, network, optimizer's settings and demonstrations. A round of DAgger is the
homework's: 1,000 environment steps and 1,000 gradient steps of batches of 100.
"""

import contextlib
import io
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from imitation.algorithms import bc as imitation_bc
from imitation.algorithms.dagger import SimpleDAggerTrainer
from imitation.data.rollout import flatten_trajectories
from imitation.data.types import Transitions
from imitation.util import logger as imitation_logger
from rows import Cell
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from turns import Local

from sb3_course import BC, DAgger, load, make_vec_env
from sb3_course.common.evaluation import evaluation_envs
from sb3_course.imitation import demonstrate, load_expert

BATCH, SMALL_BATCH, RATE, STEPS = 100, 32, 5e-3, 1000
TRANSITIONS = 2000
EXPERTS = Path(__file__).resolve().parents[2] / "results" / "experts"


def contender(name: str, cell: Cell) -> Local:
    """Make the contender of this name."""
    if "BC" in name:
        batch = SMALL_BATCH if name.endswith("32") else BATCH
        return (their_bc if name.startswith("imitation") else our_bc)(cell, batch)
    return (their_dagger if name.startswith("imitation") else our_dagger)(cell)


def one_env(cell: Cell) -> VecEnv:
    """Make the environment in SB3's ``DummyVecEnv``, which both sides take."""
    return make_vec_env(cell.env_id, 1, seed=0, backend="dummy", verbose=0)


def made_up(cell: Cell) -> Transitions:
    """Draw demonstrations: what they show costs nothing, their shapes do."""
    env, random = one_env(cell), np.random.default_rng(0)
    shape = env.observation_space.shape or ()
    obs = random.normal(size=(TRANSITIONS + 1, *shape)).astype(np.float32)
    env.action_space.seed(0)
    acts = np.stack([env.action_space.sample() for _ in range(TRANSITIONS)])
    nothing = np.array([{}] * TRANSITIONS)
    return Transitions(obs[:-1], acts, nothing, obs[1:], np.zeros(TRANSITIONS, dtype=bool))


def our_bc(cell: Cell, batch: int) -> Local:
    """Take gradient steps."""
    env = one_env(cell)
    model = BC("MlpPolicy", env, made_up(cell), RATE, batch, seed=0, device="cpu")

    def learn(steps: int) -> int:
        model.learn(steps * batch)
        return steps

    return Local(learn, batch=100)


def their_bc(cell: Cell, batch: int) -> Local:
    """Take gradient steps."""
    trainer = their_trainer(one_env(cell), made_up(cell), batch)

    def learn(steps: int) -> int:
        trainer.train(n_batches=steps, progress_bar=False)
        return steps

    return Local(silent(learn), batch=100)


def their_trainer(env: VecEnv, demonstrations: Any, batch: int) -> Any:
    """The trainer of ``imitation``, with SB3's network and a logger that keeps quiet."""
    return imitation_bc.BC(
        observation_space=env.observation_space,
        action_space=env.action_space,
        rng=np.random.default_rng(0),
        policy=ActorCriticPolicy(env.observation_space, env.action_space, lambda _: RATE),
        demonstrations=demonstrations,
        batch_size=batch,
        optimizer_kwargs={"lr": RATE},
        custom_logger=imitation_logger.configure(tempfile.mkdtemp(), format_strs=[]),
        device="cpu",
    )


def our_dagger(cell: Cell) -> Local:
    """Take rounds."""
    expert = load_expert(EXPERTS / f"{cell.env_id}.zip")
    model = DAgger(
        "MlpPolicy",
        one_env(cell),
        expert,
        demonstrate(expert, evaluation_envs(cell.env_id, 2), 2, seed=0),
        RATE,
        n_steps=STEPS,
        gradient_steps=STEPS,
        batch_size=BATCH,
        n_eval_episodes=0,
        seed=0,
        device="cpu",
    )
    model.learn(0)

    def learn(rounds: int) -> int:
        model.learn(rounds * STEPS, reset_num_timesteps=False)
        return rounds

    return Local(learn)


def their_dagger(cell: Cell) -> Local:
    """Take rounds, in which the expert acts, so that each has as many steps."""
    env, path = one_env(cell), EXPERTS / f"{cell.env_id}.zip"
    shown = demonstrate(load_expert(path), evaluation_envs(cell.env_id, 2), 2, seed=0)
    acting = load(path, env=one_env(cell), normalize="freeze", device="cpu").policy
    trainer = SimpleDAggerTrainer(
        venv=env,
        scratch_dir=tempfile.mkdtemp(),
        expert_policy=acting,
        expert_trajs=shown,
        rng=np.random.default_rng(0),
        bc_trainer=their_trainer(env, flatten_trajectories(shown), BATCH),
        beta_schedule=lambda number: 1.0,
        custom_logger=imitation_logger.configure(tempfile.mkdtemp(), format_strs=[]),
    )
    train = partial(
        trainer.train,
        STEPS - BATCH,
        rollout_round_min_episodes=1,
        rollout_round_min_timesteps=STEPS - BATCH,
        bc_train_kwargs={"n_batches": STEPS, "progress_bar": False, "log_rollouts_venv": None},
    )

    def learn(rounds: int) -> int:
        for _ in range(rounds):
            train()
        return rounds

    return Local(silent(learn))


def silent(work: Any) -> Any:
    """Run without the lines and progress bars that ``imitation`` prints."""

    def quiet(units: int) -> int:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return int(work(units))

    return quiet
