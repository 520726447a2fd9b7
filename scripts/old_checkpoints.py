"""Save a small model of every class, which later versions must load: ``tests/data``.

Run it with the code of the version whose files are wanted:

    PYTHONPATH=CHECKOUT python scripts/old_checkpoints.py tests/data/checkpoints_X_Y_Z

Beside each file stands what the model does there and then (``expected.json``): its actions, its
normalized observations, and its actions after more training. Any version of the package since all
classes have their names can run this file, which therefore uses nothing but them.
"""

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import sb3_course
from sb3_course.imitation import BC, DAgger

ENV = "Pendulum-v1"
SHARED: dict[str, Any] = {"seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [4]}}
STEPS = 64
"""Environment steps before the file is saved, and as many after."""
OBSERVATIONS = np.random.default_rng(0).uniform(-1, 1, (6, 3)).astype(np.float32)
DEMONSTRATIONS = {
    "obs": np.repeat(OBSERVATIONS, 8, 0),
    "acts": np.repeat(OBSERVATIONS, 8, 0)[:, :1],
}


def swing(obs: np.ndarray) -> np.ndarray:
    """Push with the pendulum's motion, as an expert that needs no file."""
    return 2 * np.sign(obs[:, 2:])


MODELS: dict[str, dict[str, Any]] = {
    "REINFORCE": {"n_steps": 16, "baseline": "value"},
    "ISPG": {"n_steps": 16, "n_batches": 2, "ratio": "step"},
    "NPG": {"n_steps": 16, "target_kl": 0.02},
    "BatchActorCritic": {"n_steps": 16, "critic_target": "gae"},
    "OnlineActorCritic": {},
    "BC": {"demonstrations": DEMONSTRATIONS, "batch_size": 16},
    "DAgger": {
        "expert": swing,
        "demonstrations": DEMONSTRATIONS,
        "n_steps": 16,
        "gradient_steps": 4,
        "batch_size": 16,
    },
}


def made(name: str) -> Any:
    """Return a trained model of a class.

    :param name: Name of the class
    :return: Model in a normalized environment, whose episodes have 200 steps
    """
    cls = {"BC": BC, "DAgger": DAgger}.get(name) or getattr(sb3_course, name)
    env = VecNormalize(make_vec_env(ENV, seed=0))
    return cls("MlpPolicy", env, **MODELS[name], **SHARED).learn(STEPS)


def behavior(model: Any) -> list[list[float]]:
    """Return the actions of a model on :data:`OBSERVATIONS`, without chance."""
    actions: list[list[float]] = model.predict(OBSERVATIONS, deterministic=True)[0].tolist()
    return actions


def main(folder: Path) -> None:
    """Save one file of each class, and what is expected of it."""
    folder.mkdir(parents=True, exist_ok=True)
    platform.platform = lambda *_: platform.system()  # SB3 would store the name of the kernel
    expected: dict[str, Any] = {"observations": OBSERVATIONS.tolist(), "models": {}}
    for name in MODELS:
        model = made(name)
        model.save(folder / f"{name}.zip")
        facts = {
            "actions": behavior(model),
            "num_timesteps": model.num_timesteps,
            "normalized": model.get_vec_normalize_env().normalize_obs(OBSERVATIONS).tolist(),
        }
        model.learn(STEPS, reset_num_timesteps=False)
        expected["models"][name] = {**facts, "actions_later": behavior(model)}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
