"""ISPG: off-policy policy gradient by importance sampling, lecture 5."""

from itertools import compress
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from sb3_course import estimators
from sb3_course.collection.observations import Array, TensorObs
from sb3_course.collection.rollout import Rollout
from sb3_course.common.validation import check, check_count
from sb3_course.estimators import natural_gradient
from sb3_course.reinforce import REINFORCE, Baseline

Ratio: TypeAlias = Literal["trajectory", "per_decision", "prefix", "step"]

RATIOS = ("trajectory", "per_decision", "prefix", "step")


class Batch(NamedTuple):
    """Whole episodes, the policy π' that they were collected with, and their returns.

    ============  ==========  ============================================================
    variable      shape       meaning
    ============  ==========  ============================================================
    ``rollout``               the episodes: M counted steps
    ``theta``     (P,)        the parameters of π'
    ``log_prob``  (T, N)      log π'(a_t|s_t)
    ``to_go``     (T, N)      Σ_{t'≥t} γ^{t'-t} r_t'
    ``baseline``  (T, N)      b, of a critic that had not seen the batch
    ============  ==========  ============================================================
    """

    rollout: Rollout
    theta: th.Tensor
    log_prob: Array
    to_go: Array
    baseline: Array


class Term(NamedTuple):
    """What a batch adds to a step: sums over its M steps (``loss``, ``gradient``, ``entropy``)."""

    loss: th.Tensor
    gradient: th.Tensor
    entropy: th.Tensor


