"""Small logs as SB3 and RL Zoo write them."""

import json

import numpy as np

ARGUMENTS = """!!python/object/apply:collections.OrderedDict
- - - algo
    - {algo}
  - - env
    - {env}
  - - env_kwargs
    - {env_kwargs}
  - - gym_packages
    - []
  - - seed
    - {seed}
  - - trained_agent
    - '{trained_agent}'
"""
"""RL Zoo's args.yml, shortened."""


def evaluations(folder, steps=(100, 200), returns=((1.0, 3.0), (4.0, 6.0)), **others):
    """Write what ``EvalCallback`` writes; returns the path."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths = others.pop("ep_lengths", np.full(np.shape(returns), 9))
    path = folder / "evaluations.npz"
    np.savez(path, timesteps=steps, results=returns, ep_lengths=lengths, **others)
    return path


def monitor(path, episodes, start=1000.0, env_id="CartPole-v1", end="\n"):
    """Write what ``Monitor`` writes, of episodes (r, l, t)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = "#" + json.dumps({"t_start": start, "env_id": env_id})
    rows = [",".join(map(str, episode)) for episode in episodes]
    path.write_text("\n".join([first, "r,l,t", *rows]) + end)
    return path


def arguments(
    folder, algo="ppo", env="CartPole-v1", seed=7, env_kwargs="null", trained_agent="", config=None
):
    """Write RL Zoo's arguments of a run into its folder, and its hyper-parameters."""
    path = folder / env.rpartition(":")[2].replace("/", "-") / "args.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    given = {"algo": algo, "env": env, "seed": seed}
    given |= {"env_kwargs": env_kwargs, "trained_agent": trained_agent}
    path.write_text(ARGUMENTS.format(**given))
    if config is not None:
        path.with_name("config.yml").write_text(config)
    return path
