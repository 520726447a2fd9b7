"""Callbacks of long trainings: save, evaluate and show progress on the way."""

from collections.abc import Callable

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, ProgressBarCallback

from sb3_course.common.errors import check_whole
from sb3_course.common.evaluation import (
    check_evaluation,
    evaluation_envs,
    evaluation_seed,
    play_episodes,
    undisturbed,
)
from sb3_course.common.numbers import readable
from sb3_course.common.validation import check, checked_seed
from sb3_course.envs.config import EnvConfig, EnvId

NOT_SAVED = "not saved at"
"""Begins the line about a file that could not be written."""


def _following(steps: int, every: int) -> int:
    """Return the next multiple of a number of steps, the same for a training that is resumed."""
    return (steps // every + 1) * every


class SaveEvery(BaseCallback):
    """Callback that saves the model every ``every`` environment steps, between two batches.

    There the file holds all that an exact continuation needs. A place that cannot be written is
    reported once, and training goes on.

    :param every: Environment steps from one save to the next
    :param save: Function that saves the model
    :param tell: Function that gets a line about what went wrong
    """

    def __init__(
        self, every: int, save: Callable[[BaseAlgorithm], None], tell: Callable[[str], None]
    ) -> None:
        super().__init__()
        check_whole("every", every)
        self._every, self._save, self._tell = every, save, tell
        self._failed = False

    def _on_training_start(self) -> None:
        self._next = _following(self.model.num_timesteps, self._every)

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._next:
            self._next = _following(self.model.num_timesteps, self._every)
            try:
                self._save(self.model)
            except OSError as error:
                if not self._failed:
                    self._tell(f"{NOT_SAVED} {self.num_timesteps:,} steps: {error}")
                self._failed = True

    def _on_step(self) -> bool:
        return True


class EvaluateEvery(BaseCallback):
    """Callback that logs the return of the deterministic policy, in Gymnasium's own environments.

    The training is not disturbed: it is the same with and without it.

    :param every: Environment steps from one evaluation to the next
    :param env: Environment, with the settings that it is trained with
    :param episodes: Number of episodes
    :param seed: Seed of the training, which the episodes' seeds follow from; None for 0
    :param tell: Function that gets a line with each result; None for the log alone
    """

    def __init__(
        self,
        every: int,
        env: EnvConfig | EnvId,
        episodes: int,
        seed: int | None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        check_whole("every", every)
        check_whole("episodes", episodes)
        described = isinstance(env, (EnvConfig, str)) or callable(env)
        check("env", env, described, "a Gymnasium id, a function that makes one, or an EnvConfig")
        self._every, self._env, self._episodes = every, env, episodes
        self._seed, self._tell = checked_seed(seed) or 0, tell

    def _on_training_start(self) -> None:
        check_evaluation(self.model)
        with undisturbed(self.model):
            self._envs = evaluation_envs(self._env, self._episodes)
        self._next = _following(self.model.num_timesteps, self._every)

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next = _following(self.num_timesteps, self._every)
            with undisturbed(self.model):
                played = play_episodes(self.model, self._envs, evaluation_seed(self._seed))
            returns, successes = played.returns, [i.get("is_success") for i in played.infos]
            self.logger.record("eval/mean_reward", float(returns.mean()))
            self.logger.record("eval/mean_ep_length", float(played.lengths.mean()))
            if None not in successes:
                self.logger.record("eval/success_rate", sum(map(bool, successes)) / len(successes))
            self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
            self.logger.dump(self.num_timesteps)  # as SB3's EvalCallback: no other one replaces it
            if self._tell is not None:
                mean_and_std = " ± ".join(readable(returns.mean(), returns.std()))
                self._tell(
                    f"{self.num_timesteps:,} steps: return {mean_and_std} "
                    f"over {len(returns)} episodes"
                )
        return True

    def _on_training_end(self) -> None:
        self._envs.close()


class TransitionsProgressBar(ProgressBarCallback):
    """SB3's progress bar, for time steps that are not steps of the environment."""

    def _on_step(self) -> bool:
        done = self.model.num_timesteps - self.model._num_timesteps_at_start
        self.pbar.update(done - self.pbar.n)
        return True
