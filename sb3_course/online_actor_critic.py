"""Online actor-critic over synchronized parallel actors (CS285 lecture 6)."""

from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.collection.collector import check_finite, step_wait, truncations
from sb3_course.collection.observations import (
    Obs,
    TensorObs,
    as_declared,
    map_obs,
    owned,
    true_next_obs,
)
from sb3_course.common.errors import check_whole
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm

Self = TypeVar("Self", bound="OnlineActorCritic")

Known: TypeAlias = tuple[TensorObs, th.Tensor, th.Tensor, th.Tensor]
LOG_INTERVAL = 10_000
TRANSIENT = ("_transition", "_last_update")
"""Attributes that the next environment step makes again."""


class Transition(NamedTuple):
    """One step of N environments; its tensors have no gradient.

    ============  ========  ================================================
    variable      shape     meaning
    ============  ========  ================================================
    ``obs``       (N, …)    s
    ``log_prob``  (N,)      log π_θ(a|s)
    ``entropy``   ()        mean entropy of π_θ(·|s)
    ``values``    (N,)      V_φ(s)
    ``rewards``   (N,)      r
    ``next_obs``  (N, …)    s', the last observation where an episode ended
    ``alive``     (N,)      0 where s' is terminal, else 1
    ============  ========  ================================================
    """

    obs: TensorObs
    log_prob: th.Tensor
    entropy: th.Tensor
    values: th.Tensor
    rewards: th.Tensor
    next_obs: TensorObs
    alive: th.Tensor


class Step(NamedTuple):
    """The arrays of a step of N environments, of which the transition is made."""

    obs: Obs
    actions: Any
    rewards: Any
    next_obs: Obs
    alive: Any


class Update(NamedTuple):
    """The numbers of an update, of which a log is made if there is one before the next update."""

    log_prob: th.Tensor
    advantages: th.Tensor
    entropy: th.Tensor
    value_loss: float
    values: th.Tensor
    targets: th.Tensor
    grad_norm: float | None


