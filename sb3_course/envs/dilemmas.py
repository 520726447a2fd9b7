r"""A world of small decisions, in which each mistake of an estimator leads to another decision.

It is the task of the fast regression test (``benchmarks/regression/dilemmas.yaml``). An episode
shows one of 24 places, in each of which one of four actions is right. With a discount factor
γ = 0.9 the right actions have the highest return, and the undiscounted return of each is 11. A
policy that has learned them has therefore 11 in every episode, whatever places it sees; one that
has learned something else has another mean:

=================  ======================  =============================  ========================
place              right action            wrong action                   what chooses the wrong one
=================  ======================  =============================  ========================
12 × choice        11, and the end         8, and the end                 a baseline of the wrong
                                                                          sign: both pay so much
                                                                          that whatever was sampled
                                                                          seems good
4 × patience       11, and the end         0 now, and 15 after seven      a missing γ: 15 > 11, but
                                           more steps                     γ⁷ 15 = 7.2
4 × ending         11/5 at each of five    6, and the end                 sums that do not stop at
                   steps                                                  the end of an episode: six
                                                                          a step is more than 11/5
4 × loitering      11, and the end         -1, and the same place again,  values of the wrong sign,
                                           five steps at most             which grow with the length
                                                                          of an episode
=================  ======================  =============================  ========================

A policy that has learned nothing has about 8, one that became certain too early about 10.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

N_ACTIONS = 4
KINDS = ("choice",) * 12 + ("patience",) * 4 + ("ending",) * 4 + ("loitering",) * 4
DELAY, STEPS = 8, 5
WAITING = len(KINDS)
"""Place of those who wait, whatever they do there."""


class Dilemmas(gymnasium.Env[Any, Any]):
    """World of small decisions; observations are the place, one-hot."""

    metadata = {"render_modes": []}  # noqa: RUF012  # as Gymnasium declares it

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (len(KINDS) + 1,))
        self.action_space = spaces.Discrete(N_ACTIONS)
        self.place = self.t = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode at a place that is drawn uniformly.

        :param seed: Seed of the places
        :param options: Not used
        :return: Observation, and no information
        """
        super().reset(seed=seed)
        self.place, self.t = int(self.np_random.integers(len(KINDS))), 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Decide; the table above says what follows.

        :param action: One of four; the right one at place p is p modulo 4
        :return: Observation, reward, whether the episode has ended, False, and no information
        """
        self.t += 1
        reward, over = self._decide(bool(action == self.place % N_ACTIONS))
        return self._observation(), reward, over, False, {}

    def _decide(self, right: bool) -> tuple[float, bool]:
        if self.place == WAITING:
            late = self.t == DELAY
            return 15.0 * late, late
        kind, last = KINDS[self.place], self.t == STEPS
        if kind == "choice":
            return 11.0 if right else 8.0, True
        if kind == "patience":
            if not right:
                self.place = WAITING
            return 11.0 if right else 0.0, right
        if kind == "ending":
            return 11.0 / STEPS if right else 6.0, last or not right
        return 11.0 if right else -1.0, last or right

    def _observation(self) -> NDArray[np.float32]:
        obs = np.zeros(len(KINDS) + 1, dtype=np.float32)
        obs[self.place] = 1.0
        return obs


gymnasium.register("Dilemmas-v0", entry_point=f"{__name__}:Dilemmas")
