"""The policy-gradient family that Stable-Baselines3 leaves out, on Stable-Baselines3's API."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sb3_course.batch_actor_critic import BatchActorCritic
    from sb3_course.envs import make_vec_env
    from sb3_course.imitation import BC as BC
    from sb3_course.imitation import DAgger as DAgger
    from sb3_course.ispg import ISPG
    from sb3_course.loading import load
    from sb3_course.npg import NPG
    from sb3_course.online_actor_critic import OnlineActorCritic
    from sb3_course.reinforce import REINFORCE

    __version__: str

ALGORITHMS = ("REINFORCE", "ISPG", "NPG", "BatchActorCritic", "OnlineActorCritic")
IMITATION = ("BC", "DAgger")
"""Classes left out of ``__all__``, because they need an extra."""

__all__ = [
    "ALGORITHMS",
    "IMITATION",
    "ISPG",
    "NPG",
    "REINFORCE",
    "BatchActorCritic",
    "OnlineActorCritic",
    "__version__",
    "load",
    "make_vec_env",
]

# Found on first use, so that `sb3-course --help` does not wait for torch or the package's metadata.
_MODULES = {
    "BC": "sb3_course.imitation",
    "BatchActorCritic": "sb3_course.batch_actor_critic",
    "DAgger": "sb3_course.imitation",
    "ISPG": "sb3_course.ispg",
    "NPG": "sb3_course.npg",
    "OnlineActorCritic": "sb3_course.online_actor_critic",
    "REINFORCE": "sb3_course.reinforce",
    "load": "sb3_course.loading",
    "make_vec_env": "sb3_course.envs",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sb3-course")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
