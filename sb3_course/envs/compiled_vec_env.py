"""Base class of vector environments that run outside of Python."""

from collections.abc import Sequence
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices

_USE_DUMMY = 'use make_vec_env(..., backend="dummy") for that'


class CompiledVecEnv(VecEnv):
    """Vector environment whose environments are C++ objects, out of Python's reach.

    It reads the few attributes that SB3 asks for. Other attributes, method calls, reset options
    and rendering raise an error that names the backend which supports them.

    Subclasses set ``spec`` before they call the constructor, and implement :meth:`reset`,
    :meth:`step_async`, :meth:`step_wait` and :meth:`close`.
    """

    spec: Any

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the environments.

        :param attr_name: ``observation_space``, ``action_space``, ``spec`` or ``render_mode``
        :param indices: Indices of the environments, or None for all
        :return: Value of the attribute, once for each selected environment
        :raises AttributeError: If the attribute is any other
        """
        known = {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "spec": self.spec,
            "render_mode": None,
        }
        if attr_name not in known:
            raise AttributeError(
                f"EnvPool's environments live in C++ and have no attribute {attr_name!r}, only "
                f"{', '.join(known)}: {_USE_DUMMY}"
            )
        return [known[attr_name] for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> NoReturn:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError(f"cannot set {attr_name!r} in EnvPool's C++: {_USE_DUMMY}")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> NoReturn:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError(f"cannot call {method_name!r} in EnvPool's C++: {_USE_DUMMY}")

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return whether the environments do what a wrapper would do.

        There are no Python wrappers inside. ``evaluate_policy`` asks for ``Monitor`` to learn
        whether ``infos[i]["episode"]`` holds an episode's raw return and length, and here it does.

        :param wrapper_class: Gymnasium wrapper
        :param indices: Indices of the environments, or None for all
        :return: True for ``Monitor`` and False for any other wrapper, once for each environment
        """
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Check that there are no reset options, which EnvPool does not have.

        :param options: None, an empty dict, or a list of empty dicts
        :raises NotImplementedError: If there are options
        """
        if any(options) if isinstance(options, list) else options:
            raise NotImplementedError(f"EnvPool has no reset options: {_USE_DUMMY}")

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError(f"EnvPool's environments return no images: {_USE_DUMMY}")

    def render(self, mode: str | None = None) -> NoReturn:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError(f"EnvPool's environments do not render: {_USE_DUMMY}")
