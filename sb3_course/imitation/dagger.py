"""DAgger: data-set aggregation, labels from the expert in the states that the policy visits."""

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.collection.collector import FixedSteps, collect
from sb3_course.collection.observations import Array, Obs, select
from sb3_course.common import checkpoint
from sb3_course.common.errors import check_whole
from sb3_course.common.evaluation import SEEDED_RUNS, forked_rng
from sb3_course.common.networks.autograd import finite_loss
from sb3_course.imitation.bc import BC
from sb3_course.imitation.beta import BetaSchedule, beta_of_round
from sb3_course.imitation.dataset import draw_seed
from sb3_course.imitation.demonstrations import Demonstrations
from sb3_course.imitation.experts import Expert, as_expert, label, seeing_as_given
from sb3_course.imitation.normalization import set_moments
from sb3_course.imitation.rounds.evaluation import evaluating, evaluation_facts
from sb3_course.imitation.rounds.mixture import Mixture, TrainingReturns
from sb3_course.imitation.rounds.unfinished import Unfinished

Self = TypeVar("Self", bound="DAgger")

ENVIRONMENT, ACTIONS, MIXTURE, MINIBATCHES = range(4)
"""Purposes of a round's random numbers; each has a stream of its own."""
CHUNK = 1_000
"""Maximum number of observations of which the loss is computed at once."""


