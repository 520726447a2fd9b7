"""What every algorithm of the family is made of, once: constructor, collection, steps, files."""

import copy
from typing import Any, TypeVar

import numpy as np
import torch as th
from stable_baselines3.common.base_class import maybe_make_env
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import (
    ActorCriticPolicy,
)
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule, update_learning_rate
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from torch import nn

from sb3_course import collection, estimators
from sb3_course.collection.collector import CollectionBudget
from sb3_course.collection.fast_mlp import make_sampler
from sb3_course.collection.observations import Array, Obs, TensorObs, map_obs
from sb3_course.collection.rollout import Rollout
from sb3_course.common import checkpoint
from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.common.optimization import fit_critic
from sb3_course.common.parameter_groups import split_parameters
from sb3_course.common.validation import check, check_action_space, check_count

Self = TypeVar("Self", bound="PolicyGradientAlgorithm")

PREDICT_CHUNK = 16_384


class PolicyGradientAlgorithm(CourseAlgorithm, OnPolicyAlgorithm):
    """Base of the policy-gradient family, on SB3's ``OnPolicyAlgorithm``.

    It keeps SB3's ``learn``, callbacks, logger and files, and changes what a policy gradient needs
    changed: rewards stay as they are, during collection only the actor runs, and actor and critic
    have an optimizer each (``actor_optimizer`` and ``critic_optimizer``, both saved). A features
    extractor that both share belongs to the actor; ``policy_kwargs=dict(share_features_extractor=
    False)`` gives the critic its own.

    Subclasses give ``_schedule`` (when a batch is complete) and ``train``.

    gSDE is not offered: its noise is held for many steps, so that a trajectory's likelihood is not
    the product of its steps', which every estimator of this family takes it to be.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or an
        ``ActorCriticPolicy`` class
    :param env: The environment, or its Gymnasium name
    :param learning_rate: Of the actor's optimizer; a number or a schedule of the remaining progress
    :param critic_learning_rate: Of the critic's optimizer; None takes ``learning_rate``
    :param n_steps: Steps of each environment in a batch
    :param gamma: Discount γ, in [0, 1]
    :param ent_coef: Weight of the entropy bonus
    :param max_grad_norm: Largest norm of the actor's gradient; None leaves it as it is
    :param normalize_advantage: Whether to standardize what multiplies ∇log π over the batch
    :param n_critic_updates: Gradient steps on the critic for a batch
    :param batch_size: Transitions of each of them; None for the whole batch
    :param stats_window_size: Episodes over which ``rollout/ep_rew_mean`` is taken
    :param tensorboard_log: Folder of TensorBoard's logs; None for none
    :param policy_kwargs: For the policy's constructor; ``optimizer_class`` and
        ``optimizer_kwargs`` serve both optimizers
    :param verbose: 0 for no output, 1 for SB3's messages, 2 for debugging
    :param seed: Seed of all random generators
    :param device: Where the networks live; small ones are fastest on ``"cpu"``
    :raises ValueError: A parameter is out of its range; says which, and what it takes
    """

    rollout: Rollout
    rollout_buffer = None  # type: ignore[assignment]  # SB3 passes it to collect_rollouts

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str | None,
        *,
        learning_rate: float | Schedule,
        critic_learning_rate: float | Schedule | None,
        n_steps: int,
        gamma: float,
        ent_coef: float,
        max_grad_norm: float | None,
        normalize_advantage: bool,
        n_critic_updates: int,
        batch_size: int | None,
        stats_window_size: int,
        tensorboard_log: str | None,
        policy_kwargs: dict[str, Any] | None,
        verbose: int,
        seed: int | None,
        device: th.device | str,
        gae_lambda: float = 1.0,
    ) -> None:
        if env is not None:
            env = maybe_make_env(env, verbose)
            check_action_space(env.action_space)
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]
            learning_rate=learning_rate,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=0.0,
            max_grad_norm=max_grad_norm,  # type: ignore[arg-type]
            use_sde=False,
            sde_sample_freq=-1,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
        )
        self.critic_learning_rate = critic_learning_rate
        self.normalize_advantage = normalize_advantage
        self.n_critic_updates = n_critic_updates
        self.batch_size = batch_size

    def _setup_model(self) -> None:
        self._check_parameters()
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        policy = self.policy_class(
            self.observation_space,
            self.action_space,
            self.lr_schedule,
            **self.policy_kwargs,
        )
        assert isinstance(policy, ActorCriticPolicy)
        self.policy = policy.to(self.device)
        self._maybe_recommend_cpu()
        self._attach_policy()

    def _attach_policy(self) -> None:
        """Make the optimizers of ``self.policy``."""
        self.actor_parameters, self.critic_parameters = split_parameters(self.policy)
        self.actor_optimizer = self._optimizer(self.actor_parameters, self.lr_schedule)
        self.critic_optimizer = self._optimizer(self.critic_parameters, self.critic_lr_schedule)
        self.policy.optimizer = self.actor_optimizer

    def _setup_lr_schedule(self) -> None:
        super()._setup_lr_schedule()
        rate = self.critic_learning_rate
        self.critic_lr_schedule = FloatSchedule(self.learning_rate if rate is None else rate)

    def _check_parameters(self) -> None:
        """Called before anything is built, so that a mistake costs nothing."""
        self._check_policy()
        check("gamma", self.gamma, 0.0 <= self.gamma <= 1.0, "a number from 0 to 1")
        check("gae_lambda", self.gae_lambda, 0.0 <= self.gae_lambda <= 1.0, "a number from 0 to 1")
        check("ent_coef", self.ent_coef, np.isfinite(self.ent_coef), "a finite number")
        norm = self.max_grad_norm
        check("max_grad_norm", norm, norm is None or norm > 0, "a positive number or None")
        check_count("n_critic_updates", self.n_critic_updates)
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size, "or None")
        for name in ("learning_rate", "critic_learning_rate"):
            rate = getattr(self, name)
            if not callable(rate) and rate is not None:
                check(name, rate, rate >= 0, "a number of at least 0 or a schedule")

    # -- collection ------------------------------------------------------------------------------

    def _schedule(self) -> CollectionBudget:
        """Say which steps of the next batch count, and when it is complete."""
        raise NotImplementedError

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: Any = None,
        n_rollout_steps: int | None = None,
    ) -> bool:
        """Collect ``self.rollout``; called by SB3's ``learn``, whose last two arguments go unused.

        :param env: The environments
        :param callback: Called at each vector step
        :param rollout_buffer: Not used
        :param n_rollout_steps: Not used; ``_schedule`` knows
        :return: Whether to go on (false once the callback said stop)
        """
        self.policy.set_training_mode(False)
        schedule = self._schedule()
        if schedule.whole_episodes and not np.all(self._last_episode_starts):
            self._last_obs = env.reset()  # type: ignore[assignment]
        callback.on_rollout_start()

        def on_step(step_locals: dict[str, Any]) -> bool:
            return self.after_step(callback, step_locals)

        first_obs, self._last_obs = self._last_obs, None  # an interrupt makes learn() reset
        assert first_obs is not None
        with th.no_grad():
            sample = make_sampler(self.policy)
            collected = collection.collect(
                env,
                first_obs,
                lambda obs: self.as_sent(sample(self.to_tensor(obs))),
                schedule,
                on_step,
            )
        if collected is None:
            return False
        self.rollout, dones = collected
        self._last_obs = self.rollout.last_obs
        self._last_episode_starts = dones
        counted = self.rollout.n_transitions
        self.logger.record("rollout/n_trajectories", self.rollout.n_trajectories)
        self.logger.record("rollout/n_transitions", counted)
        self.logger.record("rollout/wasted_fraction", 1.0 - counted / self.rollout.mask.size)
        callback.on_rollout_end()
        return True

    # -- what the updates are made of ------------------------------------------------------------

    def predict_values(self, obs: Obs) -> Array:
        """Value observations with the critic as it stands, without gradient.

        :param obs: Of shape (B, …)
        :return: V(s), float64 of shape (B,)
        """
        first = next(iter(obs.values())) if isinstance(obs, dict) else obs
        training = self.policy.training
        self.policy.set_training_mode(False)
        with th.no_grad():
            chunks = [
                self.policy.predict_values(
                    self.to_tensor(map_obs(lambda o, i=i: o[i : i + PREDICT_CHUNK], obs))  # type: ignore[misc]
                )
                for i in range(0, len(first), PREDICT_CHUNK)
            ]
        self.policy.set_training_mode(training)
        values: Array = th.cat(chunks).flatten().cpu().numpy().astype(np.float64)
        return values

    def predict_rollout(self, rollout: Rollout) -> tuple[Array, Array]:
        """Value the states of a batch, every step of which counts, and those that follow them.

        :param rollout: A batch of a fixed number of steps
        :return: V(s_t) and V(s_{t+1}), the latter 0 behind terminal states, of shape (T, N) each
        """
        values = self.predict_values(rollout.flat_obs).reshape(rollout.rewards.shape)
        cut_values = rollout.cut_values(self.predict_values)
        return values, estimators.next_values(values, rollout.ends, cut_values)

    def distribution(self, obs: TensorObs) -> Distribution:
        """Give π_θ(·|s), differentiable.

        SB3's policies hand out one object again and again; this is one of its own, which stays what
        it is when the policy is asked again.

        :param obs: s, of shape (M, …)
        :return: The distribution at M states
        """
        return copy.copy(self.policy.get_distribution(obs))

    def evaluate_actions(self, obs: TensorObs, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Give log π(a|s) of each step and the mean entropy, differentiable.

        :param obs: s, of shape (M, …)
        :param actions: a, of shape (M, …)
        :return: log-probabilities of shape (M,), and the policy's mean entropy in nats
        """
        distribution = self.policy.get_distribution(obs)
        entropy = distribution.entropy()
        assert entropy is not None, "only squashed distributions lack an entropy"
        return distribution.log_prob(actions), entropy.mean()

    def normalized(self, advantages: Array) -> Array:
        """Standardize over the batch, if ``normalize_advantage`` says so.

        :param advantages: Of shape (M,)
        :return: Of shape (M,)
        """
        if not self.normalize_advantage:
            return advantages
        standard: Array = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        return standard

    def step_actor(self, loss: th.Tensor, gradient: th.Tensor | None = None) -> None:
        """Take one step of the actor's optimizer, with clipping, and log the norm.

        :param loss: Differentiated with respect to the actor's parameters
        :param gradient: A flat gradient to descend, added to the loss's, of shape (P,)
        :raises FloatingPointError: The loss or the gradient is not finite; nothing is changed
        """
        parameters = self.actor_parameters
        self.actor_optimizer.zero_grad()
        if loss.requires_grad:
            loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
        if gradient is not None:
            sizes = [p.numel() for p in parameters]
            for parameter, part in zip(parameters, th.split(gradient, sizes), strict=True):
                part = part.view_as(parameter).to(parameter.dtype)
                parameter.grad = part if parameter.grad is None else parameter.grad + part
        limit = float("inf") if self.max_grad_norm is None else self.max_grad_norm
        self.note_gradient(nn.utils.clip_grad_norm_(parameters, limit).item())
        self.actor_optimizer.step()

    def note_gradient(self, norm: float) -> None:
        """Count and log an update, unless its gradient is not finite.

        :param norm: Norm of the policy's gradient
        :raises FloatingPointError: It is not finite
        """
        if not np.isfinite(norm):
            raise FloatingPointError(
                f"the policy gradient's norm is {norm} at {self.num_timesteps} environment steps: "
                "look at the rewards' scale and at learning_rate"
            )
        self._n_updates += 1
        self.logger.record("train/grad_norm", norm)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def fit_critic(self, obs: TensorObs, targets: th.Tensor) -> None:
        """Fit V to targets by ``n_critic_updates`` steps, and log the loss.

        :param obs: s, of shape (M, …)
        :param targets: Of shape (M,)
        :raises FloatingPointError: The loss is not finite
        """
        loss = fit_critic(
            self.policy,
            self.critic_parameters,
            self.critic_optimizer,
            obs,
            targets,
            self.n_critic_updates,
            self.batch_size,
        )
        self.logger.record("train/value_loss", loss)

    def log_policy(self, loss: th.Tensor, entropy: th.Tensor) -> None:
        """Log what every algorithm logs of its policy, before the step.

        :param loss: The policy gradient's loss
        :param entropy: Mean entropy, in nats
        """
        self.logger.record("train/policy_gradient_loss", loss.item())
        self.logger.record("train/entropy_loss", -entropy.item())
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", self.policy.log_std.detach().exp().mean().item())

    def update_learning_rates(self) -> None:
        """Set both optimizers' learning rates from their schedules, and log them."""
        for name, schedule, optimizer in (
            ("train/learning_rate", self.lr_schedule, self.actor_optimizer),
            ("train/critic_learning_rate", self.critic_lr_schedule, self.critic_optimizer),
        ):
            rate = schedule(self._current_progress_remaining)
            update_learning_rate(optimizer, rate)
            self.logger.record(name, rate)

    # -- SB3's face ------------------------------------------------------------------------------

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn for at least so many environment steps; the last batch is completed.

        :param total_timesteps: Environment steps, over all environments
        :param callback: SB3 callback or callbacks
        :param log_interval: Batches between two logs
        :param tb_log_name: Name of the run in TensorBoard; None for the class's
        :param reset_num_timesteps: Whether to count from 0 again
        :param progress_bar: Whether to show a progress bar
        :return: Itself
        """
        if not {id(p) for p in self.actor_parameters} <= {id(p) for p in self.policy.parameters()}:
            self._attach_policy()  # somebody has put another policy in its place
        return super().learn(
            total_timesteps,
            callback,
            log_interval,
            tb_log_name or type(self).__name__,
            reset_num_timesteps,
            progress_bar,
        )

    @classmethod
    def from_imitation(
        cls: type[Self], imitator: CourseAlgorithm, env: GymEnv | str, **kwargs: Any
    ) -> Self:
        """Go on by reinforcement learning from a policy that BC or DAgger has trained.

        The new model's policy is a copy of the imitator's. Its optimizers are fresh, and its value
        function is as BC left it, untrained: the first updates follow poor advantages, so let the
        critic take more steps than usual, or the policy shorter ones.

        :param imitator: A trained :class:`~sb3_course.BC` or :class:`~sb3_course.DAgger`
        :param env: The environment, or its Gymnasium name. Where the imitator was trained with
            ``VecNormalize``, it is wrapped in one with the same statistics, which then go on
        :param kwargs: Of the class's constructor, other than ``policy`` and ``policy_kwargs``
        :return: The model
        :raises ValueError: ``env`` normalizes observations and the imitator's did not
        """
        env = maybe_make_env(env, 0)
        statistics = imitator.get_vec_normalize_env()
        if statistics is not None:
            env = checkpoint.wrap_normalized(env, checkpoint.normalization(statistics), "train")
        elif isinstance(env, VecEnv) and getattr(unwrap_vec_normalize(env), "norm_obs", False):
            raise ValueError(
                "the imitator was trained on raw observations: pass the environment without "
                "VecNormalize, or with VecNormalize(norm_obs=False)"
            )
        policy_kwargs = copy.deepcopy(imitator.policy_kwargs)
        model = cls(imitator.policy_class, env, policy_kwargs=policy_kwargs, **kwargs)  # type: ignore[arg-type]
        model.policy.load_state_dict(imitator.policy.state_dict())
        return model

    def _excluded_save_params(self) -> list[str]:
        ours = ["rollout", "actor_parameters", "critic_parameters", "critic_lr_schedule"]
        return [*super()._excluded_save_params(), *ours]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "actor_optimizer", "critic_optimizer"], []
