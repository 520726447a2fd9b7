"""NPG: the natural policy gradient of lecture 5."""

import math
from collections.abc import Callable
from typing import Any

import torch as th
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.utils import FloatSchedule, explained_variance

from sb3_course import estimators
from sb3_course.collection.collector import FixedSteps
from sb3_course.collection.observations import TensorObs, select
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from sb3_course.common.validation import check, check_count
from sb3_course.estimators import natural_gradient

DEFAULT_TARGET_KL = 0.02
SHRINK, MOST_SHRINKS = 0.8, 10
FAR = 4.0


class NPG(PolicyGradientAlgorithm):
    r"""Natural policy gradient (Kakade 2002; CS285 fall 2023, lecture 5).

    .. math:: \theta \leftarrow \theta + \beta x, \qquad (F + \lambda I) x = g, \qquad
        g = \mathbb{E}[\nabla_\theta \log \pi_\theta(a|s) \hat A]

    ==============  ===========================================================================
    symbol          variable
    ==============  ===========================================================================
    F               Fisher information of the policy, the exact Hessian of the mean KL at θ
    λ               ``cg_damping``
    x               solved for by ``cg_max_steps`` conjugate gradient steps at most
    Â               GAE(``gae_lambda``) with the critic as fitted to the batches before
    ε               ``target_kl``: β = √(2ε / xᵀFx), so that the step's KL is ε to second order
    α               ``step_size``: β = α, the lecture's other choice (give this or ``target_kl``)
    ==============  ===========================================================================

    ``line_search=True`` shortens the step by 0.8, up to 10 times, until the surrogate
    E[π_θ/π_old Â] grows and the KL is at most ε, as TRPO does. Without it, a step is shortened in
    the same way only where its KL turns out more than 4 ε, far from what the second order says (a
    policy near certainty, whose F vanishes). Where no such step is found, or it is not finite, θ
    stays, which ``train/skipped_updates`` counts.

    Logged: ``train/kl_divergence`` (realised, in nats), ``train/cg_residual``,
    ``train/cg_iterations``, ``train/curvature`` (xᵀFx), ``train/step_length`` (β),
    ``train/line_search_shrinks``.

    :param policy: See :class:`.PolicyGradientAlgorithm`, as for all others
    :param env: The environment, or its Gymnasium name
    :param learning_rate: Of the critic; the policy's step has a length of its own
    :param n_steps: Steps of each environment in a batch
    :param gamma: Discount γ
    :param gae_lambda: λ of GAE
    :param target_kl: ε in nats, a number or a schedule of the remaining progress; 0.02 if neither
        this nor ``step_size`` is given
    :param step_size: α, a number or a schedule
    :param line_search: Whether to backtrack
    :param cg_max_steps: Most conjugate gradient steps
    :param cg_damping: λ of the Fisher matrix
    :param sub_sampling_factor: Estimate F from a random one in so many of the transitions
    :param ent_coef: Weight of the entropy bonus
    :param normalize_advantage: Whether Â is standardized over the batch
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
        learning_rate: float | Schedule = 1e-3,
        n_steps: int = 128,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        target_kl: float | Schedule | None = None,
        step_size: float | Schedule | None = None,
        line_search: bool = False,
        cg_max_steps: int = 10,
        cg_damping: float = 0.1,
        sub_sampling_factor: int = 1,
        ent_coef: float = 0.0,
        normalize_advantage: bool = True,
        n_critic_updates: int = 20,
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
        )
        self.target_kl = target_kl
        self.step_size = step_size
        self.line_search = line_search
        self.cg_max_steps = cg_max_steps
        self.cg_damping = cg_damping
        self.sub_sampling_factor = sub_sampling_factor
        self.n_skipped_updates = 0
        if _init_setup_model:
            self._setup_model()

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_count("n_steps", self.n_steps)
        check_count("cg_max_steps", self.cg_max_steps)
        check_count("sub_sampling_factor", self.sub_sampling_factor)
        check("cg_damping", self.cg_damping, self.cg_damping >= 0, "a number of at least 0")
        if self.target_kl is not None and self.step_size is not None:
            raise ValueError(
                "give target_kl or step_size, not both: "
                f"got target_kl={self.target_kl} and step_size={self.step_size}"
            )
        if self.line_search and self.step_size is not None:
            raise ValueError("line_search=True needs target_kl, the KL that it keeps to")
        for name in ("target_kl", "step_size"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                check(name, value, 0 < value < float("inf"), "a positive number or a schedule")

    def _schedule(self) -> FixedSteps:
        return FixedSteps(self.n_envs, self.n_steps)

    def train(self) -> None:
        """Take one natural gradient step on ``self.rollout``, then fit the critic."""
        self.policy.set_training_mode(True)
        self.update_learning_rates()
        rollout = self.rollout
        obs = self.to_tensor(rollout.flat_obs)
        actions = self.to_tensor(rollout.flat(rollout.actions))

        values, following = self.predict_rollout(rollout)
        deltas = estimators.td_errors(rollout.rewards, values, following, self.gamma)
        gae = estimators.gae(deltas, rollout.ends, self.gamma, self.gae_lambda)
        advantages = self.to_tensor(self.normalized(rollout.flat(gae)))

        log_prob, entropy = self.evaluate_actions(obs, actions)
        loss = -(log_prob * advantages).mean()
        self.log_policy(loss, entropy)
        parameters = self.actor_parameters
        gradient = natural_gradient.flatten(
            th.autograd.grad(self.ent_coef * entropy - loss, parameters)
        )
        self.note_gradient(gradient.norm().item())
        old = sample = self.distribution(obs)
        if self.sub_sampling_factor > 1:
            some = th.randperm(len(actions), device=self.device)
            some = some[: max(1, len(actions) // self.sub_sampling_factor)]
            sample = self.distribution(select(obs, some))
        fisher = natural_gradient.fisher_product(sample, parameters, self.cg_damping)
        solution = natural_gradient.conjugate_gradient(fisher, gradient, self.cg_max_steps)
        step = self._step_length(solution) * solution.x
        self._take(
            step, obs, old, lambda new: surrogate_gain(new.log_prob(actions), log_prob, advantages)
        )

        self.fit_critic(obs, self.to_tensor(rollout.flat(gae + values)))
        self.logger.record("train/cg_residual", solution.residual)
        self.logger.record("train/cg_iterations", solution.iterations)
        explained = explained_variance(rollout.flat(values), rollout.flat(gae + values))
        self.logger.record("train/explained_variance", explained)

    def _step_length(self, solution: natural_gradient.Solution) -> float:
        """β of the step along x."""
        curvature = solution.curvature - self.cg_damping * solution.x.square().sum().item()
        if self.step_size is None:
            length = natural_gradient.step_length(self._target_kl(), curvature)
        else:
            length = FloatSchedule(self.step_size)(self._current_progress_remaining)
        self.logger.record("train/curvature", curvature)
        self.logger.record("train/step_length", length)
        return length

    def _take(
        self,
        step: th.Tensor,
        obs: TensorObs,
        old: Distribution,
        gain: Callable[[Distribution], float],
    ) -> None:
        """Move θ by the step, shortened if there is a line search, and log the realised KL."""
        parameters, kl_limit = self.actor_parameters, float("inf")
        if self.step_size is None:
            kl_limit = self._target_kl() * (1.0 if self.line_search else FAR)
        before = natural_gradient.flatten(parameters).detach().clone()
        for shrinks in range(MOST_SHRINKS + 1 if th.isfinite(step).all() and step.any() else 0):
            natural_gradient.assign(parameters, before + SHRINK**shrinks * step)
            with th.no_grad():
                new = self.distribution(obs)
                kl = natural_gradient.kl_divergence(old, new).item()
                if math.isfinite(kl) and kl <= kl_limit and (not self.line_search or gain(new) > 0):
                    self.logger.record("train/kl_divergence", kl)
                    self.logger.record("train/line_search_shrinks", shrinks)
                    return
        natural_gradient.assign(parameters, before)
        self.n_skipped_updates += 1
        self.logger.record("train/skipped_updates", self.n_skipped_updates)

    def _target_kl(self) -> float:
        target = DEFAULT_TARGET_KL if self.target_kl is None else self.target_kl
        return FloatSchedule(target)(self._current_progress_remaining)


def surrogate_gain(new: th.Tensor, old: th.Tensor, advantages: th.Tensor) -> float:
    r"""How much the surrogate objective has grown.

    .. math:: \mathbb{E} \left[ \left( \frac{\pi_\theta(a|s)}{\pi_{old}(a|s)} - 1 \right)
        \hat A \right]

    :param new: log π_θ(a|s), of shape (M,)
    :param old: log π_old(a|s), of shape (M,)
    :param advantages: Â, of shape (M,)
    :return: The difference
    """
    return (((new - old).exp() - 1) * advantages).mean().item()
