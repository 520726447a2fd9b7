"""Batch actor-critic (CS285 lecture 6)."""

from typing import Any, Literal, TypeAlias

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from sb3_course import estimators
from sb3_course.collection.collector import FixedSteps
from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
from sb3_course.common.errors import check_whole
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from sb3_course.common.validation import check_choice

CriticTarget: TypeAlias = Literal["mc", "td", "gae"]

CRITIC_TARGETS = ("mc", "td", "gae")


class BatchActorCritic(PolicyGradientAlgorithm):
    r"""Batch actor-critic (CS285 fall 2023, lecture 6, "batch actor-critic algorithm").

    Sample ``n_steps * n_envs`` transitions; fit V to targets y; then, with the *new* V,

    .. math:: \nabla_\theta J \approx \frac{1}{M} \sum_t \nabla_\theta \log \pi_\theta(a_t|s_t)
        \hat A_t, \qquad \hat A_t = \sum_{l \ge 0} (\gamma\lambda)^l \delta_{t+l}, \qquad
        \delta_t = r_t + \gamma V(s_{t+1}) - V(s_t)

    ======================================  ==================================================
    symbol                                  variable
    ======================================  ==================================================
    y = Σ_{t'≥t} γ^{t'-t} r_t'              ``critic_target="mc"``: rewards to the episode's end,
    + γ^{T-t} V(s_T)                        V only after a time limit and the batch's edge
    y = r_t + γ V(s_{t+1})                  ``"td"``: bootstrapped, with V before this batch
    y = Â_t + V(s_t)                        ``"gae"``: λ-returns, likewise
    λ                                       ``gae_lambda``; 0 gives the lecture's Â = δ
    ======================================  ==================================================

    After a terminal state V is 0, after a time limit it is V(s_T).

    ``stats_window_size``, ``tensorboard_log``, ``policy_kwargs``, ``verbose``, ``seed``, ``device``
    and ``_init_setup_model`` are described in :class:`.PolicyGradientAlgorithm`.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or an
        ``ActorCriticPolicy`` class
    :param env: Environment, or its Gymnasium id
    :param learning_rate: Learning rate of the policy's optimizer
    :param critic_learning_rate: Learning rate of the critic's optimizer; None for
        ``learning_rate``
    :param n_steps: Steps of each environment in a batch; None for as many as make 256 transitions
        from all environments together
    :param gamma: Discount factor γ
    :param gae_lambda: Decay λ, in the advantage and in the targets of ``critic_target="gae"``
    :param critic_target: Targets of V: ``"mc"``, ``"td"`` or ``"gae"``
    :param n_critic_updates: Gradient steps of the critic per batch
    :param batch_size: Transitions of each of these steps; None for the whole batch
    :param ent_coef: Coefficient of the entropy bonus
    :param max_grad_norm: Maximum norm of the policy's gradient; None for no clipping
    :param normalize_advantage: Whether Â is standardized over the batch
    :raises ValueError: A parameter is out of its range; names it and what is allowed
    """

    default_transitions = 256

    def __init__(  # noqa: DOC101, DOC103
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-3,
        critic_learning_rate: float | Schedule | None = None,
        n_steps: int | None = None,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        critic_target: CriticTarget = "gae",
        n_critic_updates: int = 10,
        batch_size: int | None = None,
        ent_coef: float = 0.0,
        max_grad_norm: float | None = None,
        normalize_advantage: bool = False,
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
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            max_grad_norm=max_grad_norm,
            normalize_advantage=normalize_advantage,
            n_critic_updates=n_critic_updates,
            batch_size=batch_size,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
        )
        self.critic_target = critic_target
        if _init_setup_model:
            self._setup_model()

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_whole("n_steps", self.n_steps)
        check_choice("critic_target", self.critic_target, CRITIC_TARGETS)

    def _schedule(self) -> FixedSteps:
        return FixedSteps(self.n_envs, self.n_steps)

    def train(self) -> None:
        """Fit the critic to ``self.rollout``, then take one policy-gradient step."""
        self.policy.set_training_mode(False)
        self.update_learning_rates()
        rollout = self.rollout
        obs, actions = self.tensors(rollout)

        # φ ← argmin Σ_t (V_φ(s_t) − y_t)²
        targets = rollout.flat(self.critic_targets(rollout))
        self.fit_critic(obs, self.to_tensor(targets))
        # δ_t = r_t + γ V(s_{t+1}) − V(s_t), with the new V
        values, next_values = self.predict_rollout(rollout)
        deltas = estimators.td_errors(rollout.rewards, values, next_values, self.gamma)
        # Â_t = Σ_{l≥0} (γλ)^l δ_{t+l}
        gae = estimators.gae(deltas, rollout.ends, self.gamma, self.gae_lambda)
        advantages = self.to_tensor(self.normalized(rollout.flat(gae)))
        # ∇J ≈ 1/M Σ_t ∇log π_θ(a_t|s_t) Â_t
        loss, entropy, gradient = self.policy_gradient(obs, actions, advantages)
        self.log_policy(loss, entropy)
        # θ ← θ + α ∇J
        self.ascend(gradient)
        self.log_explained_variance(rollout.flat(values), targets)

    def critic_targets(self, rollout: Rollout) -> Array:
        """Compute the targets y of the critic.

        :param rollout: Batch of a fixed number of steps
        :return: Targets y_t, of shape (T, N)
        """
        rewards, ends = rollout.rewards, rollout.ends
        if self.critic_target == "mc":  # y_t = Σ_{t'≥t} γ^{t'−t} r_t' + γ^{T−t} V(s_T)
            bootstrap_values = rollout.bootstrap_values(self.predict_values)
            return estimators.reward_to_go(rewards, ends, self.gamma, bootstrap_values)
        values, next_values = self.predict_rollout(rollout)
        deltas = estimators.td_errors(rewards, values, next_values, self.gamma)
        if self.critic_target == "td":  # y_t = r_t + γ V(s_{t+1})
            return deltas + values
        return estimators.gae(deltas, ends, self.gamma, self.gae_lambda) + values  # y_t = Â_t + V
