"""BC: behavioral cloning, the maximum likelihood of an expert's actions."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import update_learning_rate

from sb3_course.collection.observations import select
from sb3_course.common.base_class import given_env
from sb3_course.common.callbacks import TransitionsProgressBar
from sb3_course.common.errors import check_whole
from sb3_course.common.networks.actors import Actor, make_actor
from sb3_course.common.networks.parameter_groups import split_parameters
from sb3_course.common.networks.step import heed_strides
from sb3_course.common.optimization import adopt
from sb3_course.common.validation import (
    check_action_space,
    check_flags,
    check_number,
    check_observation_space,
    checked_seed,
    scheduled,
)
from sb3_course.imitation.dataset import Dataset, SeededMinibatches
from sb3_course.imitation.demonstrated import Demonstrated
from sb3_course.imitation.demonstrations import Demonstrations
from sb3_course.imitation.normalization import check_outermost

Self = TypeVar("Self", bound="BC")


class BC(Demonstrated):
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
    depends on are trained; the value function stays as initialized, and a policy gradient trains it
    later: ``NPG.from_imitation(bc, env)`` continues from here.

    Demonstrations are raw. If the environment is wrapped in a ``VecNormalize`` in training mode,
    its statistics are updated with the demonstrations, also if it is a new one that ``set_env`` or
    ``load`` brings, and by nothing that ``learn`` does. The policy is trained on demonstrations
    that the wrapper has normalized.

    Logged: ``train/loss``, ``train/std``, ``train/learning_rate``, ``train/n_updates``,
    ``time/total_timesteps``, which counts demonstrated transitions.

    ``stats_window_size``, ``tensorboard_log``, ``policy_kwargs``, ``verbose``, ``seed``, ``device``
    and ``_init_setup_model`` are described in :class:`.PolicyGradientAlgorithm`.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or an
        ``ActorCriticPolicy`` class
    :param env: Environment, or its Gymnasium id; only its spaces are used
    :param demonstrations: Trajectories or transitions of ``imitation``, arrays, files; see
        :func:`~sb3_course.imitation.demonstrations.arrays_of` and :meth:`set_demonstrations`
    :param learning_rate: Learning rate of the policy's optimizer, a number or a schedule of the
        remaining progress
    :param batch_size: Transitions of a gradient step
    :param ent_coef: Coefficient of the entropy bonus; it changes nothing with a squashed Gaussian,
        whose entropy has no formula
    :raises ValueError: A parameter is out of its range, or the demonstrations do not fit
    """

    def __init__(  # noqa: DOC101, DOC103
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
            env = given_env(env, verbose)
            check_action_space(env.action_space)
            check_observation_space(env.observation_space)
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
        # All draws of this model derive from it, but those of its networks, as Dropout's.
        fresh = np.random.SeedSequence().generate_state(1)[0]
        self.seed_entropy = int(fresh) if seed is None else seed
        self.dataset = Dataset(self._capacity)
        if _init_setup_model:
            self._setup_model()
        if demonstrations is not None:
            self.set_demonstrations(demonstrations)

    _actor: Actor

    def _setup_model(self) -> None:
        self._check_spaces()
        check_outermost(self.env, self._vec_normalize_env)
        self._check_parameters()
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self._make_policy()
        self._attach_policy()

    def _attach_policy(self) -> None:
        """Make the optimizer of ``self.policy``."""
        self._actor_group, _ = split_parameters(self.policy)
        self._known_parameters = set(self.policy.parameters())
        self.policy.optimizer = self._optimizer(self._actor_group, self.lr_schedule)

    def _make_actor(self) -> Actor:
        """Make the function π_θ of the present policy, whose parameters the user may change."""
        now = set(self.policy.parameters())
        if not set(self._actor_group) <= now:
            self._attach_policy()
        elif not now <= self._known_parameters:
            self._actor_group, _ = split_parameters(self.policy)
            self._known_parameters = now
            adopt(self.policy.optimizer, self._actor_group)
        return make_actor(self.policy, self._actor_group, self.policy.optimizer)

    def _check_parameters(self) -> None:
        """Check all parameters before anything is built."""
        self._check_policy()
        check_flags(self)
        self.seed = checked_seed(self.seed)
        check_whole("batch_size", self.batch_size)
        check_number("ent_coef", self.ent_coef)
        if not callable(self.learning_rate):
            check_number("learning_rate", self.learning_rate, 0, more="or a schedule")

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed all random generators, and what the draws of this model derive from.

        :param seed: Seed; None to change nothing
        :raises ValueError: It is not a whole number from 0 to 2³² - 1
        """
        seed = checked_seed(seed)
        super().set_random_seed(seed)
        if seed is not None:
            self.seed = self.seed_entropy = seed  # a file's model begins with it

    # -- learning --------------------------------------------------------------------------------

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 500,
        tb_log_name: str = "BC",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn from at least ``total_timesteps`` transitions, each epoch in another order.

        Here a time step is a demonstrated transition that a gradient step uses: there are
        ``total_timesteps / B`` gradient steps and ``total_timesteps / M`` epochs of M
        demonstrations, where B is ``batch_size``, or M if that is less. The M mod B last ones of an
        epoch's order are left out of it. Callbacks are called at each gradient step.

        :param total_timesteps: Demonstrated transitions, counted each time that they are used
        :param callback: SB3 callback or callbacks
        :param log_interval: Gradient steps between two logs; None for no logs
        :param tb_log_name: Name of the run in TensorBoard
        :param reset_num_timesteps: Whether to count time steps from 0 again
        :param progress_bar: Whether to show a progress bar
        :return: The model itself
        :raises ValueError: There are no demonstrations, or ``log_interval`` is out of its range
        :raises FloatingPointError: The loss is not finite; the step is not taken
        """
        check_whole("log_interval", log_interval, none=True)
        if self.dataset.size == 0:
            raise ValueError("BC has no demonstrations: pass some or call set_demonstrations()")
        with self._frozen_statistics():
            total_timesteps, callback = self._setup_learn(  # the name that callbacks read
                total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
            )
            callback.on_training_start(locals(), globals())
            batches = np.ceil(total_timesteps / self.batch_size)  # infinite if a callback ends it
            self._read_demonstrations(self.batch_size * batches)
            self._learn(total_timesteps, callback, log_interval)
            callback.on_training_end()
        return self

    def _learn(self, total: int, callback: BaseCallback, log_interval: int | None) -> None:
        with self._training((self.seed_entropy, 0), self._n_updates):
            while self.num_timesteps < total:
                self._update_current_progress_remaining(self.num_timesteps, total)
                self.train()
                self.num_timesteps += min(self.batch_size, self.dataset.size)
                if not callback.on_step():
                    break
                if not self.policy.training:  # the callback has predicted
                    self.policy.set_training_mode(True)
                if not self._actor.is_current(self.policy, self._actor_group):
                    self._actor = self._make_actor()
                self._actor.optimizer = self.policy.optimizer
                if len(self._losses) == log_interval:
                    self._log_training()
                    self.dump_logs()
            if self._losses and log_interval is not None:
                self._log_training()
                self.dump_logs()

    @contextmanager
    def _training(self, seed: tuple[int, ...], start: int = 0) -> Iterator[None]:
        """Prepare gradient steps whose minibatches follow from a seed and the step's number."""
        self._obs, self._actions = self._training_set()
        n = len(self._actions)
        self._minibatches = SeededMinibatches(n, self.batch_size, self.device, seed, start)
        self._actor = self._make_actor()
        self._losses: list[float] = []
        self.policy.set_training_mode(True)
        try:
            yield
        finally:
            self.policy.set_training_mode(False)
            del self._obs, self._actions, self._minibatches, self._actor

    def train(self) -> None:
        """Take one gradient step on a minibatch of demonstrations."""
        progress = self._current_progress_remaining
        rate = scheduled("learning_rate", self.lr_schedule, progress)
        update_learning_rate(self.policy.optimizer, rate)
        heed_strides(self.policy.optimizer)
        indices = self._minibatches.draw()
        obs = select(self._obs, indices)  # s_i
        actions = self._actions[indices]  # a*_i
        with th.no_grad():  # the actor enables what it needs
            self._actor.evaluate(obs, actions)  # log π_θ(a*_i|s_i), H(π_θ)
            # θ ← θ − α ∇L(θ), L(θ) = −1/B Σ log π_θ(a*_i|s_i) − c_H H(π_θ)
            value, _ = self._actor.descend(ent_coef=self.ent_coef)
        self._losses.append(value)
        self._n_updates += 1

    def _log_training(self) -> None:
        """Log the mean loss since the last log."""
        rate = self.lr_schedule(self._current_progress_remaining)
        self.logger.record("train/learning_rate", rate)
        self.logger.record("train/loss", float(np.mean(self._losses)))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", self.policy.log_std.detach().exp().mean().item())
        self._losses = []

    def dump_logs(self) -> None:
        """Write the recorded values, with the time, to the logger's outputs."""
        elapsed = max(1e-9, (time.time_ns() - self.start_time) / 1e9)
        steps = self.num_timesteps - self._num_timesteps_at_start
        self.logger.record("time/fps", int(steps / elapsed))
        self.logger.record("time/time_elapsed", elapsed, exclude="tensorboard")
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        if progress_bar:
            given = CallbackList(callback) if isinstance(callback, list) else callback
            if not isinstance(given, BaseCallback):
                given = ConvertCallback(given)
            callback = CallbackList([given, TransitionsProgressBar()])
        return super()._init_callback(callback)

    def _excluded_save_params(self) -> list[str]:
        training = ["_actor_group", "_obs", "_actions", "_minibatches", "_actor", "_losses"]
        return [*super()._excluded_save_params(), *training]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []
