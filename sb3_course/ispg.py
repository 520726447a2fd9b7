"""ISPG: the off-policy policy gradient by importance sampling (CS285 lecture 5)."""

from itertools import compress
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from sb3_course import estimators
from sb3_course.collection.observations import Array
from sb3_course.collection.rollout import Rollout
from sb3_course.common.errors import check_whole
from sb3_course.common.networks.autograd import PolicyGradient, total
from sb3_course.common.validation import check_choice, check_number
from sb3_course.estimators import natural_gradient
from sb3_course.reinforce import REINFORCE, Baseline

Ratio: TypeAlias = Literal["trajectory", "per_decision", "prefix", "step"]

RATIOS = ("trajectory", "per_decision", "prefix", "step")


class Batch(NamedTuple):
    """Whole episodes, the policy π' that they were collected with, and their returns.

    =============  ==========  ===========================================================
    variable       shape       meaning
    =============  ==========  ===========================================================
    ``rollout``                the episodes: M counted steps
    ``theta``      (P,)        parameters of π'
    ``to_go``      (T, N)      Σ_{t'≥t} γ^{t'-t} r_t'
    ``baseline``   (T, N)      b, from a critic that had not seen the batch
    ``behaviors``  B × (T, N)  log products of each stored policy, newest first, if known
    =============  ==========  ===========================================================
    """

    rollout: Rollout
    theta: th.Tensor
    to_go: Array
    baseline: Array
    behaviors: list[Array | None]


