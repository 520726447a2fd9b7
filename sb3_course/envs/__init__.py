"""Vector environments: EnvPool behind SB3's interface, and one function for every backend.

=====================  ============================================================================
module                 content
=====================  ============================================================================
``make``               ``make_vec_env``: one function for every backend
``backends``           names of the backends
``config``             how an environment is built: arguments, wrappers, stacked frames, time limit
``envpool_vec_env``    EnvPool with the semantics of SB3's ``DummyVecEnv``
``gymnasium_vec_env``  Gymnasium's vector environments with the semantics of ``DummyVecEnv``
``gymnasium_env``      Gymnasium's own environments, without noise
``_envpool_spec``      EnvPool's description of an environment, compared with Gymnasium's
``enumerable``         small MDPs in which every expectation can be computed
``lecture_worlds``     worlds of CS285's lectures and homework
``spaces_only``        two spaces in place of an environment
``dilemmas``           a world in which each mistake of an estimator leads to another decision
=====================  ============================================================================
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sb3_course.envs.config import EnvConfig
    from sb3_course.envs.envpool_vec_env import EnvPoolVecEnv
    from sb3_course.envs.gymnasium_vec_env import GymnasiumVecEnv
    from sb3_course.envs.make import backend_of, make_vec_env

__all__ = ["EnvConfig", "EnvPoolVecEnv", "GymnasiumVecEnv", "backend_of", "make_vec_env"]

# Imported on first use, so that `sb3-course status` does not wait for torch.
_MODULES = {
    "EnvConfig": "config",
    "EnvPoolVecEnv": "envpool_vec_env",
    "GymnasiumVecEnv": "gymnasium_vec_env",
    "backend_of": "make",
    "make_vec_env": "make",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
