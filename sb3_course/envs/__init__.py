"""Vector environments: EnvPool behind SB3's interface, and one function for every backend.

====================  ==========================================================================
module                its one idea
====================  ==========================================================================
``make``              ``make_vec_env``: one way to make a vector environment
``backends``          the names of what steps environments
``envpool_vec_env``   EnvPool with the semantics of SB3's ``DummyVecEnv``
``enumerable``        small worlds in which every expectation can be computed
``spaces_only``       spaces without an environment
====================  ==========================================================================
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sb3_course.envs.envpool_vec_env import EnvPoolVecEnv
    from sb3_course.envs.make import backend_of, make_vec_env

__all__ = ["EnvPoolVecEnv", "backend_of", "make_vec_env"]

# Resolved on first use: `sb3-course status` does not wait for torch.
_MODULES = {"EnvPoolVecEnv": "envpool_vec_env", "backend_of": "make", "make_vec_env": "make"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
