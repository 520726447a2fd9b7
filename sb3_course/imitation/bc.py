"""BC: behavioral cloning, maximum likelihood of an expert's actions."""

import io
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch as th
from stable_baselines3.common.base_class import maybe_make_env
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    ConvertCallback,
    ProgressBarCallback,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import update_learning_rate

from sb3_course.collection.fast_mlp import make_scorer
from sb3_course.collection.observations import Obs, TensorObs, select
from sb3_course.common import checkpoint
from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.common.optimization import descend, minibatches
from sb3_course.common.parameter_groups import split_parameters
from sb3_course.common.validation import check, check_action_space, check_count
from sb3_course.imitation.dataset import Dataset
from sb3_course.imitation.demonstrations import Demonstrations, arrays_of

Self = TypeVar("Self", bound="BC")
Loss: TypeAlias = Callable[[TensorObs, th.Tensor], th.Tensor]

DEMONSTRATIONS = "demonstrations.npz"
CHUNK = 1_000
"""Gradient steps between two reseedings of the minibatches."""


class BC(CourseAlgorithm):
    r"""Behavioral cloning (Pomerleau 1989; CS285 fall 2023, lecture 2).

    .. math:: L(\theta) = -\frac{1}{B} \sum_{i=1}^B \log \pi_\theta(a^*_i | s_i)
        - c_H \, \mathbb{E}[H(\pi_\theta(\cdot | s))]

    ==============  ===========================================================================
    symbol          variable
    ==============  ===========================================================================
    (s, a*)         ``demonstrations``: an observation and the expert's action there
    B               ``batch_size``
    c_H             ``ent_coef``
    ==============  ===========================================================================

    It is the loss of the ``imitation`` package. Only the parameters that the action distribution
    depends on are trained; the value function stays as it was initialized, for a policy gradient to
    train: ``NPG.from_imitation(bc, env)`` goes on from here.

    Demonstrations are raw. Where the environment is in a ``VecNormalize`` whose statistics are in
    training, they are updated with the demonstrations and not with anything that ``learn`` does.
    The policy is trained on what the wrapper makes of them.

    Logged: ``train/loss``, ``train/std``, ``train/learning_rate``, ``train/n_updates``,
    ``time/total_timesteps``, which counts demonstrated transitions.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or an
        ``ActorCriticPolicy`` class
    :param env: The environment, or its Gymnasium name; nothing is done in it but to ask its spaces
    :param demonstrations: Trajectories or transitions of ``imitation``, arrays, files; see
        :func:`~sb3_course.imitation.demonstrations.arrays_of`
    :param learning_rate: A number or a schedule of the remaining progress
    :param batch_size: Transitions of a gradient step
    :param ent_coef: Weight of the entropy bonus
    :param stats_window_size: Episodes in ``rollout/ep_rew_mean``
    :param tensorboard_log: Folder for TensorBoard
    :param policy_kwargs: For the policy's constructor
    :param verbose: 0, 1 or 2
    :param seed: Of all random generators
    :param device: Where the networks live; small ones are fastest on ``"cpu"``
    :param _init_setup_model: Whether to build the networks at once
    :raises ValueError: A parameter is out of its range, or the demonstrations do not fit
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str | None,
        demonstrations: Demonstrations = None,
        learning_rate: float | Schedule = 1e-3,
        batch_size: int = 100,
        ent_coef: float = 1e-3,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if env is not None:
            env = maybe_make_env(env, verbose)
            check_action_space(env.action_space)
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
        )
        self.batch_size = batch_size
        self.ent_coef = ent_coef
        # What every draw of this model derives from; kept in its file.
        fresh = np.random.SeedSequence().generate_state(1)[0]
        self.seed_entropy = int(fresh if seed is None else seed)
        self.dataset = Dataset(self._capacity)
        if _init_setup_model:
            self._setup_model()
        if demonstrations is not None:
            self.set_demonstrations(demonstrations)

    _was_training = False  # whether the statistics, frozen now, were in training

    @property
    def _capacity(self) -> int | None:
        """How many transitions are kept; None for all."""
        return None

    def _setup_model(self) -> None:
        self._check_parameters()
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )
        assert isinstance(policy, ActorCriticPolicy)
        self.policy = policy.to(self.device)
        self.actor_parameters, _ = split_parameters(self.policy)
        self.policy.optimizer = self._optimizer(self.actor_parameters, self.lr_schedule)

    def _check_parameters(self) -> None:
        """Called before anything is built, so that a mistake costs nothing."""
        self._check_policy()
        check_count("batch_size", self.batch_size)
        check("ent_coef", self.ent_coef, np.isfinite(self.ent_coef), "a finite number")
        rate = self.learning_rate
        ok = callable(rate) or rate >= 0
        check("learning_rate", rate, ok, "a number of at least 0 or a schedule")

    # -- data ------------------------------------------------------------------------------------

    def set_demonstrations(self, demonstrations: Demonstrations) -> None:
        """Replace what there is to learn from.

        :param demonstrations: As of the constructor
        :raises ValueError: They do not fit the environment's spaces, or are not finite
        """
        dataset = Dataset(self._capacity)
        dataset.add(*arrays_of(demonstrations, self.observation_space, self.action_space))
        self.dataset = dataset
        self._observe(dataset.obs)

    def _observe(self, obs: Obs) -> None:
        """Update the statistics of a ``VecNormalize`` in training with raw observations."""
        venv = self._vec_normalize_env
        if venv is None or not (venv.norm_obs and (venv.training or self._was_training)):
            return
        if isinstance(venv.obs_rms, dict):
            assert isinstance(obs, dict)
            for key, moments in venv.obs_rms.items():
                moments.update(obs[key])
        else:
            assert not isinstance(obs, dict)
            venv.obs_rms.update(obs)

    def _training_set(self) -> tuple[TensorObs, th.Tensor]:
        """All observations, normalized where the environment's are, and all actions."""
        return self._as_policy_sees(self.dataset.obs), self.to_tensor(self.dataset.actions)

    def _as_policy_sees(self, raw: Obs) -> TensorObs:
        venv = self._vec_normalize_env
        seen: TensorObs = self.to_tensor(raw if venv is None else venv.normalize_obs(raw))
        return seen

    # -- learning --------------------------------------------------------------------------------

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 500,
        tb_log_name: str = "BC",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn from at least so many demonstrated transitions, reshuffled when all were seen.

        Here a time step is a demonstrated transition that a gradient step used: there are
        ``total_timesteps / batch_size`` gradient steps and ``total_timesteps / M`` epochs of M
        demonstrations. Callbacks are called at each gradient step.

        :param total_timesteps: Demonstrated transitions, each as often as it is used
        :param callback: SB3 callback or callbacks
        :param log_interval: Gradient steps between two logs
        :param tb_log_name: Name of the run in TensorBoard
        :param reset_num_timesteps: Whether to count from 0 again
        :param progress_bar: Whether to show a progress bar
        :return: Itself
        :raises ValueError: There are no demonstrations
        :raises FloatingPointError: The loss is not finite; the step is not taken
        """
        if self.dataset.size == 0:
            raise ValueError(
                "BC has no demonstrations: give BC(..., demonstrations=...) or set_demonstrations()"
            )
        with self._frozen_statistics():
            total, callback = self._setup_learn(
                total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
            )
            callback.on_training_start(locals(), globals())
            self._learn(total, callback, log_interval)
            callback.on_training_end()
        return self

    def _learn(self, total: int, callback: BaseCallback, log_interval: int) -> None:
        obs, actions = self._training_set()
        used = min(self.batch_size, len(actions))
        losses: list[float] = []
        steps = self._gradient_steps(obs, actions, (self.seed_entropy, 0), self._n_updates)
        while self.num_timesteps < total:
            self._update_current_progress_remaining(self.num_timesteps, total)
            losses.append(next(steps))
            self.num_timesteps += used
            if not callback.on_step():
                break
            if len(losses) == log_interval:
                self._log_training(losses)
                self.dump_logs()
                losses.clear()
        self.policy.set_training_mode(False)
        if losses:
            self._log_training(losses)
            self.dump_logs()

    def _gradient_steps(
        self,
        obs: TensorObs,
        actions: th.Tensor,
        seed: tuple[int, ...],
        start: int = 0,
    ) -> Iterator[float]:
        """Take a gradient step each time that it is asked for the next loss.

        :param obs: s, of shape (M, …)
        :param actions: a*, of shape (M, …)
        :param seed: With the step's number, it determines the step's batch
        :param start: Number of the first step
        """
        self.policy.set_training_mode(True)
        loss_of = make_loss(self.policy, self.ent_coef)
        for indices in batches(len(actions), self.batch_size, self.device, seed, start):
            update_learning_rate(
                self.policy.optimizer, self.lr_schedule(self._current_progress_remaining)
            )
            loss = loss_of(select(obs, indices), actions[indices])
            value = descend(loss, self.actor_parameters, self.policy.optimizer)
            self._n_updates += 1
            yield value

    def _log_training(self, losses: list[float]) -> None:
        rate = self.lr_schedule(self._current_progress_remaining)
        self.logger.record("train/learning_rate", rate)
        self.logger.record("train/loss", float(np.mean(losses)))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", self.policy.log_std.detach().exp().mean().item())

    def dump_logs(self) -> None:
        """Write what has been recorded, with the time, to the logger's outputs."""
        elapsed = max(1e-9, (time.time_ns() - self.start_time) / 1e9)
        steps = self.num_timesteps - self._num_timesteps_at_start
        self.logger.record("time/fps", int(steps / elapsed))
        self.logger.record("time/time_elapsed", elapsed, exclude="tensorboard")
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    @contextmanager
    def _frozen_statistics(self) -> Iterator[None]:
        """Keep what ``learn`` does in the environment out of the normalization statistics."""
        venv = self._vec_normalize_env
        if venv is None:
            yield
            return
        self._was_training, venv.training = venv.training, False
        try:
            yield
        finally:
            self._was_training, venv.training = False, self._was_training

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        if progress_bar:
            given = CallbackList(callback) if isinstance(callback, list) else callback
            if not isinstance(given, BaseCallback):
                given = ConvertCallback(given)
            callback = CallbackList([given, _Progress()])
        return super()._init_callback(callback)

    # -- files -----------------------------------------------------------------------------------

    def save(
        self,
        path: checkpoint.CheckpointPath,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save to one zip file, atomically, with the demonstrations as plain arrays.

        :param path: Where to; ``.zip`` is added to a path without suffix
        :param exclude: As in SB3; ``"dataset"`` leaves the demonstrations out
        :param include: As in SB3
        """
        buffer = io.BytesIO()
        super().save(buffer, exclude, include)
        if "dataset" not in (exclude or ()):
            checkpoint.append_arrays(buffer, DEMONSTRATIONS, self.dataset.state())
        checkpoint.write(path, buffer.getvalue())

    @classmethod
    def load(cls: type[Self], path: checkpoint.CheckpointPath, *args: Any, **kwargs: Any) -> Self:
        """Load what :meth:`save` saved, with the demonstrations.

        :param path: The file, with or without ``.zip``
        :param args: As of :meth:`CourseAlgorithm.load`
        :param kwargs: As of :meth:`CourseAlgorithm.load`
        :return: The model
        :raises ValueError: The file is no checkpoint
        """
        model = super().load(path, *args, **kwargs)
        state = checkpoint.read_arrays(path, DEMONSTRATIONS)
        model.dataset = Dataset.from_state(state, model._capacity)
        return model

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "dataset", "actor_parameters", "_was_training"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []


class _Progress(ProgressBarCallback):
    """SB3's bar, for time steps that are not steps of the environment."""

    def _on_step(self) -> bool:
        done = self.model.num_timesteps - self.model._num_timesteps_at_start
        self.pbar.update(done - self.pbar.n)
        return True


def make_loss(policy: ActorCriticPolicy, ent_coef: float) -> Loss:
    """Make L(θ) of :class:`BC`.

    It is what ``BehaviorCloningLossCalculator`` of ``imitation`` computes, without the value
    function and the weights' norm, in half the time; nor does it warn of Dict observations.

    :param policy: The policy, whose parameters may move between calls
    :param ent_coef: c_H
    :return: From observations of shape (B, …) and actions of shape (B, …) to a scalar
    """
    score = make_scorer(policy)

    def loss(obs: TensorObs, actions: th.Tensor) -> th.Tensor:
        log_prob, entropy = score(obs, actions)
        return -log_prob.mean() - ent_coef * entropy

    return loss


def batches(
    n: int, batch_size: int, device: th.device, seed: tuple[int, ...], start: int = 0
) -> Iterator[th.Tensor | slice]:
    """Yield the indices of minibatches without end, each a function of the seed and its number.

    So a run that goes on from a file takes the very steps that it would have taken.

    :param n: Number of transitions
    :param batch_size: Their size
    :param device: Where the indices live
    :param seed: Whole numbers of at least 0
    :param start: Number of the first one
    """
    skip = start % CHUNK
    for chunk in itertools.count(start // CHUNK):
        generator = th.Generator(device)
        generator.manual_seed(draw_seed(*seed, chunk))
        yield from itertools.islice(
            minibatches(n, CHUNK, batch_size, device, generator), skip, None
        )
        skip = 0


def draw_seed(*numbers: int) -> int:
    """Make one seed below 2³¹ of several whole numbers.

    :param numbers: Each at least 0
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) % 2**31
