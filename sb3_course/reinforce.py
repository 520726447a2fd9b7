"""REINFORCE: the Monte Carlo policy gradient, with the variance reductions of lecture 5."""

from typing import Any, Literal, TypeAlias

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from sb3_course import estimators
from sb3_course.collection.collector import WholeEpisodes
from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
from sb3_course.common.errors import check_whole
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from sb3_course.common.validation import check, check_choice
from sb3_course.estimators.trajectory_gradients import TrajectoryGradients

Baseline: TypeAlias = Literal["mean", "optimal", "value"] | None

BASELINES = (None, "mean", "optimal", "value")


class REINFORCE(PolicyGradientAlgorithm):
    r"""Monte Carlo policy gradient over whole episodes (Williams 1992; CS285 fall 2023, lecture 5).

    .. math:: \nabla_\theta J \approx \frac{1}{M} \sum_{i=1}^{K} \sum_{t}
        \nabla_\theta \log \pi_\theta(a_{i,t} \mid s_{i,t}) \left( \hat Q_{i,t} - b \right)

    The update is the gradient of the mean over the batch's M transitions, like SB3's losses; the
    lecture's mean over the K trajectories is larger by M/K, the mean episode length.

    ===========================  ===============================================================
    symbol                       variable
    ===========================  ===============================================================
    Q̂ = Σ_{t'≥t} γ^{t'-t} r_t'   ``reward_to_go=True``: causality, rewards before t are left out
    Q̂ = R(τ) = Σ_t' γ^t' r_t'    ``reward_to_go=False``: the whole trajectory's return
    b = 0                        ``baseline=None``
    b = mean Q̂ of the others     ``"mean"``: over the other trajectories' R(τ), or over their
                                 reward to go at the same step
    b = E[A∘S] / E[S∘S]          ``"optimal"``: least variance, one per parameter, with
                                 S = Σ_t ∇log π and A = Σ_t ∇log π Q̂; from the other trajectories
    b = V(s_t)                   ``"value"``: a critic, fitted to the batches *before* this one
    ===========================  ===============================================================

    No baseline at step t depends on the trajectory's own actions from t on, so with ``n_episodes``
    none biases the sum over the batch. (With ``n_steps`` it adds a little: the number of other
    trajectories depends on one's own length.) Two common practices do add bias: with γ < 1 the
    reward to go leaves out the weight γ^t of step t, and the division by M correlates with episode
    length where this varies.

    The optimal baseline is a quotient of estimates: from few trajectories (4, say) it has heavy
    tails and may raise the variance many times over; from about 32 on it lowers it (the figure
    ``estimator_variance`` measures both).

    A return holds rewards alone, also at a time limit. Only with ``baseline="value"`` is the unseen
    rest after a time limit valued, γ^{T-t} V(s_T).

    ``stats_window_size``, ``tensorboard_log``, ``policy_kwargs``, ``verbose``, ``seed``, ``device``
    and ``_init_setup_model`` are described in :class:`.PolicyGradientAlgorithm`.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or an
        ``ActorCriticPolicy`` class
    :param env: Environment, or its Gymnasium id
    :param learning_rate: Learning rate of the policy's optimizer
    :param critic_learning_rate: Learning rate of the critic's optimizer; None for
        ``learning_rate``
    :param n_steps: Steps of each environment during which episodes start, all of which are
        finished: at least ``n_steps * n_envs`` transitions; 1024 / ``n_envs`` if neither this nor
        ``n_episodes`` is given
    :param n_episodes: Exact number of episodes in a batch, instead of ``n_steps``
    :param gamma: Discount factor γ
    :param reward_to_go: Whether Q̂ leaves out the rewards before t
    :param baseline: Baseline b: None, ``"mean"``, ``"optimal"`` or ``"value"``
    :param ent_coef: Coefficient of the entropy bonus
    :param max_grad_norm: Maximum norm of the policy's gradient; None for no clipping
    :param normalize_advantage: Whether Q̂ - b is standardized over the batch (this subtracts a mean
        that holds one's own return, so it biases by O(1/K) and is itself a baseline)
    :param n_critic_updates: Gradient steps of the critic per batch (``baseline="value"`` only)
    :param batch_size: Transitions of each of these steps; None for the whole batch
    :param log_grad_variance: Whether to log ``train/grad_variance``, the trace of the covariance of
        the estimate of ∇J, without the entropy bonus, which costs an extra pass
        (``baseline="optimal"`` logs it at no cost)
    :raises ValueError: A parameter is out of its range; names it and what is allowed
    """

    whole_episodes = True

    def __init__(  # noqa: DOC101, DOC103
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-3,
        critic_learning_rate: float | Schedule | None = None,
        n_steps: int | None = None,
        n_episodes: int | None = None,
        gamma: float = 0.99,
        reward_to_go: bool = True,
        baseline: Baseline = "value",
        ent_coef: float = 0.0,
        max_grad_norm: float | None = None,
        normalize_advantage: bool = False,
        n_critic_updates: int = 20,
        batch_size: int | None = 2048,
        log_grad_variance: bool = False,
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
        self.n_episodes = n_episodes
        self.reward_to_go = reward_to_go
        self.baseline = baseline
        self.log_grad_variance = log_grad_variance
        if _init_setup_model:
            self._setup_model()

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("baseline", self.baseline, BASELINES)
        if self.n_steps is not None and self.n_episodes is not None:
            raise ValueError(
                "pass n_steps or n_episodes, not both: "
                f"got n_steps={self.n_steps} and n_episodes={self.n_episodes}"
            )
        if self.n_episodes is None:
            check_whole("n_steps", self._start_steps)
        else:
            check_whole("n_episodes", self.n_episodes)
            check(
                "n_episodes",
                self.n_episodes,
                self.n_episodes >= self._min_episodes,
                f"at least {self._min_episodes} with baseline={self.baseline!r}, "
                "which is estimated from the other trajectories",
            )

    @property
    def _min_episodes(self) -> int:
        from_others = self.baseline in ("mean", "optimal") or self.log_grad_variance
        return 2 if from_others else 1

    @property
    def _start_steps(self) -> int:
        return self._default_n_steps if self.n_steps is None else self.n_steps

    def _schedule(self) -> WholeEpisodes:
        return WholeEpisodes(self.n_envs, self._start_steps, self.n_episodes, self._min_episodes)

    def train(self) -> None:
        """Take one step along the policy gradient of ``self.rollout``, then fit the critic."""
        self.policy.set_training_mode(False)
        self.update_learning_rates()
        rollout = self.rollout
        obs, actions = self.tensors(rollout)

        to_go = self.returns_to_go(rollout)  # Σ_{t'≥t} γ^{t'−t} r_t'
        q_hat = self.q_hat(rollout, to_go)  # Q̂_t
        b = self.baselines(rollout, q_hat, to_go)
        advantages = self.to_tensor(self.normalized(q_hat - b))  # Q̂_t − b
        # ∇J ≈ 1/M Σ_i Σ_t ∇log π_θ(a_{i,t}|s_{i,t}) (Q̂_{i,t} − b)
        optimal = self.baseline == "optimal"
        loss, entropy, gradient = self.policy_gradient(
            obs, actions, advantages, entropy_only=optimal
        )
        self.log_policy(loss, entropy)
        if optimal:  # ∇J ≈ 1/M Σ_i (A_i − b∘S_i), b = E[A∘S] / E[S∘S]
            gradient = gradient + self.optimal_baseline_gradient(rollout, advantages)
        elif self.log_grad_variance:
            self.log_gradient_variance(rollout, advantages)
        # θ ← θ + α ∇J
        self.ascend(gradient)
        if self.baseline == "value":  # φ ← argmin Σ_t (V_φ(s_t) − Q̂_t)²
            self.fit_critic(obs, self.to_tensor(rollout.flat(to_go)))

    def returns_to_go(self, rollout: Rollout) -> Array:
        """Compute Σ_{t'≥t} γ^{t'-t} r_t', plus the value after a time limit for the value baseline.

        :param rollout: Batch of whole episodes
        :return: Reward to go, of shape (T, N); the target of the critic
        """
        uses_value = self.baseline == "value"
        bootstrap_values = rollout.bootstrap_values(self.predict_values) if uses_value else 0.0
        return estimators.reward_to_go(rollout.rewards, rollout.ends, self.gamma, bootstrap_values)

    def q_hat(self, rollout: Rollout, to_go: Array) -> Array:
        """Compute Q̂ of each counted step: the reward to go or the total return.

        :param rollout: Batch of whole episodes
        :param to_go: Reward to go, from :meth:`returns_to_go`
        :return: Q̂, of shape (M,)
        """
        if self.reward_to_go:
            return rollout.flat(to_go)
        return rollout.flat(estimators.total_return(to_go, rollout.trajectory))

    def baselines(self, rollout: Rollout, q_hat: Array, to_go: Array) -> Array:
        """Compute b of each counted step; 0 if there is none, or one per parameter (optimal).

        :param rollout: Batch of whole episodes
        :param q_hat: Q̂, from :meth:`q_hat`
        :param to_go: Reward to go, from :meth:`returns_to_go`: the critic's target, whatever Q̂ is
        :return: Baselines b, of shape (M,)
        """
        if self.baseline == "value":
            values = self.predict_values(rollout.flat_obs)
            self.log_explained_variance(values, rollout.flat(to_go))
            return values
        if self.baseline != "mean":
            return np.zeros_like(q_hat)
        if self.reward_to_go:
            return estimators.leave_one_out_mean(q_hat, rollout.flat(rollout.time))
        trajectory = rollout.flat(rollout.trajectory)
        totals = np.zeros(rollout.n_trajectories)
        totals[trajectory] = q_hat
        return estimators.leave_one_out_mean(totals, np.zeros_like(totals, dtype=int))[trajectory]

    def optimal_baseline_gradient(self, rollout: Rollout, advantages: th.Tensor) -> th.Tensor:
        """Compute 1/M Σ_i (A_i - b_i∘S_i), with b_i from the other trajectories; log its variance.

        :param rollout: Batch of K trajectories
        :param advantages: Multiplier of ∇log π in A, of shape (M,)
        :return: Gradient, of shape (P,)
        """
        moments = self.optimal_baseline_moments(rollout, th.ones_like(advantages), advantages)
        self.logger.record("train/grad_variance", moments.covariance_trace())
        return moments.total / rollout.n_transitions

    def optimal_baseline_moments(
        self, rollout: Rollout, weights: th.Tensor, advantages: th.Tensor
    ) -> estimators.GradientMoments:
        """Sum A_i - b_i∘S_i over the trajectories, and what its variance needs.

        :param rollout: Batch of K trajectories
        :param weights: Multiplier of ∇log π in S, of shape (M,)
        :param advantages: Multiplier of ∇log π in A, of shape (M,)
        :return: Moments of A_i - b_i∘S_i
        """
        blocks = self._gradient_blocks(rollout, th.stack([weights, advantages], dim=1))
        sums = estimators.optimal_baseline_sums((g[:, 0], g[:, 1]) for _, g in blocks)
        moments = estimators.GradientMoments()
        for which, gradients in blocks:
            scores, estimates = gradients[:, 0], gradients[:, 1]
            estimates -= estimators.optimal_baseline(scores, estimates, sums).mul_(scores)
            moments.add(estimates, th.from_numpy(rollout.lengths)[which])
        return moments

    def trajectory_gradients(
        self, rollout: Rollout, multipliers: th.Tensor
    ) -> tuple[th.Tensor, ...]:
        """Compute the weighted scores of each trajectory, Σ_t m_t ∇log π(a_t|s_t).

        :param rollout: Batch of K trajectories
        :param multipliers: One multiplier m or several per counted step, of shape (M, W)
        :return: W tensors of shape (K, P)
        """
        return self._gradient_blocks(rollout, multipliers).whole().unbind(dim=1)

    def log_gradient_variance(self, rollout: Rollout, advantages: th.Tensor) -> None:
        """Log ``train/grad_variance``, the trace of the covariance of the estimate of ∇J.

        The entropy bonus, whose gradient is none of ∇J, is left out, and advantages are taken as
        given: that ``normalize_advantage`` divides by their own deviation is not followed.

        :param rollout: Batch of K trajectories
        :param advantages: Multiplier of ∇log π, of shape (M,)
        """
        moments = estimators.GradientMoments()
        for which, gradients in self._gradient_blocks(rollout, advantages[:, None]):
            moments.add(gradients[:, 0], th.from_numpy(rollout.lengths)[which])
        self.logger.record("train/grad_variance", moments.covariance_trace())

    def _gradient_blocks(self, rollout: Rollout, multipliers: th.Tensor) -> TrajectoryGradients:
        """Return the weighted scores of each trajectory, block by block."""
        trajectory = self.to_tensor(rollout.flat(rollout.trajectory))
        return TrajectoryGradients(
            self.policy,
            self.actor_parameters,
            *self.tensors(rollout),
            multipliers,
            trajectory,
            self.chunk_size,
        )