class ISPG(REINFORCE):
    r"""Off-policy policy gradient by importance sampling (CS285 fall 2023, lecture 5).

    It keeps the last ``n_batches`` batches and takes ``n_epochs`` steps over them, reweighing what
    the behavior policy π' saw to the policy π_θ that is being improved, ρ_t = π_θ(a_t|s_t) /
    π'(a_t|s_t):

    .. math:: \nabla_\theta J \approx \frac{1}{M} \sum_{i,t}
        \nabla_\theta \log \pi_\theta(a_{i,t}|s_{i,t}) \left( [wQ]_{i,t} - w_{i,t} b \right)

    ==================  =========================================  =================  ============
    ``ratio``           [wQ]_t                                     w_t                is it biased
    ==================  =========================================  =================  ============
    ``"trajectory"``    (ρ_0 … ρ_T) Q̂_t                            ρ_0 … ρ_T          no
    ``"per_decision"``  Σ_{t'≥t} γ^{t'-t} (ρ_0 … ρ_t') r_t'        ρ_0 … ρ_t          no
    ``"prefix"``        (ρ_0 … ρ_t) Q̂_t                            ρ_0 … ρ_t          Q̂ is of π'
    ``"step"``          ρ_t Q̂_t                                    ρ_t                and so is s_t
    ==================  =========================================  =================  ============

    (Precup 2000 for ``per_decision``; the lecture for ``prefix``, its future ratio dropped, and for
    ``step``, its first-order approximation.) Products are sums of logarithms in float64. b is that
    of the time when the batch was new: V had not seen it.

    Three ways to trade variance for bias: ``self_normalize`` divides by the mean weight (over the
    trajectories at each time, or over the steps for ``"step"``), which adds a bias of O(1/K);
    ``max_weight`` takes min(w, max_weight), which shrinks what π_θ makes much likelier towards
    nothing, a bias that more data do not remove; and a batch whose effective sample size is under
    ``min_ess`` is dropped (the newest is always used once).

    With ``n_epochs=1`` and ``n_batches=1`` every weight is 1, and this is REINFORCE.

    Logged, beside REINFORCE's: ``train/ess/0`` of the newest batch, ``train/ess/1`` of the one
    before …, and ``train/dropped_batches`` so far. A checkpoint does not hold past batches.

    :param policy: As of :class:`~sb3_course.reinforce.REINFORCE`, and so all others not named here
    :param env: The environment, or its Gymnasium name
    :param learning_rate: Of the policy
    :param critic_learning_rate: Of the critic; None takes ``learning_rate``
    :param n_steps: Start episodes during so many steps of each environment, then finish them
    :param n_episodes: Or take exactly so many episodes
    :param gamma: Discount γ
    :param ratio: Which weights
    :param n_epochs: Policy steps for each new batch
    :param n_batches: How many of the last batches are used
    :param self_normalize: Whether to divide by the mean weight
    :param max_weight: Largest weight; None for no limit
    :param min_ess: Smallest effective sample size, as a share of the sample, from 0 to 1
    :param balance_heuristic: Weigh against the mixture of all behavior policies in memory, not
        against each batch's own (multiple importance sampling; Veach 1997). Only the weighted sum
        over all batches is unbiased then: not with what looks at one batch (the mean and optimal
        baselines, ``self_normalize``, ``normalize_advantage``)
    :param reward_to_go: Whether Q̂ leaves out the rewards before t
    :param baseline: None, ``"mean"``, ``"optimal"`` or ``"value"``
    :param ent_coef: Weight of the entropy bonus
    :param max_grad_norm: Largest norm of the policy's gradient; None for no limit
    :param normalize_advantage: Whether [wQ] - w b is centered, by the w c of which the batch's sum
        is 0, and divided by its standard deviation
    :param n_critic_updates: Gradient steps on V for a batch
    :param batch_size: Transitions of each of these steps; None for the whole batch
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
        ratio: Ratio = "per_decision",
        n_epochs: int = 4,
        n_batches: int = 1,
        self_normalize: bool = False,
        max_weight: float | None = None,
        min_ess: float = 0.5,
        balance_heuristic: bool = False,
        reward_to_go: bool = True,
        baseline: Baseline = "value",
        ent_coef: float = 0.0,
        max_grad_norm: float | None = None,
        normalize_advantage: bool = False,
        n_critic_updates: int = 20,
        batch_size: int | None = 2048,
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
            n_episodes=n_episodes,
            gamma=gamma,
            reward_to_go=reward_to_go,
            baseline=baseline,
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
        self.ratio = ratio
        self.n_epochs = n_epochs
        self.n_batches = n_batches
        self.self_normalize = self_normalize
        self.max_weight = max_weight
        self.min_ess = min_ess
        self.balance_heuristic = balance_heuristic
        self.n_dropped_batches = 0
        if _init_setup_model:
            self._setup_model()

    def _check_parameters(self) -> None:
        super()._check_parameters()
        names = ", ".join(repr(r) for r in RATIOS)
        check("ratio", self.ratio, self.ratio in RATIOS, f"one of {names}")
        check_count("n_epochs", self.n_epochs)
        check_count("n_batches", self.n_batches)
        limit = self.max_weight
        check("max_weight", limit, limit is None or limit > 0, "a positive number or None")
        check("min_ess", self.min_ess, 0.0 <= self.min_ess <= 1.0, "a number from 0 to 1")
        if self.balance_heuristic:
            alone = "since only the weighted sum over all batches is unbiased"
            if self.baseline in ("mean", "optimal"):
                raise ValueError(f"balance_heuristic=True needs baseline None or 'value', {alone}")
            if self.self_normalize or self.normalize_advantage:
                raise ValueError(
                    "balance_heuristic=True goes without self_normalize and normalize_advantage, "
                    f"which look at one batch, {alone}"
                )

    def _setup_model(self) -> None:
        super()._setup_model()
        self.memory: list[Batch] = []

    def train(self) -> None:
        """Take ``n_epochs`` steps over the batches in memory, then fit the critic."""
        self.policy.set_training_mode(True)
        self.update_learning_rates()
        new = self._remember(self.rollout)
        self.memory = [new, *self.memory][: self.n_batches]
        behaviors = self._behaviors()

        for epoch in range(self.n_epochs):
            log_weights = list(map(self._log_weights, self.memory, behaviors))
            worth = list(map(self._effective_sample_size, self.memory, log_weights))
            kept = [ess >= self.min_ess or epoch + i == 0 for i, ess in enumerate(worth)]
            for i, ess in enumerate(worth):
                self.logger.record(f"train/ess/{i}", ess)
            if not all(kept):
                self.n_dropped_batches += kept.count(False)
                self.memory = list(compress(self.memory, kept))
                behaviors = self._behaviors()
                log_weights = list(map(self._log_weights, self.memory, behaviors))
            if not self.memory:
                break
            terms = list(map(self._term, self.memory, log_weights))
            m = sum(batch.rollout.n_transitions for batch in self.memory)
            loss, gradient, entropy = (sum(parts) / m for parts in zip(*terms, strict=True))
            self.log_policy(loss, entropy)
            optimal = self.baseline == "optimal"
            self.step_actor(loss - self.ent_coef * entropy, gradient if optimal else None)

        self.logger.record("train/dropped_batches", self.n_dropped_batches)
        if self.baseline == "value":
            targets = self.to_tensor(new.rollout.flat(new.to_go))
            self.fit_critic(self.to_tensor(new.rollout.flat_obs), targets)

    def _remember(self, rollout: Rollout) -> Batch:
        """Note what is known of a batch while its policy is still the one that acts."""
        theta = natural_gradient.flatten(self.actor_parameters).detach().clone()
        to_go = self.returns_to_go(rollout)
        baseline = rollout.spread(self.baselines(rollout, self.q_hat(rollout, to_go)))
        return Batch(rollout, theta, self._log_prob(rollout), to_go, baseline)

    def _tensors(self, rollout: Rollout) -> tuple[TensorObs, th.Tensor]:
        actions = self.to_tensor(rollout.flat(rollout.actions))
        return self.to_tensor(rollout.flat_obs), actions

    def _log_prob(self, rollout: Rollout) -> Array:
        """Log π_θ(a_t|s_t) of the policy as it stands, of shape (T, N)."""
        with th.no_grad():
            log_prob, _ = self.evaluate_actions(*self._tensors(rollout))
        return rollout.spread(log_prob.cpu().numpy())

    def _behaviors(self) -> list[Array]:
        """For each batch, log π_k(a_t|s_t) of the policies to weigh it against, (K, T, N)."""
        if not self.balance_heuristic:
            return [batch.log_prob[None] for batch in self.memory]
        now = natural_gradient.flatten(self.actor_parameters).detach().clone()
        tables: list[list[Array]] = [[] for _ in self.memory]
        for behavior in self.memory:
            natural_gradient.assign(self.actor_parameters, behavior.theta)
            for table, batch in zip(tables, self.memory, strict=True):
                table.append(self._log_prob(batch.rollout))
        natural_gradient.assign(self.actor_parameters, now)
        return [np.stack(table) for table in tables]

    def _log_weights(self, batch: Batch, behaviors: Array) -> Array:
        """Logarithm of each step's weight under the policy as it stands, of shape (T, N)."""
        shares = np.ones(1)
        if self.balance_heuristic:
            counts = [other.rollout.n_trajectories for other in self.memory]
            shares = np.array(counts) / sum(counts)
        return estimators.log_importance_weights(
            self.ratio, self._log_prob(batch.rollout), behaviors, shares, batch.rollout
        )

    def _effective_sample_size(self, batch: Batch, log_weights: Array) -> float:
        """Share of the trajectories (of the steps, for ``step``) that the batch is worth."""
        rollout = batch.rollout
        counted = rollout.mask if self.ratio == "step" else rollout.mask & rollout.ends
        log_weights = log_weights[counted]
        return estimators.effective_sample_size(np.exp(log_weights - log_weights.max()))

    def _term(self, batch: Batch, log_weights: Array) -> Term:
        """What a batch adds to the loss; with the optimal baseline, to the gradient."""
        rollout = batch.rollout
        if self.self_normalize:
            log_weights = estimators.self_normalized(self.ratio, log_weights, rollout)
        weights = np.exp(log_weights)
        if self.max_weight is not None:
            weights = np.minimum(weights, self.max_weight)
        weighted_q = estimators.weighted_returns(
            self.ratio, weights, batch.to_go, rollout, self.gamma, self.reward_to_go
        )
        w = rollout.flat(weights)
        advantages = rollout.flat(weighted_q - weights * batch.baseline)
        if self.normalize_advantage:  # w c, not c, is what has no expected effect
            advantages = advantages - w * advantages.sum() / w.sum()
            advantages /= advantages.std() + 1e-8
        multipliers = self.to_tensor(advantages)

        log_prob, entropy = self.evaluate_actions(*self._tensors(rollout))
        loss, gradient = -(log_prob * multipliers).sum(), th.zeros((), device=self.device)
        if self.baseline == "optimal":
            columns = th.stack([self.to_tensor(w), multipliers], dim=1)
            scores, estimates = self.trajectory_gradients(rollout, columns)
            baseline = estimators.optimal_baseline(scores, estimates)
            loss, gradient = loss.detach(), -(estimates - baseline * scores).sum(0)
        return Term(loss, gradient, entropy * len(w))

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Change the environment, and forget the batches of the one before.

        :param env: The new environment
        :param force_reset: As in SB3
        """
        super().set_env(env, force_reset)
        self.memory = []

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "memory"]