class ISPG(REINFORCE):
    r"""Off-policy policy gradient by importance sampling (CS285 fall 2023, lecture 5).

    It keeps the last ``n_batches`` batches and takes ``n_epochs`` steps over them, reweighting the
    experience of the behavior policy π' to the policy π_θ that is being improved, with
    ρ_t = π_θ(a_t|s_t) / π'(a_t|s_t):

    .. math:: \nabla_\theta J \approx \frac{1}{M} \sum_{i,t}
        \nabla_\theta \log \pi_\theta(a_{i,t}|s_{i,t}) \left( [wQ]_{i,t} - w_{i,t} b \right)

    ==================  =========================================  =================  ============
    ``ratio``           [wQ]_t                                     w_t                is it biased
    ==================  =========================================  =================  ============
    ``"trajectory"``    (ρ_0 … ρ_{T-1}) Q̂_t                        ρ_0 … ρ_{T-1}      no
    ``"per_decision"``  Σ_{t'≥t} γ^{t'-t} (ρ_0 … ρ_t') r_t'        ρ_0 … ρ_t          no
    ``"prefix"``        (ρ_0 … ρ_t) Q̂_t                            ρ_0 … ρ_t          Q̂ is of π'
    ``"step"``          ρ_t Q̂_t                                    ρ_t                and so is s_t
    ==================  =========================================  =================  ============

    (Precup 2000 for ``per_decision``; the lecture for ``prefix``, its future ratio dropped, and for
    ``step``, its first-order approximation.) Products are sums of logarithms in float64. b was
    computed when the batch was new, by a V that had not seen it. "no" holds for a π_θ that does not
    depend on the batch: from the second step on it, θ has been fitted to these very samples, which
    adds a bias that falls with K.

    Three switches trade variance for bias: ``self_normalize`` divides by the mean weight (over the
    trajectories at each time, or over the steps for ``"step"``), which adds a bias of O(1/K);
    ``max_weight`` uses min(w, max_weight), which shrinks the contribution of what π_θ makes much
    likelier, a bias that more data do not remove; and a batch whose effective sample size, of the
    weights at its trajectories' last steps (of all steps for ``"step"``), is less than ``min_ess``
    is dropped (the newest is always used once).

    With ``n_epochs=1`` and ``n_batches=1`` every weight is 1, and this is REINFORCE.

    Logged in addition to REINFORCE's keys, without ``train/grad_variance``: ``train/ess/0`` of the
    newest batch, ``train/ess/1`` of the one before …, and ``train/dropped_batches`` so far. A
    checkpoint holds the past batches.

    ``stats_window_size``, ``tensorboard_log``, ``policy_kwargs``, ``verbose``, ``seed``, ``device``
    and ``_init_setup_model`` are described in :class:`.PolicyGradientAlgorithm`.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or an
        ``ActorCriticPolicy`` class
    :param env: Environment, or its Gymnasium id
    :param learning_rate: Learning rate of the policy's optimizer
    :param critic_learning_rate: Learning rate of the critic's optimizer; None for
        ``learning_rate``
    :param n_steps: Steps of each environment during which episodes start, all of which are
        finished; 1024 / ``n_envs`` if neither this nor ``n_episodes`` is given
    :param n_episodes: Exact number of episodes in a batch, instead of ``n_steps``
    :param gamma: Discount factor γ
    :param ratio: Kind of importance weight: ``"trajectory"``, ``"per_decision"``, ``"prefix"`` or
        ``"step"``
    :param n_epochs: Policy steps per new batch
    :param n_batches: Number of past batches that are used, the new one included
    :param self_normalize: Whether weights are divided by their mean
    :param max_weight: Maximum weight; None for no limit
    :param min_ess: Smallest effective sample size of a batch, as a share of it, from 0 to 1
    :param balance_heuristic: Whether to weight against the mixture of all stored behavior policies
        instead of each batch's own (multiple importance sampling; Veach 1997). Only the weighted
        sum over all batches is unbiased then, so it excludes what depends on a single batch (the
        mean and optimal baselines, ``self_normalize``, ``normalize_advantage``)
    :param reward_to_go: Whether Q̂ leaves out the rewards before t
    :param baseline: Baseline b: None, ``"mean"``, ``"optimal"`` or ``"value"``
    :param ent_coef: Coefficient of the entropy bonus
    :param max_grad_norm: Maximum norm of the policy's gradient; None for no clipping
    :param normalize_advantage: Whether [wQ] - w b is centered, by the multiple of w that makes the
        batch's sum 0, and divided by its standard deviation
    :param n_critic_updates: Gradient steps of the critic per batch
    :param batch_size: Transitions of each of these steps; None for the whole batch
    :raises ValueError: A parameter is out of its range; names it and what is allowed
    :raises FloatingPointError: In training, an importance weight overflows
    """

    past_batches: list[Batch]
    _behavior: th.Tensor | None = None  # π' of the batch that train() takes next

    def __init__(  # noqa: DOC101, DOC103
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
        check_choice("ratio", self.ratio, RATIOS)
        check_whole("n_epochs", self.n_epochs)
        check_whole("n_batches", self.n_batches)
        if self.max_weight is not None:
            check_number("max_weight", self.max_weight, 0, above=True, more="or None")
        check_number("min_ess", self.min_ess, 0, 1)
        if self.balance_heuristic:
            alone = "since only the weighted sum over all batches is unbiased"
            if self.baseline in ("mean", "optimal"):
                raise ValueError(f"balance_heuristic=True needs baseline None or 'value', {alone}")
            if self.self_normalize or self.normalize_advantage:
                raise ValueError(
                    "balance_heuristic=True excludes self_normalize and normalize_advantage, "
                    f"which depend on a single batch, {alone}"
                )

    def train(self) -> None:
        """Take ``n_epochs`` steps over the past batches, then fit the critic."""
        self.policy.set_training_mode(False)
        self.update_learning_rates()
        new = self._remember(self.rollout)
        old = self._log_old()
        ages = {id(batch): age for age, batch in enumerate(self.past_batches)}

        for epoch in range(self.n_epochs):
            # log w_t = Σ log ρ_t, ρ_t = π_θ(a_t|s_t) / π'(a_t|s_t)
            log_weights = self._log_weights(old, epoch)
            old, log_weights = self._drop_batches(old, log_weights, epoch, ages)
            m = sum(batch.rollout.n_transitions for batch in self.past_batches)
            estimates = []
            for batch, log_w in zip(self.past_batches, log_weights, strict=True):
                w = self._weights(batch.rollout, log_w)
                weighted_q = estimators.weighted_returns(  # [wQ]_t
                    self.ratio, w, batch.to_go, batch.rollout, self.gamma, self.reward_to_go
                )
                # [wQ]_t − w_t b
                advantages = self._centered(batch.rollout, weighted_q - w * batch.baseline, w)
                # ∇J ≈ 1/M Σ_i Σ_t ∇log π_θ(a_{i,t}|s_{i,t}) ([wQ]_{i,t} − w_{i,t} b)
                estimates.append(self._estimate(batch.rollout, w, advantages, m))
            if estimates:  # θ ← θ + α ∇J, the sum of the batches' parts
                loss, entropy, gradient = total(estimates)
                self.log_policy(loss, entropy)
                self.ascend(gradient)
        self.logger.record("train/dropped_batches", self.n_dropped_batches)
        if self.baseline == "value":  # φ ← argmin Σ_t (V_φ(s_t) − Q̂_t)²
            targets = self.to_tensor(new.rollout.flat(new.to_go))
            self.fit_critic(self.to_tensor(new.rollout.flat_obs), targets)

    def _theta(self) -> th.Tensor:
        """Return a copy of θ, of shape (P,)."""
        return natural_gradient.flatten(self._actor_group).detach().clone()

    def _keep_behavior(self) -> None:
        self._behavior = self._theta()

    def _remember(self, rollout: Rollout) -> Batch:
        """Store a batch with the policy that acted, forget the oldest; return it."""
        theta, self._behavior = self._behavior, None
        if theta is None or len(theta) != sum(p.numel() for p in self._actor_group):
            theta = self._theta()
        to_go = self.returns_to_go(rollout)
        q_hat = self.q_hat(rollout, to_go)
        baseline = rollout.spread(self.baselines(rollout, q_hat, to_go))
        new = Batch(rollout, theta, to_go, baseline, [None] * len(self.past_batches))
        self.past_batches = [new, *self.past_batches][: self.n_batches]
        for batch in self.past_batches:
            batch.behaviors[:] = [None, *batch.behaviors][: self.n_batches]
        return new

    def _log_products(self, rollout: Rollout) -> Array:
        """Compute what the current policy contributes to the weights, of shape (T, N)."""
        log_prob = rollout.spread(self.log_probs(*self.tensors(rollout)).cpu().numpy())
        return estimators.log_products(self.ratio, log_prob, rollout)

    def _log_old(self) -> list[Array]:
        """Compute what π_θ's products are divided by: π''s, or the mixture's, (T, N) each."""
        now = self._theta()
        try:
            for k, behavior in enumerate(self.past_batches):
                on = self.past_batches if self.balance_heuristic else [behavior]
                natural_gradient.assign(self._actor_group, behavior.theta)
                for batch in on:
                    if batch.behaviors[k] is None:  # once, not again with each new batch
                        batch.behaviors[k] = self._log_products(batch.rollout)
        finally:  # also if interrupted, and saved then
            natural_gradient.assign(self._actor_group, now)
        counts = np.array([batch.rollout.n_trajectories for batch in self.past_batches])
        shares = counts / counts.sum() if self.balance_heuristic else np.ones(1)
        known = ([p for p in batch.behaviors if p is not None] for batch in self.past_batches)
        return [estimators.log_mixture(products, shares) for products in known]

    def _drop_batches(
        self, old: list[Array], log_weights: list[Array], epoch: int, ages: dict[int, int]
    ) -> tuple[list[Array], list[Array]]:
        """Drop batches of too small a sample size; return log π' and log w_t of the others."""
        sizes = list(map(self._effective_sample_size, self.past_batches, log_weights))
        for batch, size in zip(self.past_batches, sizes, strict=True):
            self.logger.record(f"train/ess/{ages[id(batch)]}", size)
        kept = [size >= self.min_ess or epoch + i == 0 for i, size in enumerate(sizes)]
        if all(kept):
            return old, log_weights
        self.n_dropped_batches += kept.count(False)
        self.past_batches = list(compress(self.past_batches, kept))
        for batch in self.past_batches:
            batch.behaviors[:] = compress(batch.behaviors, kept)
        old = self._log_old()  # the mixture has changed
        return old, self._log_weights(old, epoch)

    def _log_weights(self, old: list[Array], epoch: int) -> list[Array]:
        """Compute log w_t of each step of each batch under the current policy, (T, N) each."""
        first = epoch == 0 and th.equal(self.past_batches[0].theta, self._theta())  # π_θ is it yet
        news = [b.behaviors[0] if first else None for b in self.past_batches]
        return [
            estimators.log_importance_weights(
                self.ratio,
                self._log_products(b.rollout) if new is None else new,
                log_old,
                b.rollout,
            )
            for b, new, log_old in zip(self.past_batches, news, old, strict=True)
        ]

    def _effective_sample_size(self, batch: Batch, log_weights: Array) -> float:
        """Compute the effective sample size, as a share of the trajectories (or of the steps)."""
        ends = True if self.ratio == "step" else batch.rollout.ends
        log_weights = log_weights[batch.rollout.mask & ends]
        return estimators.effective_sample_size(np.exp(log_weights - log_weights.max()))

    def _weights(self, rollout: Rollout, log_weights: Array) -> Array:
        """Compute w_t from log w_t, of shape (T, N), normalized and truncated as asked for."""
        if self.self_normalize:
            log_weights = estimators.self_normalized(self.ratio, log_weights, rollout)
        return estimators.truncated_weights(log_weights, self.max_weight)

    def _centered(self, rollout: Rollout, advantages: Array, weights: Array) -> th.Tensor:
        """Return the advantages, centered and scaled if ``normalize_advantage``, of shape (M,)."""
        a, w = rollout.flat(advantages), rollout.flat(weights)
        if self.normalize_advantage:
            total = w.sum() or 1.0  # where all weights underflow there is nothing to center
            a = a - w * a.sum() / total  # w c, not c, is what has no expected effect
            a /= a.std() + 1e-8
        tensor: th.Tensor = self.to_tensor(a)
        return tensor

    def _estimate(
        self, rollout: Rollout, weights: Array, advantages: th.Tensor, m: int
    ) -> PolicyGradient:
        """Compute a batch's part of the gradient of the mean over all M transitions."""
        optimal = self.baseline == "optimal"
        part = self.policy_gradient(*self.tensors(rollout), advantages, m, entropy_only=optimal)
        if not optimal:
            return part
        w = self.to_tensor(rollout.flat(weights))
        of_all = self.optimal_baseline_moments(rollout, w, advantages).total  # Σ_i (A_i − b_i∘S_i)
        return part._replace(gradient=part.gradient + of_all / m)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Set the environment, and forget the batches of the one before.

        :param env: New environment
        :param force_reset: Whether to reset it before training, as in SB3
        """
        super().set_env(env, force_reset)
        self.past_batches = []

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "past_batches", "_behavior"]

    def _training_memory(self) -> dict[str, Any]:
        """Return the past batches as plain values, without what can be computed from them."""
        batches = [b._replace(behaviors=[])._asdict() for b in self.past_batches]
        plain = [b | {"rollout": b["rollout"].arrays()} for b in batches]
        return {"past_batches": plain} if plain else {}

    def _attach_policy(self) -> None:
        super()._attach_policy()
        self.past_batches = []  # others would hold parameters of the policy before

    def _adopt_parameters(self) -> None:
        super()._adopt_parameters()
        self.past_batches = []  # which are as long as they were

    def _set_training_memory(self, memory: dict[str, Any]) -> None:
        """Take what :meth:`_training_memory` returned."""
        plain = memory["past_batches"]
        for b in plain:
            b |= {"rollout": Rollout(**b["rollout"]), "behaviors": [None] * len(plain)}
        self.past_batches = [Batch(*map(b.get, Batch._fields)) for b in plain]
