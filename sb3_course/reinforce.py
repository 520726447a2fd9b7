"""REINFORCE: the Monte Carlo policy gradient, with every variance reduction of lecture 5."""

from typing import Any, Literal, TypeAlias

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.utils import explained_variance

from sb3_course import estimators
from sb3_course.collection.collector import WholeEpisodes
from sb3_course.collection.observations import Array, select
from sb3_course.collection.rollout import Rollout
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from sb3_course.common.validation import check, check_count
from sb3_course.estimators.trajectory_gradients import trajectory_gradients

Baseline: TypeAlias = Literal["mean", "optimal", "value"] | None

BASELINES = (None, "mean", "optimal", "value")
DEFAULT_N_STEPS = 1000


class REINFORCE(PolicyGradientAlgorithm):
    r"""Monte Carlo policy gradient over whole episodes (Williams 1992; CS285 fall 2023, lecture 5).

    .. math:: \nabla_\theta J \approx \frac{1}{M} \sum_{i=1}^{K} \sum_{t}
        \nabla_\theta \log \pi_\theta(a_{i,t} \mid s_{i,t}) \left( \hat Q_{i,t} - b \right)

    The update is the gradient of the mean over the batch's M transitions, as SB3's losses are; the
    lecture's mean over the K trajectories is larger by M/K, the mean episode length.

    ===========================  ===============================================================
    symbol                       variable
    ===========================  ===============================================================
    Q̂ = Σ_{t'≥t} γ^{t'-t} r_t'   ``reward_to_go=True``: causality, what came before t is left out
    Q̂ = R(τ) = Σ_t' γ^t' r_t'    ``reward_to_go=False``: the whole trajectory's return
    b = 0                        ``baseline=None``
    b = mean Q̂ of the others     ``"mean"``: over the other trajectories' R(τ), or over their
                                 reward to go at the same step
    b = E[A∘S] / E[S∘S]          ``"optimal"``: least variance, one for each parameter, with
                                 S = Σ_t ∇log π and A = Σ_t ∇log π Q̂; from the other trajectories
    b = V(s_t)                   ``"value"``: a critic, as fitted to the batches *before* this one
    ===========================  ===============================================================

    No baseline depends on the trajectory's own actions, so with ``n_episodes`` none adds bias.
    (With ``n_steps`` a little: how many others there are depends on one's own length.) Two things
    do, and both are everyone's practice: with γ < 1 the reward to go leaves out the weight γ^t of
    step t, and the division by M correlates with episode length where this varies.

    The optimal baseline is a quotient of estimates: from few trajectories (4, say) it has heavy
    tails and may raise the variance many times over; with 16 and more it lowers it (the figure
    ``estimator_variance`` measures both).

    A return is of rewards alone, up to a time limit too. Only with ``baseline="value"`` is the tail
    behind a time limit valued, γ^{T-t} V(s_T), by one call of the critic for the batch.

    :param policy: See :class:`.PolicyGradientAlgorithm`, as for all others
    :param env: The environment, or its Gymnasium name
    :param learning_rate: Of the policy
    :param critic_learning_rate: Of the critic; None takes ``learning_rate``
    :param n_steps: Start episodes during so many steps of each environment, then finish them: at
        least ``n_steps * n_envs`` transitions. 1000 if neither this nor ``n_episodes`` is given
    :param n_episodes: Or take exactly so many episodes
    :param gamma: Discount γ
    :param reward_to_go: Whether Q̂ leaves out the rewards before t
    :param baseline: None, ``"mean"``, ``"optimal"`` or ``"value"``
    :param ent_coef: Weight of the entropy bonus
    :param max_grad_norm: Largest norm of the policy's gradient; None for no limit
    :param normalize_advantage: Whether Q̂ - b is standardized over the batch (this subtracts a mean
        that holds one's own return, so it biases by O(1/M) and is itself a baseline)
    :param n_critic_updates: Gradient steps on V for a batch (``baseline="value"`` only)
    :param batch_size: Transitions of each of these steps; None for the whole batch
    :param log_grad_variance: Log ``train/grad_variance``, the trace of the estimate's covariance,
        also where it costs an extra pass (``baseline="optimal"`` logs it for nothing)
    :param stats_window_size: Episodes in ``rollout/ep_rew_mean``
    :param tensorboard_log: Folder for TensorBoard
    :param policy_kwargs: For the policy's constructor
    :param verbose: 0, 1 or 2
    :param seed: Of all random generators
    :param device: Where the networks live
    :param _init_setup_model: Whether to build the networks at once
    :raises ValueError: A parameter is out of its range; says which, and what it takes
    """

    def __init__(
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
            n_steps=n_steps,  # type: ignore[arg-type]
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
        )
        self.n_episodes = n_episodes
        self.reward_to_go = reward_to_go
        self.baseline = baseline
        self.log_grad_variance = log_grad_variance
        if _init_setup_model:
            self._setup_model()

    def _check_parameters(self) -> None:
        super()._check_parameters()
        names = ", ".join(repr(b) for b in BASELINES)
        check("baseline", self.baseline, self.baseline in BASELINES, f"one of {names}")
        if self.n_steps is not None and self.n_episodes is not None:
            raise ValueError(
                "give n_steps or n_episodes, not both: "
                f"got n_steps={self.n_steps} and n_episodes={self.n_episodes}"
            )
        if self.n_episodes is None:
            check_count("n_steps", self._start_steps)
        else:
            check_count("n_episodes", self.n_episodes)
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
        return DEFAULT_N_STEPS if self.n_steps is None else self.n_steps

    def _schedule(self) -> WholeEpisodes:
        return WholeEpisodes(self.n_envs, self._start_steps, self.n_episodes, self._min_episodes)

    def train(self) -> None:
        """Take one step along the policy gradient of ``self.rollout``, then fit the critic."""
        self.policy.set_training_mode(True)
        self.update_learning_rates()
        rollout = self.rollout
        obs = self.to_tensor(rollout.flat_obs)
        actions = self.to_tensor(rollout.flat(rollout.actions))

        to_go = self.returns_to_go(rollout)
        q_hat = self.q_hat(rollout, to_go)
        weights = self.to_tensor(self.normalized(q_hat - self.baselines(rollout, q_hat)))
        log_prob, entropy = self.evaluate_actions(obs, actions)
        loss = -(log_prob * weights).mean()
        self.log_policy(loss, entropy)

        if self.baseline == "optimal":  # A - b∘S: the baseline is another one for each parameter
            scores, estimates = self.trajectory_gradients(
                rollout, th.stack([th.ones_like(weights), weights], dim=1)
            )
            gradients = estimates - estimators.optimal_baseline(scores, estimates) * scores
            self.step_actor(-self.ent_coef * entropy, -gradients.sum(0) / len(weights))
        else:
            if self.log_grad_variance:
                (gradients,) = self.trajectory_gradients(rollout, weights[:, None])
            self.step_actor(loss - self.ent_coef * entropy)

        if self.baseline == "optimal" or self.log_grad_variance:
            variance = estimators.covariance_trace(gradients, len(weights))
            self.logger.record("train/grad_variance", variance)
        if self.baseline == "value":
            self.fit_critic(obs, self.to_tensor(rollout.flat(to_go)))

    def returns_to_go(self, rollout: Rollout) -> Array:
        """Σ_{t'≥t} γ^{t'-t} r_t', with the value of what a time limit hides for the value baseline.

        :param rollout: A batch
        :return: Of shape (T, N); what the critic is fitted to
        """
        tails = rollout.cut_values(self.predict_values) if self.baseline == "value" else 0.0
        return estimators.reward_to_go(rollout.rewards, rollout.ends, self.gamma, tails)

    def q_hat(self, rollout: Rollout, to_go: Array) -> Array:
        """Q̂ of each counted step, as ``reward_to_go`` says.

        :param rollout: A batch
        :param to_go: Of :meth:`returns_to_go`
        :return: Of shape (M,)
        """
        if self.reward_to_go:
            return rollout.flat(to_go)
        return rollout.flat(estimators.total_return(to_go, rollout.trajectory))

    def baselines(self, rollout: Rollout, q_hat: Array) -> Array:
        """Baseline of each counted step; 0 for the optimal one, which is not one number a step.

        :param rollout: A batch
        :param q_hat: Of :meth:`q_hat`
        :return: Of shape (M,)
        """
        if self.baseline == "value":
            values = self.predict_values(rollout.flat_obs)
            self.logger.record("train/explained_variance", explained_variance(values, q_hat))
            return values
        if self.baseline != "mean":
            return np.zeros_like(q_hat)
        if self.reward_to_go:
            return estimators.leave_one_out_mean(q_hat, rollout.flat(rollout.time))
        trajectory = rollout.flat(rollout.trajectory)
        totals = np.zeros(rollout.n_trajectories)
        totals[trajectory] = q_hat
        return estimators.leave_one_out_mean(totals, np.zeros_like(totals, dtype=int))[trajectory]

    def trajectory_gradients(self, rollout: Rollout, weights: th.Tensor) -> tuple[th.Tensor, ...]:
        """Weighted scores of each trajectory.

        :param rollout: A batch of K trajectories
        :param weights: One weight or several for each counted step, of shape (M, W)
        :return: W tensors of shape (K, P)
        """
        order = th.from_numpy(np.argsort(rollout.flat(rollout.trajectory), kind="stable"))
        order = order.to(self.device)
        gradients = trajectory_gradients(
            self.policy,
            self.actor_parameters,
            select(self.to_tensor(rollout.flat_obs), order),
            self.to_tensor(rollout.flat(rollout.actions))[order],
            weights[order],
            rollout.lengths.tolist(),
        )
        return gradients.unbind(dim=1)
