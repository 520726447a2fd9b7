"""What BC, DAgger and the policy gradients share: policy, optimizers, tensors, files."""

import io
import tempfile
import warnings
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage, unwrap_vec_normalize
from torch import nn

from sb3_course.collection.images import AddedTranspose
from sb3_course.collection.observations import Array
from sb3_course.common import checkpoint
from sb3_course.common.optimization import fitting_states
from sb3_course.common.validation import scheduled
from sb3_course.envs.gymnasium_env import make_drawable_env
from sb3_course.envs.gymnasium_vec_env import GymnasiumVecEnv

Self = TypeVar("Self", bound="CourseAlgorithm")


def given_env(env: Any, verbose: int) -> GymEnv:
    """Return the environment that a user means.

    :param env: Environment, raw or vectorized by SB3 or by Gymnasium, or a Gymnasium id
    :param verbose: Verbosity, as in SB3
    :return: Environment as SB3 takes it
    :raises ValueError: It is none of these
    """
    made: GymEnv = env
    if isinstance(env, str):
        if verbose >= 1:
            print(f"Creating environment from the given name '{env}'")
        made = make_drawable_env(env)
    elif isinstance(env, VectorEnv):
        made = GymnasiumVecEnv(env)
    if not (hasattr(made, "observation_space") and hasattr(made, "action_space")):
        hint = ", which has to be called first" if callable(env) else ""
        raise ValueError(
            f"env must be an environment, raw or vectorized, or a Gymnasium id, got {env!r}{hint}"
        )
    return made


UNUSED = ("forward", "evaluate_actions", "extract_features")
"""Methods of SB3's policies that this package does not call."""


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # a callback has written to it
        folder.rmdir()


def overrides(policy_class: type[BasePolicy], name: str) -> bool:
    """Return whether a policy has a method of its own in place of SB3's.

    :param policy_class: Class of the policy
    :param name: Name of the method
    :return: Whether it overrides it
    """
    return getattr(policy_class, name) is not getattr(ActorCriticPolicy, name)


