r"""The Markov decision processes of one parameter in the second homework, solved exactly.

The policy takes :math:`a_1` with probability θ in every state, and :math:`a_2` otherwise.

- *Infinite*: :math:`a_1` gives a reward of 1 and leads back to the one state, :math:`a_2` gives
  nothing and ends the episode.
- *Chain* of H steps: :math:`a_1` leads on, and the H-th one in a row gives a reward of 1;
  :math:`a_2` ends the episode.

Nothing is discounted. The expectations are sums over all trajectories, each of which is told by the
number of times that :math:`a_1` was taken; of the infinite process, as many as numbers can tell
from nothing.
"""

import math
from typing import NamedTuple

import numpy as np
from gymnasium import spaces

from sb3_course.common.validation import check
from sb3_course.envs.enumerable import Array, VectorWorld

TOTAL, TO_GO, IMPORTANCE = KINDS = ("total return", "reward to go", "importance-sampled")
"""Estimators: ∇log π times the return of the trajectory, times the reward to go, and the first one
with trajectories of another θ'."""
TAIL = 80.0
"""Trajectories are summed until their weight is below e to the minus this."""
MOST_TERMS = 1_000_000
"""Most trajectories of a sum, which take a second."""


class Moments(NamedTuple):
    """Mean and variance of the estimate from one trajectory."""

    mean: float
    variance: float


class _Trajectories(NamedTuple):
    """All trajectories of a process.

    :param firsts: How often a₁ was taken
    :param seconds: How often a₂ was taken, 0 or 1
    :param returns: Sum of the rewards
    :param to_go: Sum of the rewards to go, over the steps in which a₁ was taken; after a₂ it is 0
    """

    firsts: Array
    seconds: Array
    returns: Array
    to_go: Array


def exact_moments(
    kind: str, theta: float, behavior: float | None = None, horizon: int | None = None
) -> Moments:
    r"""Compute mean and variance of an estimate of ∇J from one trajectory.

    .. math:: E[g] = \sum_\tau p_{\theta'}(\tau) \, g(\tau) \qquad
        \operatorname{Var}[g] = \sum_\tau p_{\theta'}(\tau) \, g(\tau)^2 - E[g]^2

    where θ' is θ but for importance sampling, whose g has the weight
    :math:`p_\theta(\tau) / p_{\theta'}(\tau)`.

    :param kind: ``"total return"``, ``"reward to go"`` or ``"importance-sampled"``
    :param theta: Parameter θ of the policy
    :param behavior: Parameter θ' of the policy that acts, of importance sampling only
    :param horizon: Number of steps H of the chain; None for the infinite process
    :return: Mean and variance, which may be infinite
    :raises ValueError: θ or θ' is not between 0 and 1, or the sum has too many terms: so near to
        1, or to where the variance is infinite
    """
    acts = theta if kind != IMPORTANCE or behavior is None else behavior
    for name, value in (("theta", theta), ("behavior", acts)):
        check(name, value, 0 < value < 1, "a number between 0 and 1, without these")
    if horizon is None and acts < theta and theta**2 >= acts * (1 - 1e-12):
        return Moments(exact_moments(TOTAL, theta).mean, math.inf)
    ratio = max(theta, theta**2 / acts)  # by which the terms of the two sums fall in the end
    paths = _chain(horizon) if horizon is not None else _infinite(ratio)
    score = paths.firsts / theta - paths.seconds / (1 - theta)
    estimate = paths.to_go / theta if kind == TO_GO else paths.returns * score
    log_p, log_acts = (
        paths.firsts * np.log(x) + paths.seconds * np.log1p(-x) for x in (theta, acts)
    )
    mean = float((np.exp(log_p) * estimate).sum())  # Σ p_θ' (p_θ / p_θ') ĝ
    square = float((np.exp(2 * log_p - log_acts) * estimate**2).sum())
    return Moments(mean, square - mean**2)


def _infinite(ratio: float) -> _Trajectories:
    if -math.log(ratio) * MOST_TERMS < TAIL:
        raise ValueError(
            f"the terms of the sum fall by {1 - ratio:.1g} from one to the next: too slowly for "
            f"{MOST_TERMS:,} of them; allowed: theta, and theta**2 / behavior, further below 1"
        )
    longest = math.ceil(TAIL / -math.log(ratio)) + 10
    lengths = np.arange(longest + 1, dtype=np.float64)
    return _Trajectories(lengths, np.ones_like(lengths), lengths, np.cumsum(lengths))


def _chain(horizon: int) -> _Trajectories:
    lengths = np.arange(horizon + 1, dtype=np.float64)
    arrived = (lengths == horizon).astype(np.float64)
    return _Trajectories(lengths, 1 - arrived, arrived, horizon * arrived)


class OneParameterMDP(VectorWorld):
    """Copies of one of the two processes; action 0 is a₁, action 1 is a₂, and nothing is observed.

    :param num_envs: Number of copies, N
    :param horizon: Number of steps H of the chain; None for the infinite process
    """

    def __init__(self, num_envs: int, horizon: int | None = None) -> None:
        super().__init__(num_envs, spaces.Box(0, 0, (1,)), spaces.Discrete(2))
        self.horizon = horizon
        self.t = np.zeros(num_envs, dtype=int)

    def observe(self) -> Array:
        """Return zeros, of shape (N, 1): the policy does not depend on the state."""
        return np.zeros((self.num_envs, 1), dtype=np.float32)

    def begin(self, which: Array) -> None:
        """Begin at the first state."""
        self.t[which] = 0

    def move(self, actions: Array) -> tuple[Array, Array, Array]:
        """Go on with a₁, end with a₂."""
        stays = np.asarray(actions) == 0
        self.t += stays
        arrived = stays & (self.t == self.horizon)
        rewards = (stays if self.horizon is None else arrived).astype(np.float64)
        return rewards, ~stays | arrived, np.zeros(self.num_envs, dtype=bool)