class DAgger(BC):
    r"""Data-set aggregation (Ross, Gordon and Bagnell 2011; CS285 fall 2023, lecture 2).

    .. math:: D \leftarrow D \cup \{(s, \pi^*(s)) : s \sim \pi_i\}, \qquad
        \pi_i = \beta_i \pi^* + (1 - \beta_i) \pi_\theta, \qquad
        \theta \leftarrow \arg\min_\theta L_D(\theta)

    ==============  ===========================================================================
    symbol          variable
    ==============  ===========================================================================
    D               the data set: ``demonstrations``, and the transitions of every round
    π*              ``expert``, queried about a round's states in one batch
    β_i             ``beta_schedule(i)``: at each step, every environment takes the expert's
                    action with this probability
    L_D             the loss of :class:`.BC` on D; each round takes
                    ``gradient_steps`` steps from where the last round ended
    ==============  ===========================================================================

    Round 0 is behavioral cloning: of the demonstrations if there are any, else of ``n_steps``
    steps that the expert alone takes. Each later round begins new episodes in every environment,
    takes ``n_steps`` steps with actions sampled from π_i, queries the expert and trains.

    A checkpoint holds the data set. All random numbers of a round follow from seed and round, and
    every round begins new episodes, so that a run which continues, in memory or from a checkpoint,
    gives the same result as without interruption, provided that environments and expert are
    functions of their seeds and inputs, and networks draw nothing, as Dropout does. A round that is
    interrupted while it collects begins from the start; one that is interrupted later goes on
    with its next gradient step. The expert is not saved:
    ``DAgger.load(path, env=env, expert=expert)``.

    Logged each round: ``dagger/round``, ``dagger/beta``, ``dagger/env_steps``,
    ``dagger/expert_queries``, ``dagger/n_transitions`` (in D), ``dagger/expert_action_loss``
    (−log π_θ(π*(s)|s) over the round's new states, before it trains on them; over D where there are
    none), ``rollout/ep_rew_mean`` (the training return: raw, over the episodes that ended in the
    round, or those under way if none did), ``train/loss``, and of the evaluation
    ``eval/mean_reward``, ``eval/std_reward``, ``eval/min_reward``, ``eval/max_reward``,
    ``eval/mean_ep_length``. ``rounds`` keeps them as a list of dicts.

    ``stats_window_size``, ``tensorboard_log``, ``policy_kwargs``, ``verbose``, ``seed``, ``device``
    and ``_init_setup_model`` are described in :class:`.PolicyGradientAlgorithm`.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or an
        ``ActorCriticPolicy`` class
    :param env: Environments, or a Gymnasium id
    :param expert: Expert that :func:`.as_expert` accepts: a model of SB3, a
        file, a callable from M raw observations, images as ``env`` returns them, to M actions
    :param demonstrations: Initial demonstrations; None for round 0 to be played by the expert
    :param learning_rate: Learning rate of the policy's optimizer, a number or a schedule of the
        remaining progress of each round, which begins with 1 again: a rate that falls to 0 ends
        every round with a policy at rest
    :param n_steps: Steps of each environment in a round; no episode continues into the next round
    :param gradient_steps: Gradient steps of a round
    :param batch_size: Transitions of a gradient step
    :param beta_schedule: β of the rounds from 1 on: a number, or a function of the round's number
        such as :class:`.LinearBeta`
    :param collect: Whether to collect new data; False for the control: the same rounds of training
        with no new data, whose steps count in ``num_timesteps`` though none is taken
    :param buffer_size: Maximum number of transitions to keep, in memory allocated once; the oldest
        are dropped first. None for no limit
    :param ent_coef: Coefficient of the entropy bonus
    :param eval_env: Environments in which the policy is measured after each round, one episode
        each, with the normalization of ``env`` and raw rewards, also if they have a
        ``VecNormalize``; None for ``n_eval_episodes`` of Gymnasium's own, by the id of ``env``
        and with its wrappers, if they can be made again
    :param n_eval_episodes: Number of evaluation episodes without ``eval_env``; 0 for no evaluation
    :raises ValueError: A parameter is out of its range; names it and what is allowed
    """

    def __init__(  # noqa: DOC101, DOC103
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str | None,
        expert: Any = None,
        demonstrations: Demonstrations = None,
        learning_rate: float | Schedule = 1e-3,
        n_steps: int = 1000,
        gradient_steps: int = 1000,
        batch_size: int = 100,
        beta_schedule: float | BetaSchedule = 0.0,
        collect: bool = True,
        buffer_size: int | None = None,
        ent_coef: float = 1e-3,
        eval_env: GymEnv | None = None,
        n_eval_episodes: int = 10,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        self.expert = expert
        # Before this model's normalization, which the expert may share, learns from anything.
        self._asked = expert, None if expert is None else as_expert(expert)
        self.n_steps = n_steps
        self.gradient_steps = gradient_steps
        self.beta_schedule = beta_schedule
        self.collect = collect
        self.buffer_size = buffer_size
        self.eval_env = eval_env
        self.n_eval_episodes = n_eval_episodes
        self.n_rounds = self.env_steps = self.expert_queries = 0
        self._finished_timesteps = 0  # time steps of the finished rounds
        self._unfinished: Unfinished | None = None
        self.rounds: list[dict[str, float]] = []
        super().__init__(
            policy,
            env,
            demonstrations=demonstrations,
            learning_rate=learning_rate,
            batch_size=batch_size,
            ent_coef=ent_coef,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=_init_setup_model,
        )
        if env is not None and self._asked[1] is not None:  # refuses what does not fit
            as_expert(self._asked[1], None, self.action_space, self.observation_space)

    @property
    def _capacity(self) -> int | None:
        return self.buffer_size

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_whole("n_steps", self.n_steps)
        check_whole("gradient_steps", self.gradient_steps)
        check_whole("buffer_size", self.buffer_size, none=True)
        beta_of_round(self.beta_schedule, 1)
        check_whole("n_eval_episodes", self.n_eval_episodes, least=0)

    # -- learning --------------------------------------------------------------------------------

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1,
        tb_log_name: str = "DAgger",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn for at least ``total_timesteps`` steps, in rounds of ``n_steps * n_envs``.

        Round 0 comes first unless it has been done before; it costs no steps if there are
        demonstrations, so that ``learn(0)`` is behavioral cloning. Callbacks are called at each
        vector step, and around each round's collection.

        :param total_timesteps: Environment steps, over all environments
        :param callback: SB3 callback or callbacks; in their ``locals``, ``clipped_actions`` are
            what acted, the expert's where it was its turn, and ``actions`` the policy's samples
        :param log_interval: Rounds between two logs; None for no logs
        :param tb_log_name: Name of the run in TensorBoard
        :param reset_num_timesteps: Whether to count steps from 0 again
        :param progress_bar: Whether to show a progress bar
        :return: The model itself
        :raises ValueError: There is no expert, it does not fit, or ``log_interval`` is wrong
        :raises FloatingPointError: A loss, an observation or a reward is not finite
        """
        check_whole("log_interval", log_interval, none=True)
        expert = self._find_expert(total_timesteps)
        with self._frozen_statistics():
            total_timesteps, callback = self._setup_learn(  # the name that callbacks read
                total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
            )
            callback.on_training_start(locals(), globals())
            self._finished_timesteps = self.num_timesteps
            left = max(0, total_timesteps - self.num_timesteps)
            self.dataset.reserve(left if self.collect else 0)
            try:
                with evaluating(self.env, self.eval_env, self.n_eval_episodes) as eval_env:
                    used = self.gradient_steps * self.batch_size
                    self._read_demonstrations(0 if self.n_rounds else used)
                    running = True
                    while running and (left > 0 or self.n_rounds == 0):
                        running = self._round(expert, callback, eval_env, log_interval)
                        left = total_timesteps - self.num_timesteps
            finally:
                self.num_timesteps = self._finished_timesteps
            callback.on_training_end()
        return self

    def _round(
        self,
        expert: Expert | None,
        callback: BaseCallback,
        eval_env: VecEnv | None,
        log_interval: int | None,
    ) -> bool:
        """Collect, label, train and evaluate; return False if the callback stopped the training."""
        if self._unfinished is not None:
            self.num_timesteps += self._unfinished["timesteps"]
        elif self.dataset.size == 0 or (self.n_rounds > 0 and self.collect):
            assert expert is not None, "learn() has checked it"
            if not self._aggregate(expert, callback):
                return False
        else:  # round 0 of demonstrations, or the control
            if self.n_rounds > 0:
                self.num_timesteps += self.n_steps * self.n_envs
            self._begin_training(self._loss(self.dataset.obs, self.dataset.actions))
        assert self._unfinished is not None
        self.train()
        losses = self._unfinished["losses"]
        facts = self._unfinished["facts"] | {"train/loss": float(np.mean(losses))}
        self._record(facts | evaluation_facts(self, eval_env, self.seed_entropy % SEEDED_RUNS))
        logged = log_interval is not None and self.n_rounds % log_interval == 0
        self.n_rounds += 1
        self._finished_timesteps = self.num_timesteps
        self._unfinished = None
        if logged:
            self.dump_logs()
        return True

    def _aggregate(self, expert: Expert, callback: BaseCallback) -> bool:
        """Collect, label and add to the data set; return False if the callback stopped it."""
        beta = beta_of_round(self.beta_schedule, self.n_rounds)
        collected = self.collect_rollouts(expert, beta, callback)
        if collected is None:
            return False
        obs, labels, training_return = collected
        labels = label(expert, obs, self.action_space) if labels is None else labels
        loss = finite_loss(self._loss(obs, labels))
        moments = self._moments(obs)
        # What takes long is done: from here on the round is in D.
        self.dataset.add(obs, labels)
        self._begin_training(loss, {"dagger/beta": beta, "rollout/ep_rew_mean": training_return})
        set_moments(moments)
        self.env_steps += len(labels)
        self.expert_queries += len(labels)
        return True

    def _begin_training(self, loss: float, facts: dict[str, float] | None = None) -> None:
        """Note that what is left of this round is its training and its evaluation."""
        self._unfinished = {
            "facts": {"dagger/expert_action_loss": loss, **(facts or {})},
            "timesteps": self.num_timesteps - self._finished_timesteps,
            "losses": [],
        }

    def collect_rollouts(
        self, expert: Expert, beta: float, callback: BaseCallback
    ) -> tuple[Obs, Array | None, float] | None:
        """Take ``n_steps`` steps of new episodes in every environment with π_i.

        :param expert: Expert π*, queried at each step if β is greater than 0
        :param beta: Probability β_i that the expert acts
        :param callback: Callback that is called at each vector step
        :return: Raw observations of shape (M, …); the expert's actions there, of shape (M, …), if
            it was queried at each step; the training return. None if the callback stopped it
        """
        assert self.env is not None
        self.policy.set_training_mode(False)
        self.env.seed(self._seed(ENVIRONMENT))
        first_obs: Any = self.env.reset()
        returns = TrainingReturns(self.n_envs)
        rng = np.random.default_rng(self._seed(MIXTURE))
        actor = Mixture(self, self._make_actor(), expert, beta, rng)

        def on_step(step_locals: dict[str, Any]) -> bool:
            venv = self._vec_normalize_env
            raw = step_locals["rewards"] if venv is None else venv.get_original_reward()
            returns.add(raw, step_locals["dones"])
            return self.after_step(callback, step_locals)

        callback.on_rollout_start()
        with th.no_grad(), forked_rng(self.device):
            th.manual_seed(self._seed(ACTIONS))
            budget = FixedSteps(self.n_envs, self.n_steps)
            collected = collect(self.env, first_obs, actor, budget, on_step)
        if collected is None:
            return None
        callback.on_rollout_end()
        return (*actor.seen(), returns.mean())

    def train(self) -> None:
        """Take ``gradient_steps`` steps down L_D(θ), or what is left of them; log the mean loss."""
        losses = [] if self._unfinished is None else self._unfinished["losses"]
        with self._training((self.seed_entropy, self.n_rounds, MINIBATCHES), len(losses)):
            self._losses = losses
            for step in range(len(losses), self.gradient_steps):
                self._update_current_progress_remaining(step, self.gradient_steps)
                super().train()  # θ ← θ − α ∇L_D(θ)
            self._log_training()

    # -- parts of a round -------------------------------------------------------------------------

    def _find_expert(self, total_timesteps: int) -> Expert | None:
        """Return the expert, or None if it will not be queried."""
        has_data, is_cloning = self.dataset.size > 0, total_timesteps == 0
        if (has_data and not self.collect) or (is_cloning and (has_data or self.n_rounds > 0)):
            return None
        if self.expert is None:
            raise ValueError(
                "DAgger has no expert: pass DAgger(..., expert=...), or after loading "
                "DAgger.load(path, env=env, expert=...)"
            )
        if self._asked[0] is not self.expert:  # after loading, or replaced
            self._asked = self.expert, as_expert(self.expert)
        expert = as_expert(self._asked[1], None, self.action_space, self.observation_space)
        return seeing_as_given(expert, self.env)

    def _seed(self, purpose: int) -> int:
        return draw_seed(self.seed_entropy, self.n_rounds, purpose)

    def _loss(self, obs: Obs, actions: Array) -> float:
        """Compute the mean of −log π_θ(a|s), in chunks: a large network needs much memory."""
        self.policy.set_training_mode(False)  # in which a network was made, or loaded
        total, n = 0.0, len(actions)
        with th.no_grad():
            for i in range(0, n, CHUNK):
                seen = self._normalized_obs(select(obs, slice(i, i + CHUNK)))
                wanted = self._samples(actions[i : i + CHUNK])
                total -= self.policy.get_distribution(seen).log_prob(wanted).sum().item()
        return total / n

    def _record(self, facts: dict[str, float]) -> None:
        facts |= {
            "dagger/round": self.n_rounds,
            "dagger/env_steps": self.env_steps,
            "dagger/expert_queries": self.expert_queries,
            "dagger/n_transitions": self.dataset.size,
        }
        for key, value in facts.items():
            self.logger.record(key, value)
        self.rounds.append(facts | {"timesteps": self.num_timesteps})

    def file_members(
        self, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None
    ) -> checkpoint.Members:
        """Return the content of the file; during a round's collection, the state before it.

        :param exclude: As in :meth:`.BC.file_members`
        :param include: As in :meth:`.BC.file_members`
        :return: Content by name
        """
        now, self.num_timesteps = self.num_timesteps, self._finished_timesteps
        try:
            return super().file_members(exclude, include)
        finally:
            self.num_timesteps = now

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "expert", "_asked", "eval_env"]
