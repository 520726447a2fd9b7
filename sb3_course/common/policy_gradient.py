"""The base of the policy-gradient family: constructor, collection, steps, files."""

import copy
import math
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.collection.collector import CollectionBudget, collect
from sb3_course.collection.observations import Array, Obs
from sb3_course.collection.rollout import Rollout
from sb3_course.common import checkpoint
from sb3_course.common.base_class import CourseAlgorithm, given_env
from sb3_course.common.errors import check_whole
from sb3_course.common.resumable import Resumable
from sb3_course.common.update_steps import UpdateSteps
from sb3_course.common.validation import (
    check_action_space,
    check_flags,
    check_number,
    check_observation_space,
    check_spaces,
    checked_seed,
    scheduled,
)

Self = TypeVar("Self", bound="PolicyGradientAlgorithm")


class PolicyGradientAlgorithm(UpdateSteps, Resumable, OnPolicyAlgorithm):
    """Base of the policy-gradient family, on SB3's ``OnPolicyAlgorithm``.

    It keeps SB3's ``learn``, callbacks, logger and files, and changes what a policy gradient needs
    changed: rewards stay raw, only the actor runs during collection, and actor and critic have an
    optimizer each (``actor_optimizer`` and ``critic_optimizer``, both saved). A features extractor
    that both share belongs to the actor; ``policy_kwargs=dict(share_features_extractor=False)``
    gives the critic its own.

    A subclass defines ``_schedule``, which returns the budget of the next batch, and ``train``. One
    with parameters of its own passes ``_init_setup_model=False`` on, sets its attributes, and calls
    ``self._setup_model()`` last.

    A callback finds SB3's local variables in ``self.locals`` as far as they exist here:

    ======================  ====================================================================
    variable                content
    ======================  ====================================================================
    at every step           ``new_obs``, ``rewards``, ``dones``, ``infos``, ``actions``,
                            ``clipped_actions``, ``n_steps`` (of the batch so far), ``running``
                            (environments whose step counts, bool of shape (N,)), and from
                            :class:`.OnlineActorCritic` ``values`` and ``log_probs``
    at a rollout's end      ``rollout``, the batch as a :class:`.Rollout`, in place of SB3's
                            ``rollout_buffer``; its observations and actions give V and log π.
                            :class:`.OnlineActorCritic` has none
    ======================  ====================================================================

    There are no ``obs_tensor``, ``values`` and ``log_probs`` at the steps of a batch: the critic
    and the density are not evaluated until the batch is complete.

    gSDE is not offered: its noise is held for many steps, so that a trajectory's likelihood is not
    the product of its steps', as every estimator of this family assumes.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or an
        ``ActorCriticPolicy`` class
    :param env: Environment, or its Gymnasium id
    :param learning_rate: Learning rate of the actor's optimizer, a number or a schedule of the
        remaining progress
    :param critic_learning_rate: Learning rate of the critic's optimizer; None for
        ``learning_rate``
    :param n_steps: Steps of each environment in a batch; None for as many as make
        ``default_transitions`` from all environments together
    :param gamma: Discount factor γ, from 0 to 1
    :param gae_lambda: Decay λ of the generalized advantage estimate, from 0 to 1
    :param ent_coef: Coefficient of the entropy bonus
    :param max_grad_norm: Maximum norm of the actor's gradient; None for no clipping
    :param normalize_advantage: Whether to standardize the multipliers of ∇log π over the batch
    :param n_critic_updates: Gradient steps of the critic per batch
    :param batch_size: Transitions of each of these steps; None for the whole batch
    :param stats_window_size: Number of episodes over which ``rollout/ep_rew_mean`` and
        ``success_rate`` are averaged: the last to end, or with whole episodes the last to start
    :param tensorboard_log: Folder of TensorBoard's logs; None for none
    :param policy_kwargs: Keyword arguments of the policy's constructor; its ``optimizer_class`` and
        ``optimizer_kwargs`` serve both optimizers
    :param verbose: Verbosity: 0 for no output, 1 for SB3's messages, 2 for debugging
    :param seed: Seed of all random generators; None for a random one
    :param device: Device of the networks; small ones are fastest on ``"cpu"``
    :param _init_setup_model: Whether to build the networks in the constructor
    :raises ValueError: A parameter is out of its range; names it and what is allowed
    """

    default_transitions: ClassVar[int] = 1024
    """Transitions of a batch, from all environments together, where ``n_steps`` is None."""
    whole_episodes: ClassVar[bool] = False
    """Whether ``n_episodes`` may take the place of ``n_steps``, which then stays None."""
    rollout: Rollout
    _computed_n_steps: int | None = None  # computed again where a model is loaded for other envs
    rollout_buffer = None  # type: ignore[assignment]  # SB3 passes it to collect_rollouts

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 1e-3,
        critic_learning_rate: float | Schedule | None = None,
        n_steps: int | None = None,
        gamma: float = 0.99,
        gae_lambda: float = 1.0,
        ent_coef: float = 0.0,
        max_grad_norm: float | None = None,
        normalize_advantage: bool = False,
        n_critic_updates: int = 10,
        batch_size: int | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if env is not None:
            env = given_env(env, verbose)
            check_action_space(env.action_space)
            check_observation_space(env.observation_space)
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]
            learning_rate=learning_rate,
            n_steps=n_steps,  # type: ignore[arg-type]
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
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self._check_spaces()
        if self.n_steps in (None, self._computed_n_steps):
            given_episodes = vars(self).get("n_episodes") is not None
            self._computed_n_steps = None if given_episodes else self._default_n_steps
            vars(self)["n_steps"] = self._computed_n_steps  # SB3's type leaves out None
        self._check_parameters()
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self._make_policy()
        self._maybe_recommend_cpu()
        self._attach_policy()

    @property
    def _default_n_steps(self) -> int:
        return math.ceil(self.default_transitions / self.n_envs)

    def _setup_lr_schedule(self) -> None:
        self._convert_number("critic_learning_rate")
        super()._setup_lr_schedule()
        rate = self.critic_learning_rate
        self.critic_lr_schedule = FloatSchedule(self.learning_rate if rate is None else rate)
        scheduled("critic_learning_rate", self.critic_lr_schedule, 1.0)

    def _check_parameters(self) -> None:
        """Check all parameters before anything is built."""
        self._check_policy()
        check_flags(self)
        self.seed = checked_seed(self.seed)
        check_number("gamma", self.gamma, 0, 1)
        check_number("gae_lambda", self.gae_lambda, 0, 1)
        check_number("ent_coef", self.ent_coef)
        if self.max_grad_norm is not None:
            check_number("max_grad_norm", self.max_grad_norm, 0, above=True, more="or None")
        check_whole("n_critic_updates", self.n_critic_updates)
        check_whole("batch_size", self.batch_size, none=True)
        one = not self.whole_episodes and (self.n_steps, self.n_envs) == (1, 1)
        if self.normalize_advantage and one:
            raise ValueError(
                "normalize_advantage=True needs at least 2 transitions in a batch, got n_steps=1 "
                "from 1 environment"
            )
        for name in ("learning_rate", "critic_learning_rate"):
            rate = getattr(self, name)
            if not callable(rate) and (rate, name) != (None, "critic_learning_rate"):
                check_number(name, rate, 0, more="or a schedule")

    # -- collection ------------------------------------------------------------------------------

    def _schedule(self) -> CollectionBudget:
        """Return the budget of the next batch: which steps count, and when it is complete."""
        raise NotImplementedError

    def _keep_behavior(self) -> None:
        """Keep what is needed of the policy of a batch, which callbacks may change before train."""

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: Any = None,
        n_rollout_steps: int | None = None,
    ) -> bool:
        """Collect ``self.rollout``; called by SB3's ``learn``.

        :param env: Environments to step
        :param callback: Callback that is called at each vector step
        :param rollout_buffer: Not used
        :param n_rollout_steps: Not used; ``_schedule`` returns the budget
        :return: Whether to continue (False once the callback has stopped the training)
        """
        self.policy.set_training_mode(False)
        budget = self._schedule()
        if budget.whole_episodes and not np.all(self._last_episode_starts):
            self._last_obs = env.reset()  # type: ignore[assignment]
            self._last_episode_starts = np.ones(env.num_envs, dtype=bool)
        callback.on_rollout_start()

        ended: list[tuple[int, int, dict[str, Any]]] = []  # step, environment, statistics

        def on_step(step_locals: dict[str, Any]) -> bool:
            step, infos = step_locals["n_steps"], step_locals["infos"]
            now = np.flatnonzero(step_locals["dones"] & step_locals["running"])
            ended.extend((step - 1, int(n), _statistics(infos[n])) for n in now)
            go_on = self.after_step(callback, step_locals, not budget.whole_episodes)
            self._last_episode_starts = step_locals["dones"]
            return go_on

        def act(obs: Obs) -> tuple[Array, Array]:
            self._last_obs = obs  # for callbacks, as in SB3
            return self.clip_actions(actor.sample(self.to_tensor(obs)))

        assert self._last_obs is not None
        self._inside_batch = True  # if it is interrupted, learn() resets the environments
        with th.no_grad():
            actor, _ = self._functions()
            collected = collect(env, self._last_obs, act, budget, on_step)
        if collected is None:
            return False
        self.rollout, dones = collected
        self._keep_behavior()
        self._last_obs = self.rollout.last_obs
        self._last_episode_starts = dones
        if budget.whole_episodes:  # the last to end are the longest: a window over them is biased
            ended.sort(key=lambda end: self.rollout.trajectory[end[:2]])  # in order of start
            self._update_info_buffer([info for *_, info in ended], np.ones(len(ended), dtype=bool))
        counted = self.rollout.n_transitions
        self.logger.record("rollout/n_trajectories", self.rollout.n_trajectories)
        self.logger.record("rollout/n_transitions", counted)
        self.logger.record("rollout/wasted_fraction", 1.0 - counted / self.rollout.mask.size)
        callback.update_locals({"rollout": self.rollout, "dones": dones})
        callback.on_rollout_end()
        self._inside_batch = False  # a file of before is without what this batch will teach
        self._follow_policy()  # a callback may have replaced a part
        return True

    # -- SB3's interface -------------------------------------------------------------------------

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn for at least ``total_timesteps`` environment steps; the last batch is completed.

        With ``reset_num_timesteps=False`` a loaded model goes on exactly where it was saved: as the
        same training without an interruption, bit for bit, if the environments' states could be
        kept (Gymnasium's classic control and MuJoCo, and whatever pickles). Otherwise only the
        running episodes are lost, and a warning says so.

        :param total_timesteps: Environment steps, over all environments
        :param callback: SB3 callback or callbacks
        :param log_interval: Batches between two logs; None for no logs
        :param tb_log_name: Name of the run in TensorBoard; None for the name of the class
        :param reset_num_timesteps: Whether to count steps from 0 again
        :param progress_bar: Whether to show a progress bar
        :return: The model itself
        """
        check_whole("log_interval", log_interval, none=True)
        check_whole("chunk_size", self.chunk_size)
        self._follow_policy()
        self._go_on(reset_num_timesteps)
        return super().learn(
            total_timesteps,
            callback,
            log_interval,  # type: ignore[arg-type]  # SB3 takes None, and does not say so
            tb_log_name or type(self).__name__,
            reset_num_timesteps,
            progress_bar,
        )

    @classmethod
    def from_imitation(
        cls: type[Self], imitator: CourseAlgorithm, env: GymEnv | str, **kwargs: Any
    ) -> Self:
        """Continue by reinforcement learning from a policy that BC or DAgger has trained.

        The new model's policy is a copy of the imitator's, and what is frozen stays frozen. Its
        optimizers are fresh, and its value function is untrained, as BC leaves it: the first
        updates follow poor advantages, so let the critic take more steps than usual, or the policy
        shorter ones.

        :param imitator: Trained :class:`~sb3_course.BC` or :class:`~sb3_course.DAgger`
        :param env: Environment, or its Gymnasium id. If the imitator was trained with
            ``VecNormalize``, it is wrapped in one with the same statistics, which then continue
        :param kwargs: Arguments of the class's constructor, except ``policy`` and ``policy_kwargs``
        :return: The model
        :raises ValueError: ``env`` normalizes observations and the imitator's did not, or has other
            spaces, or ``policy`` or ``policy_kwargs`` is given
        """
        env = given_env(env, 0)
        normalized = checkpoint.normalization_of(imitator)
        if normalized is not None:
            env = checkpoint.wrap_normalized(env, normalized, "train")
        elif checkpoint.normalizes_obs(env):
            raise ValueError(
                "the imitator was trained on raw observations: pass the environment without "
                "VecNormalize, or with VecNormalize(norm_obs=False)"
            )
        check_spaces("imitator does", imitator, env.observation_space, env.action_space)
        policy_kwargs = copy.deepcopy(imitator.policy_kwargs)
        for name in ("policy", "policy_kwargs"):
            if name in kwargs:
                raise ValueError(f"{name} is the imitator's, whose policy is copied: leave it out")
        model = cls(imitator.policy_class, env, policy_kwargs=policy_kwargs, **kwargs)  # type: ignore[arg-type]
        model.policy.load_state_dict(imitator.policy.state_dict())
        trained = dict(imitator.policy.named_parameters())
        for name, parameter in model.policy.named_parameters():
            parameter.requires_grad_(trained[name].requires_grad)
        return model

    def _excluded_save_params(self) -> list[str]:
        ours = ["rollout", "_actor_group", "_critic_group", "critic_lr_schedule", "chunk_size"]
        return [*super()._excluded_save_params(), *ours]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "actor_optimizer", "critic_optimizer"], []


def _statistics(info: dict[str, Any]) -> dict[str, Any]:
    """Return what SB3 keeps of an ended episode: the environment may use its dict again."""
    return {key: info[key] for key in ("episode", "is_success") if key in info}
