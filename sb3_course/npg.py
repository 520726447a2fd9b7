"""NPG: the natural policy gradient (CS285 lecture 5)."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.utils import FloatSchedule
from torch.nn.attention import SDPBackend, sdpa_kernel

from sb3_course import estimators
from sb3_course.collection.collector import FixedSteps
from sb3_course.collection.observations import TensorObs, rows_of, select
from sb3_course.common.errors import check_whole
from sb3_course.common.networks.fisher import engine_fisher_vector_product
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from sb3_course.common.validation import check, check_number, scheduled
from sb3_course.estimators import natural_gradient
from sb3_course.estimators.chunks import chunks
from sb3_course.estimators.natural_gradient import surrogate_gain

DEFAULT_TARGET_KL, DEFAULT_MAX_STATE_KL = 0.02, 0.05
SAFE_KL_FACTOR = 4.0
"""Without a line search, a step may have this many times the target KL."""


class Consequences(NamedTuple):
    """What a step does to the policy at the states of a batch."""

    kl: float
    """Mean KL(π_old ‖ π_θ), in nats."""
    max_kl: float
    """Largest KL(π_old ‖ π_θ) of a single state, in nats."""
    gain: float
    """E[(π_θ(a|s) / π_old(a|s) - 1) Â], for the line search; 0 without it."""


class NPG(PolicyGradientAlgorithm):
    r"""Natural policy gradient (Kakade 2002; CS285 fall 2023, lecture 5).

    .. math:: \theta \leftarrow \theta + \beta x, \qquad (F + \lambda I) x = g, \qquad
        g = \mathbb{E}[\nabla_\theta \log \pi_\theta(a|s) \hat A]

    ==============  ===========================================================================
    symbol          variable
    ==============  ===========================================================================
    F               Fisher information of the policy, the exact Hessian of the mean KL at θ
    λ               ``cg_damping``
    x               solution of at most ``cg_max_steps`` conjugate gradient steps
    Â               GAE(``gae_lambda``) with the critic fitted to the batches before
    ε               ``target_kl``: β = √(2ε / xᵀFx), so that the step's KL is ε to second order
    α               ``step_size``: β = α, the lecture's other choice (this or ``target_kl``)
    ==============  ===========================================================================

    ``line_search=True`` shortens the step until the surrogate E[π_θ/π_old Â] grows and the KL is at
    most ε, as TRPO does. Without it, a step is shortened in the same way only where its KL is more
    than 4 ε, far from its second-order approximation (a policy near certainty, whose F vanishes);
    with ``step_size`` there is no ε, and no such limit.
    ``max_state_kl`` bounds the largest KL(π_old ‖ π_θ) of a single state besides, as the theorem
    behind TRPO does (Schulman 2015, equation 9): near certainty the few states that are not yet
    certain make up the mean. If no such step is found, or it is not finite, θ stays unchanged,
    which ``train/skipped_updates`` counts.

    Logged: ``train/kl_divergence`` (realized, in nats), ``train/max_state_kl``,
    ``train/cg_residual``, ``train/cg_iterations``, ``train/curvature`` (xᵀFx),
    ``train/step_length`` (β), ``train/line_search_shrinks``.

    ``stats_window_size``, ``tensorboard_log``, ``policy_kwargs``, ``verbose``, ``seed``, ``device``
    and ``_init_setup_model`` are described in :class:`.PolicyGradientAlgorithm`.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or an
        ``ActorCriticPolicy`` class
    :param env: Environment, or its Gymnasium id
    :param learning_rate: Learning rate of the critic's optimizer; the length of the policy's step
        follows from ``target_kl`` or ``step_size``
    :param n_steps: Steps of each environment in a batch; None for as many as make 1024 transitions
        from all environments together
    :param gamma: Discount factor γ
    :param gae_lambda: Decay λ of the generalized advantage estimate (not the damping)
    :param target_kl: KL ε of a step in nats, a number or a schedule of the remaining progress; 0.02
        if neither this nor ``step_size`` is given
    :param step_size: Step size α, a number or a schedule of the remaining progress
    :param max_state_kl: Largest KL in nats that a step may have at any state of the batch; None for
        0.05 where neither ``target_kl`` nor ``step_size`` is given, and for no bound where one is
    :param line_search: Whether to shorten the step until the surrogate grows and the KL is at most
        ε
    :param line_search_shrinking_factor: Factor by which the line search shortens the step
    :param line_search_max_iter: Maximum number of times that the step is shortened (sb3-contrib
        counts the full step as well)
    :param cg_max_steps: Maximum number of conjugate gradient steps
    :param cg_damping: Damping λ of the Fisher matrix
    :param sub_sampling_factor: Inverse of the share of transitions that F is estimated from: 2 for
        a random half
    :param ent_coef: Coefficient of the entropy bonus
    :param normalize_advantage: Whether Â is standardized over the batch
    :param n_critic_updates: Gradient steps of the critic per batch
    :param batch_size: Transitions of each of these steps; None for the whole batch
    :raises ValueError: A parameter is out of its range; names it and what is allowed
    """

    def __init__(  # noqa: DOC101, DOC103
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        n_steps: int | None = None,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        target_kl: float | Schedule | None = None,
        step_size: float | Schedule | None = None,
        max_state_kl: float | None = None,
        line_search: bool = False,
        line_search_shrinking_factor: float = 0.8,
        line_search_max_iter: int = 10,
        cg_max_steps: int = 10,
        cg_damping: float = 0.1,
        sub_sampling_factor: int = 1,
        ent_coef: float = 0.0,
        normalize_advantage: bool = True,
        n_critic_updates: int = 80,
        batch_size: int | None = None,
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
            critic_learning_rate=None,
            n_steps=n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            max_grad_norm=None,
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
        self.target_kl = target_kl
        self.step_size = step_size
        self.max_state_kl = max_state_kl
        self.line_search = line_search
        self.line_search_shrinking_factor = line_search_shrinking_factor
        self.line_search_max_iter = line_search_max_iter
        self.cg_max_steps = cg_max_steps
        self.cg_damping = cg_damping
        self.sub_sampling_factor = sub_sampling_factor
        self.n_skipped_updates = 0
        if _init_setup_model:
            self._setup_model()

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_whole("n_steps", self.n_steps)
        check_whole("cg_max_steps", self.cg_max_steps)
        check_whole("line_search_max_iter", self.line_search_max_iter)
        factor = self.line_search_shrinking_factor
        inside = isinstance(factor, (float, np.floating)) and 0 < factor < 1
        check("line_search_shrinking_factor", factor, inside, "a number between 0 and 1")
        check_whole("sub_sampling_factor", self.sub_sampling_factor)
        check_number("cg_damping", self.cg_damping, 0)
        if self.target_kl is not None and self.step_size is not None:
            raise ValueError(
                "pass target_kl or step_size, not both: "
                f"got target_kl={self.target_kl} and step_size={self.step_size}"
            )
        if self.line_search and self.step_size is not None:
            raise ValueError("line_search=True needs target_kl, the KL that it enforces")
        if self.max_state_kl is not None:
            check_number("max_state_kl", self.max_state_kl, 0, above=True, more="or None")
        for name in ("target_kl", "step_size"):
            value = getattr(self, name)
            if callable(value):
                scheduled(name, value, 1.0)
            elif value is not None:
                check_number(name, value, 0, above=True, more="or a schedule")

    def _schedule(self) -> FixedSteps:
        return FixedSteps(self.n_envs, self.n_steps)

    @sdpa_kernel(SDPBackend.MATH)  # the only attention that can be differentiated twice
    def train(self) -> None:
        """Take one natural-gradient step on ``self.rollout``, then fit the critic."""
        self.policy.set_training_mode(False)
        self.update_learning_rates()
        rollout = self.rollout
        obs, actions = self.tensors(rollout)

        # δ_t = r_t + γ V(s_{t+1}) − V(s_t)
        values, next_values = self.predict_rollout(rollout)
        deltas = estimators.td_errors(rollout.rewards, values, next_values, self.gamma)
        # Â_t = Σ_{l≥0} (γλ)^l δ_{t+l}
        gae = estimators.gae(deltas, rollout.ends, self.gamma, self.gae_lambda)
        advantages = self.to_tensor(self.normalized(rollout.flat(gae)))
        # g = ∇_θ 1/M Σ_t log π_θ(a_t|s_t) Â_t
        loss, entropy, gradient = self.policy_gradient(obs, actions, advantages)
        self.log_policy(loss, entropy)
        self.record_update(gradient.norm().item())
        # (F + λI) x = g
        old = self.distributions(obs)
        product = self.fisher_vector_product(obs, old)
        solution = natural_gradient.conjugate_gradient(product, gradient, self.cg_max_steps)
        # θ ← θ + β x
        step = self.step_length(solution) * solution.x
        self.take_step(step, obs, actions, advantages, old)
        # φ ← argmin Σ_t (V_φ(s_t) − y_t)², y_t = Â_t + V(s_t)
        targets = rollout.flat(gae + values)
        self.fit_critic(obs, self.to_tensor(targets))
        self.log_explained_variance(rollout.flat(values), targets)

    def distributions(self, obs: TensorObs) -> list[Distribution]:
        """Compute π_θ(· | s) of each chunk of states, with its graph if there is one chunk only.

        :param obs: States s, of shape (M, …)
        :return: Distribution at each chunk of states
        """
        parts = list(chunks(rows_of(obs), self.chunk_size))
        with th.set_grad_enabled(len(parts) == 1):
            return [self.distribution(select(obs, part)) for part in parts]

    def fisher_vector_product(
        self, obs: TensorObs, old: list[Distribution]
    ) -> natural_gradient.Product:
        """Make the function v ↦ (F + λI) v, from all states or a random share of them.

        :param obs: States s, of shape (M, …)
        :param old: Distribution at each chunk of these states
        :return: Function from vectors of shape (P,) to vectors of shape (P,)
        """
        n, parameters, damping = rows_of(obs), self.actor_parameters, self.cg_damping
        rows = None
        if self.sub_sampling_factor > 1:
            rows = th.randperm(n, device=self.device)[: max(1, n // self.sub_sampling_factor)]
            n = len(rows)

        def sampled(part: slice) -> TensorObs:
            return select(obs, part if rows is None else rows[part])

        parts = list(chunks(n, self.chunk_size))
        fast = engine_fisher_vector_product(
            self.policy, self._actor_group, lambda: map(sampled, parts), damping
        )
        if fast is not None:
            return fast
        if len(parts) > 1:
            return natural_gradient.fisher_vector_product_in_chunks(
                lambda: (self.distribution(sampled(part)) for part in parts), parameters, damping
            )
        whole = old[0] if rows is None else self.distribution(sampled(parts[0]))
        return natural_gradient.fisher_vector_product(whole, parameters, damping)

    def step_length(self, solution: natural_gradient.CGSolution) -> float:
        """Compute β of the step along x: from ε, or α itself.

        :param solution: Solution x of the conjugate gradient method
        :return: Step length β
        """
        curvature = solution.curvature - self.cg_damping * solution.x.square().sum().item()
        if self.step_size is None:
            length = natural_gradient.step_length(self._current_target_kl(), curvature)
        else:
            length = self._current_step_size()
        self.logger.record("train/cg_residual", solution.residual)
        self.logger.record("train/cg_iterations", solution.iterations)
        self.logger.record("train/curvature", curvature)
        self.logger.record("train/step_length", length)
        return length

    def take_step(
        self,
        step: th.Tensor,
        obs: TensorObs,
        actions: th.Tensor,
        advantages: th.Tensor,
        old: list[Distribution],
    ) -> None:
        """Move θ by a step, shortened where its KL demands it, and log the realized KL.

        :param step: Step β x, of shape (P,)
        :param obs: States s, of shape (M, …)
        :param actions: Actions a, of shape (M, …)
        :param advantages: Advantages Â, of shape (M,)
        :param old: Distribution before the step, at each chunk of these states
        """
        parameters = self.actor_parameters
        before = natural_gradient.flatten(parameters).detach().clone()
        old = list(map(natural_gradient.kept, old))
        usable = bool(th.isfinite(step).all() and step.any())
        accepted = False
        try:
            for shrinks in range(self.line_search_max_iter + 1 if usable else 0):
                factor = self.line_search_shrinking_factor**shrinks
                natural_gradient.assign(parameters, before + factor * step)
                found = self.consequences(obs, actions, advantages, old)
                if accepted := self.accepts(found):
                    self.logger.record("train/kl_divergence", found.kl)
                    self.logger.record("train/max_state_kl", found.max_kl)
                    self.logger.record("train/line_search_shrinks", shrinks)
                    return
        finally:  # also if interrupted, and saved then
            if not accepted:
                natural_gradient.assign(parameters, before)
        asked = self._current_target_kl() if self.step_size is None else self._current_step_size()
        if asked == 0:
            self.logger.record("train/kl_divergence", 0.0)
            return
        self.n_skipped_updates += 1
        self.logger.record("train/skipped_updates", self.n_skipped_updates)

    def accepts(self, found: Consequences) -> bool:
        """Return whether a step is within all bounds.

        :param found: Consequences of the step
        :return: Whether it is kept
        """
        if not math.isfinite(found.kl) or (self.line_search and found.gain <= 0):
            return False
        max_state_kl = self.max_state_kl
        if self.step_size is None:
            if found.kl > self._current_target_kl() * (1 if self.line_search else SAFE_KL_FACTOR):
                return False
            if self.target_kl is None and max_state_kl is None:
                max_state_kl = DEFAULT_MAX_STATE_KL
        return max_state_kl is None or found.max_kl <= max_state_kl

    def consequences(
        self,
        obs: TensorObs,
        actions: th.Tensor,
        advantages: th.Tensor,
        old: list[Distribution],
    ) -> Consequences:
        """Compute what a step that has been made does to the policy.

        :param obs: States s, of shape (M, …)
        :param actions: Actions a, of shape (M, …)
        :param advantages: Advantages Â, of shape (M,)
        :param old: Distribution before the step, at each chunk of these states
        :return: KL in nats, its mean over the states and the largest, and the surrogate's gain
        """
        n, kl, max_kl, gain = len(actions), 0.0, 0.0, 0.0
        with th.no_grad():
            for before, part in zip(old, chunks(n, self.chunk_size), strict=True):
                try:
                    new = self.distribution(select(obs, part))
                except ValueError:  # torch refuses such as a σ of 0, which is infinitely far
                    return Consequences(math.inf, math.inf, -math.inf)
                share = (part.stop - part.start) / n
                of_states = natural_gradient.kl_divergence(before, new)
                kl += share * of_states.mean().item()
                max_kl = max(max_kl, of_states.max().item())
                if self.line_search:
                    log_prob, old_log_prob = (d.log_prob(actions[part]) for d in (new, before))
                    gained = surrogate_gain(log_prob, old_log_prob, advantages[part])
                    gain += share * gained.item()
        return Consequences(kl, max_kl, gain)

    def _current_target_kl(self) -> float:
        target = DEFAULT_TARGET_KL if self.target_kl is None else self.target_kl
        return self._scheduled("target_kl", target)

    def _current_step_size(self) -> float:
        assert self.step_size is not None
        return self._scheduled("step_size", self.step_size)

    def _scheduled(self, name: str, value: float | Schedule) -> float:
        schedule = value if callable(value) else FloatSchedule(float(value))
        return scheduled(name, schedule, self._current_progress_remaining)
