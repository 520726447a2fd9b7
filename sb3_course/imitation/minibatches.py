"""Minibatches that depend on a seed and their number alone: a resumed run draws the same."""

import numpy as np
import torch as th

CHUNK = 1_000
"""Minibatches between two reseedings."""


class SeededMinibatches:
    """Indices of minibatches, reshuffled each time that the data are used up.

    :param n: Number of transitions
    :param batch_size: Size of a minibatch; at least n for all transitions each time
    :param device: Device of the indices
    :param seed: Whole numbers of at least 0
    :param start: Number of the first minibatch to draw
    """

    def __init__(
        self, n: int, batch_size: int, device: th.device, seed: tuple[int, ...], start: int = 0
    ) -> None:
        self._n, self._batch_size, self._seed = n, batch_size, seed
        self._generator = th.Generator(device)
        self._number = start - start % CHUNK
        while self._number < start:
            self.draw()

    def draw(self) -> th.Tensor | slice:
        """Draw the next minibatch.

        :return: Index tensor of shape (batch_size,), or a slice that selects everything
        """
        number, self._number = self._number, self._number + 1
        if self._batch_size >= self._n:
            return slice(None)
        if number % CHUNK == 0:
            self._generator.manual_seed(draw_seed(*self._seed, number // CHUNK))
            self._shuffle()
        elif self._position + self._batch_size > self._n:
            self._shuffle()
        indices = self._order[self._position : self._position + self._batch_size]
        self._position += self._batch_size
        return indices

    def _shuffle(self) -> None:
        device = self._generator.device
        self._order = th.randperm(self._n, device=device, generator=self._generator)
        self._position = 0


def draw_seed(*numbers: int) -> int:
    """Compute one seed below 2³¹ from several whole numbers.

    :param numbers: Whole numbers of at least 0
    :return: The seed
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) % 2**31
