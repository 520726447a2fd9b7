"""The steps that every policy-gradient update takes: values, log-probabilities, gradient steps."""

import copy
import warnings
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution, SquashedDiagGaussianDistribution
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import explained_variance, update_learning_rate
from torch import nn

from sb3_course import estimators
from sb3_course.collection.observations import Array, Obs, TensorObs, rows_of, select
from sb3_course.collection.rollout import Rollout
from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.common.networks.actors import Actor, EngineActor, make_actor
from sb3_course.common.networks.autograd import PolicyGradient, add_gradients, mean_entropy
from sb3_course.common.networks.critics import Critic, make_critic
from sb3_course.common.networks.parameter_groups import split_parameters, trainable
from sb3_course.common.networks.step import heed_strides, views_like
from sb3_course.common.optimization import adopt, minibatches
from sb3_course.common.validation import scheduled
from sb3_course.estimators.chunks import chunks, transitions_per_chunk
from sb3_course.estimators.natural_gradient import flatten


class UpdateSteps(CourseAlgorithm):
    """An algorithm with an actor and a critic, and the steps from which its ``train`` is written.

    ``train`` evaluates the policy in the mode in which it acts (``set_training_mode(False)``):
    importance weights, the KL and the gradient are of the policy that collected the batch, also
    with dropout.

    A parameter that is frozen (``requires_grad`` is False) stays as it is until it is unfrozen, as
    with SB3's optimizers.

    No step's memory grows with the batch: each evaluates at most ``chunk_size`` transitions at a
    time, which is measured so that a chunk's graph keeps :func:`.chunk_bytes`. Set the attribute to
    trade memory for the speed of larger chunks.

    :ivar chunk_size: Most transitions that are evaluated at a time
    """

    ent_coef: float
    max_grad_norm: float  # or None, which SB3's type leaves out
    normalize_advantage: bool
    n_critic_updates: int
    batch_size: int | None
    critic_lr_schedule: Schedule
    chunk_size: int
    _made: tuple[Actor, Critic] | None

    def _attach_policy(self) -> None:
        """Make the optimizers of ``self.policy``, and measure what its chunks may hold."""
        self._drop_functions()
        self._check_entropy()
        self.chunk_size = transitions_per_chunk(self.policy)
        self._actor_group, self._critic_group = split_parameters(self.policy)
        self._known_parameters = set(self.policy.parameters())
        self.actor_optimizer = self._optimizer(self._actor_group, self.lr_schedule)
        self.critic_optimizer = self._optimizer(self._critic_group, self.critic_lr_schedule)
        self.policy.optimizer = self._known_optimizer = self.actor_optimizer

    def _adopt_parameters(self) -> None:
        self._actor_group, self._critic_group = split_parameters(self.policy)
        self._known_parameters = set(self.policy.parameters())
        adopt(self.actor_optimizer, self._actor_group)
        adopt(self.critic_optimizer, self._critic_group)

    def _check_entropy(self) -> None:
        if self.ent_coef and isinstance(self.policy.action_dist, SquashedDiagGaussianDistribution):
            raise ValueError(
                f"ent_coef must be 0 with a squashed Gaussian, whose entropy has no formula, got "
                f"{self.ent_coef}"
            )

    def _follow_policy(self) -> None:
        """Make new optimizers if the user has replaced the policy, or parameters of it.

        Those that it has gained are added to the optimizers that there are.
        """
        now = set(self.policy.parameters())
        if not {*self._actor_group, *self._critic_group} <= now:
            self._attach_policy()
        elif not now <= self._known_parameters:
            self._adopt_parameters()
        if self.policy.optimizer is not self._known_optimizer:
            self._known_optimizer = self.policy.optimizer
            warnings.warn(
                "policy.optimizer is not used: replace model.actor_optimizer, or "
                "model.critic_optimizer for the critic",
                stacklevel=3,
            )

    def _functions(self) -> tuple[Actor, Critic]:
        """Return π_θ and V_φ of the present policy, made again if it is not what it was."""
        if self._made is None or not self._made[0].is_current(self.policy, self._actor_group):
            self._follow_policy()
            self._check_entropy()
            self._made = (
                make_actor(self.policy, self._actor_group, self.actor_optimizer),
                make_critic(self.policy, self._critic_group, self.critic_optimizer),
            )
        actor, critic = self._made
        actor.optimizer, critic.optimizer = self.actor_optimizer, self.critic_optimizer
        return actor, critic

    def _drop_functions(self) -> None:
        """Discard π_θ and V_φ, which are made again when they are needed."""
        self._made = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be pickled or copied: without functions, and the last batch's graph."""
        if (policy := vars(self).get("policy")) is not None:
            vars(policy.action_dist).pop("distribution", None)  # set again before each use
        return vars(self) | {"_made": None}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_made", "_known_optimizer"]

    @property
    def actor_parameters(self) -> list[nn.Parameter]:
        """Parameters θ of the policy, without the frozen ones."""
        return trainable(self._actor_group)

    @property
    def critic_parameters(self) -> list[nn.Parameter]:
        """Parameters φ of the value function, without the frozen ones."""
        return trainable(self._critic_group)

    def tensors(self, rollout: Rollout) -> tuple[TensorObs, th.Tensor]:
        """Return the counted states and actions of a batch as tensors.

        :param rollout: Batch of M counted steps
        :return: States s_t and actions a_t, of shape (M, …) each
        """
        return self.to_tensor(rollout.flat_obs), self.to_tensor(rollout.flat(rollout.actions))

    def predict_values(self, obs: Obs) -> Array:
        """Compute V(s) with the current critic, without gradient.

        :param obs: States s, of shape (B, …)
        :return: V(s), float64 of shape (B,)
        """
        training = self.policy.training
        if training:
            self.policy.set_training_mode(False)
        _, critic = self._functions()
        values = [
            critic(self.to_tensor(select(obs, part)))
            for part in chunks(rows_of(obs), self.chunk_size)
        ]
        if training:
            self.policy.set_training_mode(True)
        numbers: Array = th.cat(values).cpu().numpy().astype(np.float64)
        return numbers

    def predict_rollout(self, rollout: Rollout) -> tuple[Array, Array]:
        """Compute the values of a batch's states and next states; every step has to count.

        :param rollout: Batch of a fixed number of steps
        :return: V(s_t) and V(s_{t+1}), the latter 0 after terminal states, of shape (T, N) each
        """
        values = self.predict_values(rollout.flat_obs).reshape(rollout.rewards.shape)
        bootstrap_values = rollout.bootstrap_values(self.predict_values)
        return values, estimators.next_values(values, rollout.ends, bootstrap_values)

    def distribution(self, obs: TensorObs) -> Distribution:
        """Return π_θ(· | s), differentiable.

        SB3's policies return one object again and again; this one is a copy, which stays unchanged
        when the policy is called again.

        :param obs: States s, of shape (M, …)
        :return: Distribution at M states
        """
        return copy.copy(self.policy.get_distribution(obs))

    def evaluate_actions(self, obs: TensorObs, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Compute log π(a|s) of each step and the mean entropy, differentiable.

        :param obs: States s, of shape (M, …)
        :param actions: Actions a, of shape (M, …)
        :return: Log-probabilities of shape (M,), and the policy's mean entropy in nats
        """
        distribution = self.policy.get_distribution(obs)
        log_prob = distribution.log_prob(actions)
        return log_prob, mean_entropy(distribution, log_prob)

    def log_probs(self, obs: TensorObs, actions: th.Tensor) -> th.Tensor:
        """Compute log π(a|s) of each step, without gradient.

        :param obs: States s, of shape (M, …)
        :param actions: Actions a, of shape (M, …)
        :return: Log-probabilities of shape (M,)
        """
        with th.no_grad():
            return th.cat(
                [
                    self.evaluate_actions(select(obs, part), actions[part])[0]
                    for part in chunks(len(actions), self.chunk_size)
                ]
            )

    def policy_gradient(
        self,
        obs: TensorObs,
        actions: th.Tensor,
        multipliers: th.Tensor,
        n_transitions: int | None = None,
        entropy_only: bool = False,
    ) -> PolicyGradient:
        r"""Compute the policy gradient and the entropy bonus's, chunk by chunk.

        .. math:: \nabla_\theta \left[ \frac{1}{M} \sum_t m_t \log \pi_\theta(a_t|s_t)
            + c_H \, \mathbb{E}_s \left[ \mathcal{H}(\pi_\theta(\cdot|s)) \right] \right]

        :param obs: States s_t, of shape (M, …)
        :param actions: Actions a_t, of shape (M, …)
        :param multipliers: Multipliers m_t of ∇log π, such as advantages, of shape (M,)
        :param n_transitions: Number that is divided by, where these transitions are a part of the
            batch only; None for their own number M
        :param entropy_only: Whether the gradient holds the entropy bonus alone
        :return: Gradient, with the loss and the entropy
        """
        n, parameters = n_transitions or len(actions), self.actor_parameters
        loss, entropy = multipliers.new_zeros(()), multipliers.new_zeros(())
        gradients, engine = list[th.Tensor](), self._engine()
        for part in chunks(len(actions), self.chunk_size):
            evaluate = self.evaluate_actions if engine is None else engine.evaluate
            log_prob, mean_entropy = evaluate(select(obs, part), actions[part])
            scored = -(log_prob * multipliers[part]).sum() / n
            share = len(log_prob) / n
            loss, entropy = loss + scored.detach(), entropy + mean_entropy.detach() * share
            if engine is not None:
                weights = multipliers[part] * (0.0 if entropy_only else -1 / n)
                new = engine.differentiate(weights, self.ent_coef * share)
                gradients = [gradients[0] + new] if gradients else [new.clone()]
                continue
            descended = scored.detach() if entropy_only else scored
            if self.ent_coef:
                descended = descended - self.ent_coef * (mean_entropy * share)
            if descended.requires_grad:
                gradients = add_gradients(gradients, descended, parameters)
        gradient = flatten(gradients) if gradients else flatten(parameters).detach() * 0
        return PolicyGradient(loss, entropy, -gradient)

    def _engine(self) -> EngineActor | None:
        """Return π_θ by the engine where its gradient has autograd's very bits, and may be used.

        It is not used for a Gaussian, whose derivative by log σ it sums in another order: stored
        runs on continuous actions would be repeated only up to rounding.
        """
        actor, _ = self._functions()
        if getattr(self.evaluate_actions, "__func__", None) is not UpdateSteps.evaluate_actions:
            return None  # log-probabilities are a subclass's own
        return actor if isinstance(actor, EngineActor) and actor.is_categorical else None

    def normalized(self, advantages: Array) -> Array:
        """Standardize advantages over the batch if ``normalize_advantage`` is true.

        :param advantages: Advantages, of shape (M,)
        :return: Standardized or unchanged advantages, of shape (M,)
        :raises ValueError: There is one transition only
        """
        if not self.normalize_advantage:
            return advantages
        if len(advantages) < 2:
            raise ValueError(
                "normalize_advantage=True needs at least 2 transitions in a batch, got 1: its "
                "standardized advantage is always 0"
            )
        standard: Array = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        return standard

    def ascend(self, gradient: th.Tensor) -> None:
        """Take one step of the actor's optimizer up a gradient, with clipping, and log the norm.

        :param gradient: Gradient ∇J, flat, of shape (P,)
        :raises FloatingPointError: The gradient is not finite; nothing is changed
        """
        self.actor_optimizer.zero_grad()
        parameters = self.actor_parameters
        for parameter, part in zip(parameters, views_like(-gradient, parameters), strict=True):
            parameter.grad = part.to(parameter.dtype)
        self._step_actor()

    def step_actor(self, loss: th.Tensor) -> None:
        """Take one step of the actor's optimizer down a loss, with clipping, and log the norm.

        :param loss: Loss to differentiate by the actor's parameters
        :raises FloatingPointError: The gradient is not finite; nothing is changed
        :raises ValueError: The loss has no graph
        """
        self.actor_optimizer.zero_grad()  # also of what has been frozen since
        if self.actor_parameters:
            if not loss.requires_grad:
                raise ValueError(
                    "the loss does not depend on the policy's parameters: compute it with "
                    "evaluate_actions(obs, actions), or pass its gradient to ascend"
                )
            loss.backward(inputs=self.actor_parameters)  # type: ignore[no-untyped-call]
        self._step_actor()

    def _step_actor(self) -> None:
        """Take the step along the gradient that the parameters have."""
        limit = float("inf") if self.max_grad_norm is None else self.max_grad_norm
        self.record_update(nn.utils.clip_grad_norm_(self.actor_parameters, limit).item())
        self.actor_optimizer.step()

    def record_update(self, grad_norm: float) -> None:
        """Count and log an update, unless its gradient is not finite.

        :param grad_norm: Norm of the policy's gradient
        :raises FloatingPointError: The norm is not finite
        """
        if not np.isfinite(grad_norm):
            raise FloatingPointError(
                f"the policy gradient's norm is {grad_norm} at {self.num_timesteps} environment "
                "steps: look at the scale of the rewards and at learning_rate"
            )
        self._n_updates += 1
        self.logger.record("train/grad_norm", grad_norm)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def fit_critic(self, obs: TensorObs, targets: th.Tensor) -> None:
        r"""Fit V to targets by ``n_critic_updates`` steps on the mean squared error, and log it.

        .. math:: L(\phi) = \frac{1}{B} \sum_i \left( V_\phi(s_i) - y_i \right)^2

        B is ``batch_size``, or the whole batch. Only the critic's own parameters get a gradient: a
        features extractor that the actor shares stays unchanged, as do frozen parameters.

        :param obs: States s_i, of shape (M, …)
        :param targets: Targets y_i, of shape (M,)
        :raises FloatingPointError: The loss is not finite; the step is not taken
        """
        _, critic = self._functions()
        draws = minibatches(len(targets), self.n_critic_updates, self.batch_size, targets.device)
        losses = [critic.fit(obs, targets, rows, self.chunk_size) for rows in draws]
        self.logger.record("train/value_loss", np.mean(losses))

    def log_policy(self, loss: th.Tensor, entropy: th.Tensor) -> None:
        """Log the policy's loss, entropy and standard deviation, before the step.

        :param loss: Policy-gradient loss
        :param entropy: Mean entropy, in nats
        """
        self.logger.record("train/policy_gradient_loss", loss.item())
        self.logger.record("train/entropy_loss", -entropy.item())
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", self.policy.log_std.detach().exp().mean().item())

    def log_explained_variance(self, values: Array, targets: Array) -> None:
        """Log the share of the targets' variance that the critic explains.

        :param values: V(s), of shape (M,)
        :param targets: Targets of the critic, of shape (M,)
        """
        self.logger.record("train/explained_variance", explained_variance(values, targets))

    def update_learning_rates(self) -> None:
        """Set the learning rates of both optimizers from their schedules, and log them.

        The critic follows ``lr_schedule``, which a callback may have replaced, unless it has a rate
        of its own.
        """
        own_rate = vars(self)["critic_learning_rate"] is not None
        of_critic = self.critic_lr_schedule if own_rate else self.lr_schedule
        for name, schedule, optimizer in (
            ("learning_rate", self.lr_schedule, self.actor_optimizer),
            ("critic_learning_rate", of_critic, self.critic_optimizer),
        ):
            rate = scheduled(name, schedule, self._current_progress_remaining)
            update_learning_rate(optimizer, rate)
            heed_strides(optimizer)
            self.logger.record(f"train/{name}", rate)
