"""What goes on exactly where it was saved: the state of the training in the file, and out of it."""

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.common import checkpoint
from sb3_course.common.base_class import CourseAlgorithm
from sb3_course.common.checkpoint import training_state
from sb3_course.common.checkpoint.training_state import TrainingState
from sb3_course.common.validation import checked_seed


class Resumable(CourseAlgorithm):
    """An algorithm whose files hold the state of its training, as :mod:`.training_state` has it."""

    _first_look: tuple[VecEnv | None, Any] = (None, None)  # at the environments, before training
    _saved_state: TrainingState | None = None  # of the file, until learn() goes on from it
    _inside_batch = False  # kept in a file: what is saved inside a batch begins a new one

    def _go_on(self, reset_num_timesteps: bool) -> None:
        """Restore the state of the file that was loaded, if there is one, before the training."""
        self._checked_env()  # or else the state would be used up
        if self._inside_batch:  # which was interrupted
            self._last_obs, self._inside_batch = None, False
        training_state.look(self)
        state, self._saved_state = self._saved_state, None
        if state is not None and reset_num_timesteps:
            if (why := training_state.put_memory(self, state)) is not None:
                warnings.warn(f"the file's past batches are left out: {why}", stacklevel=3)
        elif state is not None:
            lost = training_state.put(self, state)
            if lost is not None:
                warnings.warn(f"the running episodes start anew: {lost}", stacklevel=3)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Set the environment, as in SB3; past batches of a loaded one are forgotten.

        :param env: New environment
        :param force_reset: Whether to reset it before training
        """
        if self.env is not None and self._saved_state is not None:
            self._saved_state = replace(self._saved_state, memory={})  # of the former task
        super().set_env(env, force_reset)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed all random generators and the environments' next episodes, as in SB3.

        A loaded model that is seeded no longer goes on exactly where it was saved: its running
        episodes start anew.

        :param seed: Seed; None to change nothing
        :raises ValueError: It is not a whole number from 0 to 2³² - 1
        """
        super().set_random_seed(checked_seed(seed))
        if seed is not None and self._saved_state is not None:
            self._saved_state = training_state.seeded_anew(self._saved_state)

    def file_members(
        self, exclude: Iterable[str] | None = None, include: Iterable[str] | None = None
    ) -> checkpoint.Members:
        """Return the content of the file, with the state of the training.

        :param exclude: Names of attributes to leave out, as in SB3, and ``"training_state"``
        :param include: Names of attributes to keep although they are excluded by default
        :return: Content by name
        """
        exclude = set(exclude or ())  # an iterator can be read once
        members = super().file_members(exclude, include)
        if "training_state" not in exclude:
            state = self._saved_state or training_state.take(self)  # loaded, but not yet in use
            training_state.write(state, members)
        return members

    def _take_from(self, members: checkpoint.Members, trusted: bool) -> None:
        state = training_state.read(members, trusted)
        given = self.seed != checkpoint.sb3_data(members).get("seed")  # load(..., seed=1)
        self._saved_state = training_state.seeded_anew(state) if state and given else state

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_saved_state", "_first_look"]