class CourseAlgorithm(BaseAlgorithm):
    """An SB3 algorithm with an actor-critic policy that saves everything to one file."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": ActorCriticPolicy,
        "CnnPolicy": ActorCriticCnnPolicy,
        "MultiInputPolicy": MultiInputActorCriticPolicy,
    }
    policy: ActorCriticPolicy
    _normalization: dict[str, Any] | None = None
    """Normalization in the file of a model that was loaded without an environment."""

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        given = given_env(env, verbose)
        venv = BaseAlgorithm._wrap_env(given, verbose, monitor_wrapper)
        if venv is not given and isinstance(venv, VecTransposeImage):
            venv = AddedTranspose(venv.venv)
        outer = unwrap_vec_normalize(venv)
        if outer is not None and unwrap_vec_normalize(outer.venv) is not None:
            warnings.warn(
                "of two VecNormalize a file holds the outer one's statistics alone: use one, which "
                "normalizes both observations and rewards",
                stacklevel=4,
            )
        return venv

    def _check_policy(self) -> None:
        given: Any = self.policy_class
        if not (isinstance(given, type) and issubclass(given, ActorCriticPolicy)):
            name = given.__name__ if isinstance(given, type) else f"{type(given).__name__} object"
            raise ValueError(
                f"policy must be one of {', '.join(self.policy_aliases)} or a subclass of "
                f"ActorCriticPolicy, got {name}"
            )
        if given is MultiInputActorCriticPolicy and not (
            isinstance(self.observation_space, spaces.Dict)
            or "features_extractor_class" in (self.policy_kwargs or {})
        ):
            raise ValueError(
                f"MultiInputPolicy is for Dict observations, these are {self.observation_space}; "
                "use MlpPolicy, or CnnPolicy for images"
            )
        if not isinstance(self.policy_kwargs, Mapping):
            raise ValueError(f"policy_kwargs must be a dict, got {self.policy_kwargs!r}")
        if self.policy_kwargs.get("use_sde"):
            raise ValueError("policy_kwargs: use_sde is not supported")
        unused = [name for name in UNUSED if overrides(self.policy_class, name)]
        if unused and not overrides(self.policy_class, "get_distribution"):
            warnings.warn(
                f"{self.policy_class.__name__} overrides {' and '.join(unused)}, which nothing "
                "here calls: π is get_distribution(), V is predict_values(); override these",
                stacklevel=4,
            )

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """Compute the remaining progress, which is 0, not negative, beyond the end."""
        done = num_timesteps / total_timesteps if total_timesteps > 0 else 1.0
        self._current_progress_remaining = max(0.0, 1.0 - done)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        """Prepare as SB3 does; the folder of a logger without files goes with the logger."""
        checkpoint.keep_frozen(self._checked_env())
        checkpoint.remember_env(self)
        prepared = super()._setup_learn(*args, **kwargs)
        folder = Path(self.logger.get_dir() or ".")
        dated = folder.name.startswith("SB3-") and folder.parent == Path(tempfile.gettempdir())
        if dated and not self._custom_logger:
            weakref.finalize(self.logger, _remove_empty, folder)
        return prepared

    def _checked_env(self) -> VecEnv:
        if self.env is None:
            raise ValueError(
                "the model has no environment to learn in: pass one to load(), as in "
                f"{type(self).__name__}.load(path, env=env), or to set_env()"
            )
        return self.env

    def _convert_number(self, name: str) -> None:
        """Make a NumPy number among the attributes one of Python, which is all that SB3 takes."""
        if isinstance(value := getattr(self, name), np.number):
            setattr(self, name, value.item())

    def _setup_lr_schedule(self) -> None:
        self._convert_number("learning_rate")
        super()._setup_lr_schedule()
        scheduled("learning_rate", self.lr_schedule, 1.0)

    def _make_policy(self) -> None:
        policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )
        assert isinstance(policy, ActorCriticPolicy), "_check_policy() has checked it"
        if policy.use_sde:  # by a class of one's own
            raise ValueError(f"{type(policy).__name__}: use_sde is not supported")
        self.policy = policy.to(self.device)

    def _optimizer(self, parameters: list[nn.Parameter], rate: Schedule) -> th.optim.Optimizer:
        kwargs: dict[str, Any] = {"lr": rate(1.0)} | self.policy.optimizer_kwargs
        adam = self.policy.optimizer_class in (th.optim.Adam, th.optim.AdamW)
        if adam and not {"foreach", "differentiable"} & kwargs.keys():
            kwargs = {"fused": True} | kwargs  # a third of the time on small networks
        groups: Any = parameters or [{"params": parameters}]  # a value may have none
        return self.policy.optimizer_class(groups, **kwargs)

    def to_tensor(self, values: Any) -> Any:
        """Convert arrays to tensors on the algorithm's device; floats become float32.

        :param values: Array or dict of arrays
        :return: Tensor or dict of tensors
        """
        if isinstance(values, dict):
            return {key: self.to_tensor(value) for key, value in values.items()}
        if values.dtype.kind == "f" and values.dtype != np.float32:
            values = values.astype(np.float32)
        return th.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def after_step(
        self, callback: BaseCallback, step_locals: dict[str, Any], statistics: bool = True
    ) -> bool:
        """Count a vector step, record the episodes that it ended, and call the callback.

        :param callback: Callback of ``learn``, which gets ``step_locals``
        :param step_locals: SB3's local variables, and ``running``: environments whose steps count
        :param statistics: Whether the episodes go into the window that is logged
        :return: Whether to continue
        """
        self.num_timesteps += self.n_envs
        callback.update_locals(step_locals)
        if statistics and step_locals["dones"].any():
            ended = np.flatnonzero(step_locals["dones"] & step_locals["running"])
            infos = [step_locals["infos"][n] for n in ended]
            self._update_info_buffer(infos, np.ones(len(ended), dtype=bool))
        return callback.on_step()

    def clip_actions(self, sampled: th.Tensor) -> tuple[Array, Array]:
        """Return sampled actions as an array, and clipped to the action space.

        :param sampled: Actions sampled from the policy's distribution
        :return: Actions as sampled, and the actions for the environment, which have a Box's shape
            and are clipped to its bounds; an array of their own, which it may write into
        """
        actions = sampled.cpu().numpy()
        space = self.action_space
        if isinstance(space, spaces.Box):
            shaped = actions.reshape(-1, *space.shape)
            if self.policy.squash_output:  # from [-1, 1], as in SB3
                shaped = self.policy.unscale_action(shaped)
            return actions, np.minimum(np.maximum(shaped, space.low), space.high)
        return actions, actions.copy()

    # -- files -----------------------------------------------------------------------------------

    def save(
        self,
        path: checkpoint.CheckpointPath,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save to one zip file, atomically: weights, optimizers, statistics of ``VecNormalize``.

        :param path: File to write; ``.zip`` is added to a path without suffix
        :param exclude: Names of attributes to leave out, as in SB3
        :param include: Names of attributes to keep although they are excluded by default
        """
        members = self.file_members(exclude, include)
        checkpoint.write_members(path, members, checkpoint.describe(self, members))

    def file_members(
        self, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None
    ) -> checkpoint.Members:
        """Return the content of the file that :meth:`save` writes; subclasses add to it.

        :param exclude: Names of attributes to leave out, as in SB3
        :param include: Names of attributes to keep although they are excluded by default
        :return: Content by name
        """
        buffer = io.BytesIO()
        super().save(buffer, exclude, include)
        return checkpoint.read_members(buffer)

    def _take_from(self, members: checkpoint.Members, trusted: bool) -> None:
        """Take what :meth:`file_members` of a subclass has added."""

    @classmethod
    def load(
        cls: type[Self],
        path: checkpoint.CheckpointPath,
        env: GymEnv | None = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        *,
        normalize: checkpoint.Normalize = "train",
        weights_only: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Load a model that :meth:`save` wrote.

        A pickle in a file can execute any code with your rights while it is read: delete files,
        send them away, install programs. SB3's format holds pickles, so load files of strangers
        with ``weights_only=True``, which reads JSON, plain arrays and tensors alone.

        If the model was trained with ``VecNormalize``, ``env`` is wrapped in one with the saved
        statistics. A ``VecNormalize`` that it already has keeps its own settings, such as
        ``training=False, norm_reward=False`` for evaluation, and takes the statistics alone.

        :param path: File to read, with or without ``.zip``
        :param env: Environment to continue with, raw or vectorized; None to predict only
        :param device: Device of the networks
        :param custom_objects: Objects to replace on loading, as in SB3
        :param print_system_info: Whether to print system information, as in SB3
        :param force_reset: Whether to reset the environment before training, as in SB3
        :param normalize: ``"train"`` continues to update the statistics, ``"freeze"`` keeps them
            and leaves rewards raw, for evaluation
        :param weights_only: Whether to read no pickle, as for a file that you do not trust. What
            only a pickle holds (a lambda as learning rate, a class of one's own) is then an error
            that names it, unless ``custom_objects`` has it; running episodes are not continued
        :param kwargs: Attributes to change on loading
        :return: The model
        :raises CheckpointError: The file is no checkpoint of this class, damaged, or holds what
            ``weights_only`` does not read; a ``ValueError``
        :raises TypeError: The model has no attribute of that name
        :raises ValueError: It does not fit the environment, or ``normalize`` is neither
        """
        if normalize not in ("train", "freeze"):
            raise ValueError(f"normalize must be 'train' or 'freeze', got {normalize!r}")
        members = checkpoint.read_members(path)
        header = checkpoint.checked_header(members)
        checkpoint.check_class(cls, path, header.get("class"))
        checkpoint.check_arguments(cls, kwargs, checkpoint.sb3_data(members))
        if "n_steps" in {*kwargs, *(custom_objects or ())} and hasattr(cls, "_computed_n_steps"):
            kwargs["_computed_n_steps"] = None  # it is given now
        if "stats_window_size" in kwargs:
            kwargs["_stats_window_size"] = kwargs.pop("stats_window_size")  # SB3's attribute
        if weights_only:
            custom_objects = checkpoint.plain_attributes(members, custom_objects or {})
        env = None if env is None else given_env(env, 0)
        if env is not None:
            env = checkpoint.normalize_as_saved(env, header, normalize)
        elif "vec_normalize" in header:
            warnings.warn(
                f"{cls.__name__} was trained on normalized observations, whose statistics are in "
                "the file: load it with env=..., and predict on that environment's observations",
                stacklevel=2,
            )
        with checkpoint.reading(path):
            model = super().load(
                checkpoint.as_zip(members),
                env,
                device,
                custom_objects,
                print_system_info,
                force_reset,
                **kwargs,
            )
            checkpoint.freeze(model, header)
            model._take_from(members, trusted=not weights_only)
        model._normalization = checkpoint.normalization_in(header) if env is None else None
        checkpoint.remember(model, header)
        return model

    def set_parameters(
        self,
        load_path_or_dict: Any,
        exact_match: bool = True,
        device: th.device | str = "auto",
    ) -> None:
        """Set weights and states of optimizers, as in SB3; one that was replaced stays as it is.

        :param load_path_or_dict: File of a model, or what ``get_parameters`` returns
        :param exact_match: Whether all of them have to be there
        :param device: Device that a file is read to
        :raises ValueError: Something is missing, or does not belong to the model
        """
        given = load_path_or_dict
        if not isinstance(given, dict):
            given = load_from_zip_file(given, device=device, load_data=False)[1]
        super().set_parameters(given | fitting_states(self, given), exact_match, device)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Set the environment; a model that was loaded without one brings its normalization.

        :param env: New environment, raw or vectorized
        :param force_reset: Whether to reset it before training, as in SB3
        :raises ValueError: It does not fit the model
        """
        if self._normalization is not None:
            env = checkpoint.wrap_normalized(given_env(env, 0), self._normalization, "train")
        super().set_env(env, force_reset)
        self._normalization = None

    def _check_spaces(self) -> None:
        if "observation_space" not in vars(self):  # of an environment, or of a file
            given_env(self.env, 0)

    def _excluded_save_params(self) -> list[str]:
        own = ("_normalization", "_known_parameters", "_learns_in")
        return [*super()._excluded_save_params(), *own]
