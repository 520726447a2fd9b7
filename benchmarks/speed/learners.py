"""Contenders that step environments: our classes, SB3's and sb3-contrib's, and the bound."""

import copy
from math import ceil
from typing import Any

from rows import Cell
from sb3_contrib import TRPO
from stable_baselines3 import A2C
from turns import Local

from sb3_course import ISPG, NPG, REINFORCE, BatchActorCritic, OnlineActorCritic, make_vec_env
from sb3_course.collection.observations import compact, map_obs
from sb3_course.common.networks.actors import make_actor

BATCH = 4096
"""Environment steps in a batch of a fixed number of steps, however many environments share them."""
EPISODE_STEPS = 1000
"""Steps of each environment during which episodes start, for a batch of whole episodes."""
ONLINE_STEPS = 200
"""Steps of each environment in the shortest turn of what updates every few steps."""

WHOLE = {"n_steps": EPISODE_STEPS}
KEPT = {"n_batches": 16, "min_ess": 0.0, "learning_rate": 1e-6, **WHOLE}
"""Sixteen batches, none of which is dropped: weights stay near 1, which changes no cost."""


def contender(name: str, cell: Cell) -> Local:
    """Make the contender of this name."""
    if name == "bound":
        return bound(cell)
    online = ONLINE_STEPS * cell.n_envs
    fixed = {"n_steps": max(1, BATCH // cell.n_envs)}
    equal = {"cg_max_steps": 10, "n_critic_updates": 10, **fixed}
    whole = EPISODE_STEPS * cell.n_envs
    table: dict[str, tuple[Any, int, dict[str, Any]]] = {
        "REINFORCE, no baseline": (REINFORCE, whole, {"baseline": None, **WHOLE}),
        "REINFORCE, value baseline": (REINFORCE, whole, {"baseline": "value", **WHOLE}),
        "REINFORCE, optimal baseline": (REINFORCE, whole, {"baseline": "optimal", **WHOLE}),
        "ISPG": (ISPG, whole, WHOLE),
        "ISPG, 16 batches": (ISPG, whole, KEPT),
        "ISPG, 16 batches, balance heuristic": (ISPG, whole, {"balance_heuristic": True, **KEPT}),
        "NPG": (NPG, BATCH, equal),
        "sb3-contrib's TRPO": (TRPO, BATCH, {"batch_size": BATCH, **equal}),
        "BatchActorCritic": (BatchActorCritic, BATCH, fixed),
        "BatchActorCritic, 1 critic step": (
            BatchActorCritic,
            BATCH,
            {"n_critic_updates": 1, **fixed},
        ),
        "BatchActorCritic, 5 steps, 1 critic step": (
            BatchActorCritic,
            online,
            {"n_critic_updates": 1, "n_steps": 5},
        ),
        "SB3's A2C, same batch": (A2C, BATCH, fixed),
        "OnlineActorCritic": (OnlineActorCritic, online, {}),
        "SB3's A2C": (A2C, online, {"n_steps": 5}),
    }
    algorithm, batch, settings = table[name]
    made = learner(cell, algorithm, settings, batch)
    for _ in range(settings.get("n_batches", 1) - 1):
        made.turn(batch)
    return made


def learner(cell: Cell, algorithm: Any, settings: dict[str, Any], batch: int) -> Local:
    """Learn, in each turn from the same policy, so that no contender has longer episodes."""
    env = make_vec_env(cell.env_id, cell.n_envs, seed=0, backend=cell.backend, verbose=0)
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **settings)
    first = copy.deepcopy(model.policy.state_dict())

    def learn(steps: int) -> int:
        before = model.num_timesteps
        model.learn(steps, reset_num_timesteps=False)
        return int(model.num_timesteps - before)

    return Local(learn, batch, lambda: model.policy.load_state_dict(first) and None)


def bound(cell: Cell) -> Local:
    """Step the same environments by the policy's forward pass: sampled actions, no learning."""
    env = make_vec_env(cell.env_id, cell.n_envs, seed=0, backend=cell.backend, verbose=0)
    model = REINFORCE("MlpPolicy", env, seed=0, device="cpu")
    latest = [env.reset()]

    def step(steps: int) -> int:
        count, obs = ceil(steps / cell.n_envs), latest[0]
        actor = make_actor(model.policy, model.actor_parameters, model.actor_optimizer)
        for _ in range(count):
            _, actions = model.clip_actions(actor.sample(model.to_tensor(map_obs(compact, obs))))
            obs, _, _, _ = env.step(actions)
        latest[0] = obs
        return count * cell.n_envs

    return Local(step, ONLINE_STEPS * cell.n_envs)
