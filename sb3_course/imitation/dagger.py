"""DAgger: data-set aggregation, which asks the expert where the policy itself goes."""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecEnv

from sb3_course import collection
from sb3_course.collection.fast_mlp import make_sampler
from sb3_course.collection.observations import Array, Obs, compact, join, map_obs
from sb3_course.common import checkpoint
from sb3_course.common.evaluation import evaluate, evaluation_envs, evaluation_seed, undisturbed
from sb3_course.common.validation import check, check_count
from sb3_course.imitation.bc import BC, draw_seed, make_loss
from sb3_course.imitation.demonstrations import Demonstrations
from sb3_course.imitation.experts import Expert, as_expert, label

Self = TypeVar("Self", bound="DAgger")

BetaSchedule = Callable[[int], float]

ENVIRONMENT, ACTIONS, MIXTURE, MINIBATCHES = range(4)
"""What the random numbers of a round are for; each gets a stream of its own."""


class DAgger(BC):
    r"""Data-set aggregation (Ross, Gordon and Bagnell 2011; CS285 fall 2023, lecture 2).

    .. math:: D \leftarrow D \cup \{(s, \pi^*(s)) : s \sim \pi_i\}, \qquad
        \pi_i = \beta_i \pi^* + (1 - \beta_i) \pi_\theta, \qquad
        \theta \leftarrow \arg\min_\theta L_D(\theta)

    ==============  ===========================================================================
    symbol          variable
    ==============  ===========================================================================
    D               the data set: ``demonstrations``, and what every round adds
    π*              ``expert``, asked about a round's states in one batch
    β_i             ``beta_schedule(i)``: at each step, every environment takes the expert's
                    action with this probability
    L_D             the loss of :class:`~sb3_course.imitation.BC` on D, of which each round
                    takes ``gradient_steps`` steps from where the last round ended
    ==============  ===========================================================================

    Round 0 is behavioral cloning: of the demonstrations if there are any, else of ``n_steps``
    steps that the expert alone takes. Each later round begins new episodes in every environment,
    takes ``n_steps`` steps with actions sampled from π_i, asks the expert and trains.

    A checkpoint holds the data set. All random numbers of a round follow from seed and round, and
    every round begins new episodes, so that a run which goes on from a checkpoint gives what it
    would have given without interruption, provided that environments and expert are functions of
    their seeds and inputs. The expert is not saved: ``DAgger.load(path, env=env, expert=expert)``.

    Logged each round: ``dagger/round``, ``dagger/beta``, ``dagger/env_steps``,
    ``dagger/expert_queries``, ``dagger/n_transitions`` (in D), ``dagger/expert_action_loss``
    (−log π_θ(π*(s)|s) over the round's new states, before it trains on them; over D where there are
    none), ``rollout/ep_rew_mean`` (the training return: raw, over the episodes that ended in the
    round, or those under way if none did), ``train/loss``, and of the evaluation
    ``eval/mean_reward``, ``eval/std_reward``, ``eval/min_reward``, ``eval/max_reward``,
    ``eval/mean_ep_length``. ``rounds`` keeps them as a list of dicts.

    :param policy: See :class:`~sb3_course.imitation.BC`
    :param env: The environments, or a Gymnasium name
    :param expert: What :func:`~sb3_course.imitation.as_expert` takes: a model of SB3, a file, a
        callable from M raw observations to M actions
    :param demonstrations: To begin with; None has the expert play round 0
    :param learning_rate: A number, or a schedule of the remaining progress of each round, which
        begins with 1 again: a rate that falls to 0 ends every round with a policy at rest
    :param n_steps: Steps of each environment in a round; no episode goes on into the next round
    :param gradient_steps: Gradient steps of a round
    :param batch_size: Transitions of each of them
    :param beta_schedule: β of the rounds from 1 on: a number, or a function of the round's number
        such as :class:`~sb3_course.imitation.LinearBeta`
    :param collect: False for the control: the same training rounds with no new data, whose steps
        count in ``num_timesteps`` though none is taken
    :param buffer_size: Most transitions to keep, in memory allocated once; the oldest go first.
        None keeps them all
    :param ent_coef: Weight of the entropy bonus
    :param eval_env: Environments to measure the policy in after each round, one episode each. None
        makes Gymnasium's own, ``n_eval_episodes`` of them, by the name that ``env`` knows
    :param n_eval_episodes: How many then; 0 for no evaluation
    :param stats_window_size: As in SB3; the training return does not depend on it
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
        self.n_steps = n_steps
        self.gradient_steps = gradient_steps
        self.beta_schedule = beta_schedule
        self.collect = collect
        self.buffer_size = buffer_size
        self.eval_env = eval_env
        self.n_eval_episodes = n_eval_episodes
        self.n_rounds = self.env_steps = self.expert_queries = 0
        self._whole_rounds = 0  # time steps of the finished rounds
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

    @property
    def _capacity(self) -> int | None:
        return self.buffer_size

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_count("n_steps", self.n_steps)
        check_count("gradient_steps", self.gradient_steps)
        if self.buffer_size is not None:
            check_count("buffer_size", self.buffer_size, "or None")
        beta = self.beta_schedule
        ok = callable(beta) or 0.0 <= beta <= 1.0
        check("beta_schedule", beta, ok, "a number from 0 to 1 or a function of the round")
        episodes = self.n_eval_episodes
        check("n_eval_episodes", episodes, episodes >= 0, "a whole number of at least 0")

    # -- learning --------------------------------------------------------------------------------

    def learn(
        self: Self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "DAgger",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn for at least so many environment steps, in rounds of ``n_steps * n_envs``.

        Round 0 is made first unless it was made before; it costs no steps if there are
        demonstrations, so that ``learn(0)`` is behavioral cloning. Callbacks are called at each
        vector step, and around each round's collection.

        :param total_timesteps: Environment steps, over all environments
        :param callback: SB3 callback or callbacks
        :param log_interval: Rounds between two logs
        :param tb_log_name: Name of the run in TensorBoard
        :param reset_num_timesteps: Whether to count from 0 again
        :param progress_bar: Whether to show a progress bar
        :return: Itself
        :raises ValueError: There is no expert, or it does not fit the environment
        :raises FloatingPointError: A loss, an observation or a reward is not finite
        """
        expert = self._find_expert(total_timesteps)
        with self._frozen_statistics():
            total, callback = self._setup_learn(
                total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
            )
            callback.on_training_start(locals(), globals())
            self._whole_rounds = self.num_timesteps
            self.dataset.reserve(max(0, total - self.num_timesteps) if self.collect else 0)
            try:
                with self._evaluation_envs() as eval_env:
                    going = True
                    while going and (self.num_timesteps < total or self.n_rounds == 0):
                        going = self._round(expert, callback, eval_env, log_interval)
            finally:
                self.num_timesteps = self._whole_rounds
            callback.on_training_end()
        return self

    def _round(
        self,
        expert: Expert | None,
        callback: BaseCallback,
        eval_env: VecEnv | None,
        log_interval: int,
    ) -> bool:
        """Act, ask, train and measure once; false if the callback said stop."""
        facts: dict[str, float] = {}
        if self.n_rounds > 0 and not self.collect:
            self.num_timesteps += self.n_steps * self.n_envs
        elif self.n_rounds > 0 or self.dataset.size == 0:
            assert expert is not None, "learn() has looked"
            if not self._aggregate(expert, callback, facts):
                return False
        if "dagger/expert_action_loss" not in facts:
            facts["dagger/expert_action_loss"] = self._loss(*self._training_set())
        self.train()
        facts |= self._measure(eval_env)
        self._note(facts)
        if self.n_rounds % log_interval == 0:
            self.dump_logs()
        self.n_rounds += 1
        self._whole_rounds = self.num_timesteps
        return True

    def _aggregate(self, expert: Expert, callback: BaseCallback, facts: dict[str, float]) -> bool:
        """Collect, label and add to the data set; false if the callback says stop."""
        beta = self.beta()
        collected = self.collect_rollouts(expert, beta, callback)
        if collected is None:
            return False
        obs, labels, training_return = collected
        labels = label(expert, obs, self.action_space) if labels is None else labels
        self.env_steps += len(labels)
        self.expert_queries += len(labels)
        loss = self._loss(self._as_policy_sees(obs), self.to_tensor(labels))
        self.dataset.add(obs, labels)
        self._observe(obs)
        facts["dagger/beta"] = beta
        facts["dagger/expert_action_loss"] = loss
        facts["rollout/ep_rew_mean"] = training_return
        return True

    def beta(self) -> float:
        """Return the probability that the expert acts in this round.

        :raises ValueError: The schedule gives something else than a probability
        """
        if self.n_rounds == 0:
            return 1.0
        schedule = self.beta_schedule
        beta = float(schedule(self.n_rounds)) if callable(schedule) else float(schedule)
        takes = f"a probability (round {self.n_rounds})"
        check("beta_schedule's value", beta, 0.0 <= beta <= 1.0, takes)
        return beta

    def collect_rollouts(
        self, expert: Expert, beta: float, callback: BaseCallback
    ) -> tuple[Obs, Array | None, float] | None:
        """Take ``n_steps`` steps of new episodes in every environment with π_i.

        :param expert: π*, asked at each step if β is more than 0
        :param beta: β_i
        :param callback: Called at each vector step
        :return: Raw observations of shape (M, …); the expert's actions there, of shape (M, …),
            where it was asked on the way; the training return. None if the callback said stop
        """
        assert self.env is not None
        self.policy.set_training_mode(False)
        self.env.seed(self._seed(ENVIRONMENT))
        first_obs: Any = self.env.reset()
        returns = _Returns(self.n_envs)
        actor = _Mixture(self, expert, beta)

        def on_step(step_locals: dict[str, Any]) -> bool:
            venv = self._vec_normalize_env
            raw = step_locals["rewards"] if venv is None else venv.get_original_reward()
            returns.add(raw, step_locals["dones"])
            return self.after_step(callback, step_locals)

        callback.on_rollout_start()
        with th.no_grad(), th.random.fork_rng(self._cuda_devices()):
            th.manual_seed(self._seed(ACTIONS))
            schedule = collection.FixedSteps(self.n_envs, self.n_steps)
            collected = collection.collect(self.env, first_obs, actor, schedule, on_step)
        if collected is None:
            return None
        callback.on_rollout_end()
        return (*actor.seen(), returns.mean())

    def train(self) -> None:
        """Take ``gradient_steps`` steps on the data set, and log the mean loss."""
        steps = self._gradient_steps(
            *self._training_set(), (self.seed_entropy, self.n_rounds, MINIBATCHES)
        )
        losses = []
        for step in range(self.gradient_steps):
            self._update_current_progress_remaining(step, self.gradient_steps)
            losses.append(next(steps))
        self.policy.set_training_mode(False)
        self._log_training(losses)

    # -- what a round is made of -----------------------------------------------------------------

    def _find_expert(self, total_timesteps: int) -> Expert | None:
        """Return the expert, or None if nobody will ask it."""
        demonstrated = self.dataset.size > 0 or self.n_rounds > 0
        if demonstrated and (total_timesteps == 0 or not self.collect):
            return None
        if self.expert is None:
            raise ValueError(
                "DAgger has no expert: give DAgger(..., expert=...), or after loading "
                "DAgger.load(path, env=env, expert=...)"
            )
        return as_expert(self.expert)

    def _seed(self, purpose: int) -> int:
        return draw_seed(self.seed_entropy, self.n_rounds, purpose)

    def _cuda_devices(self) -> list[th.device]:
        return [] if self.device.type == "cpu" else [self.device]

    def _loss(self, obs: Any, actions: th.Tensor) -> float:
        with th.no_grad():
            return make_loss(self.policy, 0.0)(obs, actions).item()

    def _measure(self, eval_env: VecEnv | None) -> dict[str, float]:
        if eval_env is None:
            return {}
        with undisturbed(self):
            returns, lengths = evaluate(self, eval_env, evaluation_seed(self.seed_entropy % 1000))
        return {
            "eval/mean_reward": float(returns.mean()),
            "eval/std_reward": float(returns.std()),
            "eval/min_reward": float(returns.min()),
            "eval/max_reward": float(returns.max()),
            "eval/mean_ep_length": float(lengths.mean()),
        }

    def _note(self, facts: dict[str, float]) -> None:
        facts |= {
            "dagger/round": self.n_rounds,
            "dagger/env_steps": self.env_steps,
            "dagger/expert_queries": self.expert_queries,
            "dagger/n_transitions": self.dataset.size,
        }
        for key, value in facts.items():
            self.logger.record(key, value)
        loss = self.logger.name_to_value["train/loss"]
        self.rounds.append(facts | {"train/loss": loss, "timesteps": self.num_timesteps})

    @contextmanager
    def _evaluation_envs(self) -> Iterator[VecEnv | None]:
        """Give the user's, or make some, which are closed in the end."""
        if self.eval_env is not None:
            yield self._wrap_env(self.eval_env)
            return
        envs = self._make_evaluation_envs() if self.n_eval_episodes else None
        try:
            yield envs
        finally:
            if envs is not None:
                envs.close()

    def _make_evaluation_envs(self) -> VecEnv | None:
        assert self.env is not None
        try:
            spec = copy.copy(self.env.get_attr("spec")[0])
            wrappers = spec.additional_wrappers
            spec.additional_wrappers = tuple(w for w in wrappers if w.name != Monitor.class_name())
            envs = self._wrap_env(evaluation_envs(spec, self.n_eval_episodes))
            if envs.observation_space == self.observation_space:
                return envs
            envs.close()
        except (AttributeError, ValueError, gym.error.Error):
            pass  # it has no name, or is wrapped in what Gymnasium does not know how to wrap anew
        warnings.warn(
            "DAgger cannot make its environment anew to measure the policy: give eval_env, or "
            "n_eval_episodes=0 for no evaluation",
            stacklevel=4,
        )
        return None

    # -- files -----------------------------------------------------------------------------------

    def save(
        self,
        path: checkpoint.CheckpointPath,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save to one zip file, atomically; inside a round, what there was before it.

        :param path: Where to; ``.zip`` is added to a path without suffix
        :param exclude: As in SB3; ``"dataset"`` leaves the data set out
        :param include: As in SB3
        """
        now, self.num_timesteps = self.num_timesteps, self._whole_rounds
        try:
            super().save(path, exclude, include)
        finally:
            self.num_timesteps = now

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "expert", "eval_env"]


class _Mixture:
    """π_i = β_i π* + (1 − β_i) π_θ, which remembers the raw observations that it was shown."""

    def __init__(self, model: DAgger, expert: Expert, beta: float) -> None:
        self._model, self._expert, self._beta = model, expert, beta
        self._sample = make_sampler(model.policy)
        self._rng = np.random.default_rng(model._seed(MIXTURE))
        self._venv = model.get_vec_normalize_env()
        self._obs: list[Obs] = []
        self._labels: list[Array] = []

    def __call__(self, obs: Obs) -> tuple[Array, Array]:
        """Return actions as sampled, and as the environments take them."""
        raw = obs if self._venv is None else map_obs(compact, self._venv.get_original_obs())
        self._obs.append(raw)
        model = self._model
        actions, sent = model.as_sent(self._sample(model.to_tensor(obs)))
        if self._beta == 0.0:
            return actions, sent
        space = model.action_space
        wanted = label(self._expert, raw, space)
        self._labels.append(wanted)
        experts = self._rng.random(len(wanted)) < self._beta
        shaped = wanted.reshape(sent.shape)
        if isinstance(space, spaces.Box):
            shaped = np.clip(shaped, space.low, space.high)
        sent = np.where(experts.reshape(-1, *[1] * (sent.ndim - 1)), shaped, sent)
        return actions, sent.astype(shaped.dtype)

    def seen(self) -> tuple[Obs, Array | None]:
        """Return the raw observations and, where the expert was asked, its actions."""
        return join(self._obs), np.concatenate(self._labels) if self._labels else None


class _Returns:
    """Raw returns of one round's episodes."""

    def __init__(self, n_envs: int) -> None:
        self._running, self._ended = np.zeros(n_envs), list[float]()

    def add(self, rewards: Array, dones: Array) -> None:
        self._running += rewards
        self._ended.extend(self._running[dones])
        self._running[dones] = 0.0

    def mean(self) -> float:
        """Over the episodes that ended, or those under way if none did."""
        return float(np.mean(self._ended or self._running))