class OnlineActorCritic(PolicyGradientAlgorithm):
    r"""Online actor-critic (CS285 fall 2023, lecture 6, "online actor-critic in practice").

    After *every* step of its N parallel environments, over the N transitions (s, a, s', r):

    1. .. math:: y = r + \gamma V(s'), \qquad \phi \leftarrow \phi - \alpha_\phi
          \nabla_\phi \frac{1}{N} \sum \left( V_\phi(s) - y \right)^2
    2. .. math:: \hat A = r + \gamma V(s') - V(s) \quad \text{with the new } V
    3. .. math:: \theta \leftarrow \theta + \alpha \frac{1}{N} \sum
          \nabla_\theta \log \pi_\theta(a|s) \hat A

    V(s') is 0 where s' is terminal, and the value of the episode's last observation where a time
    limit ended it. The forward pass that samples the actions is the one that is differentiated.

    ==============  ================================================================
    symbol          variable
    ==============  ================================================================
    N               the environment's ``num_envs``
    γ               ``gamma``
    α, α_φ          ``learning_rate``, ``critic_learning_rate``
    θ, φ            ``actor_parameters``, ``critic_parameters``
    ==============  ================================================================

    ``learn(…, log_interval=…)`` counts environment steps here, since an iteration is one step. A
    log holds the numbers of the last update before it.

    ``stats_window_size``, ``tensorboard_log``, ``policy_kwargs``, ``verbose``, ``seed``, ``device``
    and ``_init_setup_model`` are described in :class:`.PolicyGradientAlgorithm`.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or an
        ``ActorCriticPolicy`` class
    :param env: Environment, or its Gymnasium id
    :param learning_rate: Learning rate of the policy's optimizer
    :param critic_learning_rate: Learning rate of the critic's optimizer; None for
        ``learning_rate``
    :param gamma: Discount factor γ
    :param ent_coef: Coefficient of the entropy bonus
    :param max_grad_norm: Maximum norm of the policy's gradient; None for no clipping
    :raises ValueError: A parameter is out of its range; names it and what is allowed
    """

    _last_update: Update | None = None
    _pending: Step | None = None  # collected, but not trained on, while a callback runs

    def __init__(  # noqa: DOC101, DOC103
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        critic_learning_rate: float | Schedule | None = 1e-3,
        gamma: float = 0.99,
        ent_coef: float = 0.0,
        max_grad_norm: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            critic_learning_rate=critic_learning_rate,
            n_steps=1,
            gamma=gamma,
            ent_coef=ent_coef,
            max_grad_norm=max_grad_norm,
            n_critic_updates=1,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = LOG_INTERVAL,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn for at least ``total_timesteps`` environment steps.

        :param total_timesteps: Environment steps, over all environments
        :param callback: SB3 callback or callbacks
        :param log_interval: Environment steps between two logs; None for no logs
        :param tb_log_name: Name of the run in TensorBoard; None for the name of the class
        :param reset_num_timesteps: Whether to count steps from 0 again
        :param progress_bar: Whether to show a progress bar
        :return: The model itself
        :raises ValueError: ``log_interval`` is neither None nor a positive whole number
        """
        check_whole("log_interval", log_interval, none=True)
        self._drop_functions()
        self._last_update = None
        return super().learn(
            total_timesteps,
            callback,
            None if log_interval is None else max(1, log_interval // self.n_envs),
            tb_log_name,
            reset_num_timesteps,
            progress_bar,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return what can be pickled or copied: all but the functions and the last transition."""
        return {k: v for k, v in super().__getstate__().items() if k not in TRANSIENT}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), *TRANSIENT, "_pending"]

    def _training_memory(self) -> dict[str, Any]:
        """Return the step that is not trained on yet, if a callback saves the model."""
        return {} if self._pending is None else {"pending": self._pending._asdict()}

    def _set_training_memory(self, memory: dict[str, Any]) -> None:
        """Take what :meth:`_training_memory` returned."""
        self._pending = Step(**memory["pending"])

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: Any = None,
        n_rollout_steps: int | None = None,
    ) -> bool:
        """Take one step of every environment, and keep the transition for :meth:`train`.

        :param env: Environments to step
        :param callback: Callback that is called after the step
        :param rollout_buffer: Not used
        :param n_rollout_steps: Not used
        :return: Whether to continue (False once the callback has stopped the training)
        :raises FloatingPointError: An observation or reward is not finite
        """
        assert self._last_obs is not None
        if self.policy.training:
            self.policy.set_training_mode(False)
        if self._pending is not None:  # a callback had saved this model, or was interrupted
            step, self._pending = self._pending, None
            self._keep(step)
            self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
            self.train()
        callback.on_rollout_start()
        actor, critic = self._functions()
        last_obs = as_declared(self._last_obs, self.observation_space)
        check_finite("observation", last_obs, step=self.num_timesteps)
        last_obs = map_obs(owned, last_obs)
        obs = self.to_tensor(last_obs)
        with th.no_grad():
            sampled, clipped_actions = self.clip_actions(actor.act(obs))
            env.step_async(clipped_actions)  # functions of s and a are computed during the step
            (log_prob, entropy), values = actor.score(), critic.evaluate(obs)
        version, n_passes = self._version(), actor.n_passes
        new_obs, rewards, dones, infos = step_wait(env)
        check_finite("reward", rewards, step=self.num_timesteps)
        next_obs = true_next_obs(new_obs, dones, infos)
        check_finite("observation", next_obs, step=self.num_timesteps)
        alive = (~(dones & ~truncations(dones, infos))).astype(np.float32)
        step = Step(last_obs, sampled, rewards, map_obs(owned, next_obs), alive)
        self._last_obs, self._last_episode_starts = new_obs, dones
        step_locals = {
            "new_obs": new_obs,
            "rewards": rewards,
            "dones": dones,
            "infos": infos,
            "actions": sampled,
            "clipped_actions": clipped_actions,
            "env": env,
            "values": values,
            "log_probs": log_prob,
            "n_steps": 1,
            "running": np.ones_like(dones),
        }
        self._pending = step
        if not self.after_step(callback, step_locals):
            self._pending = None
            return False
        if self._version() == version and actor.n_passes == n_passes:
            self._keep(step, (obs, log_prob, entropy, values))
        else:  # a callback has changed weights, or computed a gradient
            self._keep(step)
            actor, critic = self._functions()
        callback.on_rollout_end()
        self._pending = None
        actor.optimizer, critic.optimizer = self.actor_optimizer, self.critic_optimizer
        return True

    def _keep(self, step: Step, known: Known | None = None) -> None:
        """Keep a step for :meth:`train`, with s, log π, H and V if they are known."""
        if known is None:
            actor, critic = self._functions()
            obs = self.to_tensor(step.obs)
            with th.no_grad():
                log_prob, entropy = actor.evaluate(obs, self.to_tensor(step.actions))
                known = obs, log_prob, entropy, critic.evaluate(obs)
        self._transition = Transition(
            *known,
            self.to_tensor(step.rewards),  # which a callback may have changed, as in SB3
            self.to_tensor(step.next_obs),
            self.to_tensor(step.alive),
        )

    def _version(self) -> int:
        """Return a number that grows when a parameter is changed in place."""
        groups = (self._actor_group, self._critic_group)
        return sum(p._version for group in groups for p in group)

    @th.no_grad()
    def train(self) -> None:
        """Fit the critic to the last step, then take one policy-gradient step."""
        obs, log_prob, entropy, values, rewards, next_obs, alive = self._transition
        assert self._made is not None, "collect_rollouts() has made them"
        actor, critic = self._made
        self.update_learning_rates()

        # φ ← φ − α ∇_φ 1/N Σ (V_φ(s) − y)², y = r + γ V(s')
        discount = self.gamma * alive  # V(s') is 0 where s' is terminal
        targets = rewards + discount * critic(next_obs)
        value_loss = critic.descend(targets)
        # Â = r + γ V(s') − V(s), with the new V
        next_values, new_values = critic.both(next_obs, obs)
        advantages = rewards + discount * next_values - new_values
        # θ ← θ + α 1/N Σ ∇_θ log π_θ(a|s) Â
        _, norm = actor.descend(advantages, self.ent_coef, self.max_grad_norm)
        self._n_updates += 1
        self._last_update = Update(log_prob, advantages, entropy, value_loss, values, targets, norm)

    def dump_logs(self, iteration: int = 0) -> None:
        """Write a log, with the numbers of the last update.

        :param iteration: Number of the iteration
        """
        if (last := self._last_update) is not None:
            self.log_policy(-(last.log_prob * last.advantages).mean(), last.entropy)
            self.logger.record("train/value_loss", last.value_loss)
            if len(last.values) > 1:
                self.log_explained_variance(last.values.cpu().numpy(), last.targets.cpu().numpy())
            norm = self._gradient_norm() if last.grad_norm is None else last.grad_norm
            self.logger.record("train/grad_norm", norm)
            self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        super().dump_logs(iteration)

    def _gradient_norm(self) -> float:
        """Return the norm of the last update's gradient, which the policy's parameters hold."""
        gradients = [p.grad.flatten() for p in self.actor_parameters if p.grad is not None]
        return th.cat(gradients).norm().item() if gradients else 0.0
