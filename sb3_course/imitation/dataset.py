"""Observations and the expert's actions, in preallocated arrays, and minibatches of them.

Minibatches depend on a seed and their number alone: a resumed run draws the same.
"""

import math
from typing import Any

import numpy as np
import torch as th

from sb3_course.collection.observations import Array, Obs
from sb3_course.common.optimization import minibatches

KEY = "obs:"
CHUNK = 1_000
"""Minimum number of minibatches between two reseedings, which come at the end of an epoch."""
MOST_RESERVED = 2**28
"""Maximum number of bytes that are allocated before there is anything to hold."""


class Dataset:
    """Observations and the expert's actions, in arrays with room for more rows than are in use.

    Without a capacity the arrays grow, by doubling or by :meth:`reserve`. With a capacity they are
    allocated once, when the first rows arrive, and new rows replace the oldest ones.

    :param capacity: Maximum number of rows, or None for no limit
    """

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.size = 0
        self._next = 0
        self._columns: dict[str, Array] = {}

    @property
    def obs(self) -> Obs:
        """Observations in use, of shape (``size``, …), as views."""
        if "obs" in self._columns:
            return self._columns["obs"][: self.size]
        names = [name for name in self._columns if name.startswith(KEY)]
        return {name.removeprefix(KEY): self._columns[name][: self.size] for name in names}

    @property
    def actions(self) -> Array:
        """The expert's actions in use, of shape (``size``, …), as a view."""
        return self._columns["actions"][: self.size]

    @property
    def nbytes(self) -> int:
        """Number of allocated bytes."""
        return sum(column.nbytes for column in self._columns.values())

    def add(self, obs: Obs, actions: Array) -> None:
        """Append rows, which replace the oldest ones if the capacity is reached.

        :param obs: Observations, of shape (M, …), or a dict of such arrays
        :param actions: Actions of the expert, of shape (M, …)
        """
        rows = {"actions": actions} | (
            {KEY + key: value for key, value in obs.items()}
            if isinstance(obs, dict)
            else {"obs": obs}
        )
        n = len(rows["actions"])
        if self.size + n > self._allocated:
            self._allocate(max(self.size + n, 2 * self._allocated), rows)
        where = (self._next + np.arange(n)) % max(1, self._allocated)
        for name, row in rows.items():
            self._columns[name][where] = row  # of several rows for one index, NumPy keeps the last
        size, following = min(self.size + n, self._allocated), self._next + n
        self.size, self._next = size, following % max(1, self._allocated)

    def reserve(self, n: float) -> None:
        """Allocate room for more rows, unless the data set has had no rows yet.

        A training that a callback will stop may be to take any number of steps: no more than
        ``MOST_RESERVED`` bytes are allocated.

        :param n: Number of rows to make room for, also infinite
        """
        if self._columns:
            row_bytes = max(1, self.nbytes // max(1, self._allocated))
            rows = self.size + int(min(n, MOST_RESERVED // row_bytes))
            if rows > self._allocated:
                self._allocate(rows, self._columns)

    def state(self) -> dict[str, Any]:
        """Return the content as plain arrays, for a file."""
        rows = {name: column[: self.size] for name, column in self._columns.items()}
        return rows | {"next": np.array(self._next)}

    @classmethod
    def from_state(cls, state: dict[str, Any], capacity: int | None) -> "Dataset":
        """Make a data set from the arrays that :meth:`state` returned.

        :param state: Arrays by name
        :param capacity: Maximum number of rows, or None for no limit; a smaller one than before
            keeps the newest rows
        :return: Data set with the same content
        """
        dataset = cls(capacity)
        columns = {name: column for name, column in state.items() if name != "next"}
        if not columns:
            return dataset
        size = len(columns["actions"])
        oldest = int(state["next"]) % size if size else 0
        if capacity not in (None, size):  # the ring is another one: from the oldest to the newest
            columns = {name: np.roll(column, -oldest, 0) for name, column in columns.items()}
        obs = {k.removeprefix(KEY): v for k, v in columns.items() if k.startswith(KEY)}
        dataset.add(obs or columns["obs"], columns["actions"])
        if capacity in (None, size):
            dataset._next = oldest
        return dataset

    @property
    def _allocated(self) -> int:
        return len(self._columns["actions"]) if self._columns else 0

    def _allocate(self, n: int, like: dict[str, Array]) -> None:
        """Move to arrays with n rows, or as many as the capacity if there is one."""
        n = n if self.capacity is None else self.capacity
        if n == self._allocated:
            return
        # all of them before any is used: memory may not suffice
        columns = {name: np.empty((n, *row.shape[1:]), row.dtype) for name, row in like.items()}
        for name, column in self._columns.items():
            columns[name][: self.size] = column[: self.size]
        self._columns, self._next = columns, self.size % n


class SeededMinibatches:
    """Minibatches that can be drawn from any one on: every :data:`CHUNK` or more have a seed.

    An epoch is one pass over all transitions in an order of its own, but for those that are left
    where ``n`` is no multiple of ``batch_size``: as in ``imitation``, each epoch leaves out others.

    :param n: Number of transitions
    :param batch_size: Size of a minibatch; at least n for all transitions each time
    :param device: Device of the indices
    :param seed: Whole numbers of at least 0
    :param start: Number of the first minibatch to draw
    """

    def __init__(
        self, n: int, batch_size: int, device: th.device, seed: tuple[int, ...], start: int = 0
    ) -> None:
        self._n, self._batch_size, self._device, self._seed = n, batch_size, device, seed
        epoch = max(1, n // batch_size)
        self._chunk_size = epoch * math.ceil(CHUNK / epoch)
        self._number = start - start % self._chunk_size
        while self._number < start:
            self.draw()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy by number, since a running generator cannot be copied."""
        return type(self), (self._n, self._batch_size, self._device, self._seed, self._number)

    def draw(self) -> th.Tensor | slice:
        """Draw the next minibatch.

        :return: Index tensor of shape (batch_size,), or a slice that selects everything
        """
        if self._number % self._chunk_size == 0:
            generator = th.Generator(self._device)
            generator.manual_seed(draw_seed(*self._seed, self._number // self._chunk_size))
            how = self._chunk_size, self._batch_size, self._device, generator
            self._chunk = minibatches(self._n, *how)
        self._number += 1
        return next(self._chunk)


def draw_seed(*numbers: int) -> int:
    """Compute one seed below 2³¹ from several whole numbers.

    :param numbers: Whole numbers of at least 0
    :return: The seed
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) % 2**31
