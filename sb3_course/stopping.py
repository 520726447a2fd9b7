"""Stop a training by Ctrl-C or SIGTERM so that nothing is lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

PATIENCE = 10
"""Seconds that the rest of a batch may take once the training is to stop."""

Tell = Callable[[str], None]


class Finish:
    """Lets a training be saved although a signal comes after its last step; a second one ends it.

    :param tell: Function that gets a line when the signal comes
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.number = 0

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.number:
            raise KeyboardInterrupt(number)
        self.number = number
        self._tell("stopping once the model is saved; once more stops at once, and loses it")


@contextmanager
def finishing(tell: Tell) -> Iterator[Finish]:
    """Protect what follows a training from the signals that stop one, in the main thread alone.

    :param tell: Function that gets a line when a signal comes
    :yield: Object whose ``number`` is that of the signal, 0 for none
    """
    finish = Finish(tell)
    if threading.current_thread() is not threading.main_thread():
        yield finish
        return
    numbers = signal.SIGINT, signal.SIGTERM
    before = {number: signal.signal(number, finish.receive) for number in numbers}
    try:
        yield finish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Stop(BaseCallback):
    """Ends a training between two batches once a signal has come, so that it can go on exactly.

    A second signal, or a batch that takes longer than :data:`PATIENCE`, ends it at once.

    :param tell: Function that gets a line when the signal comes
    """

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell
        self._number = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to Ctrl-C, SIGTERM and the end of the patience, in the main thread alone.

        :yield: Nothing
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers: dict[int, Any] = dict.fromkeys((signal.SIGINT, signal.SIGTERM), self._receive)
        if hasattr(signal, "SIGALRM"):
            handlers[signal.SIGALRM] = self._end
        before = {number: signal.signal(number, handlers[number]) for number in handlers}
        try:
            yield
        finally:
            if hasattr(signal, "alarm"):
                signal.alarm(0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._number:
            self._end()
        self._number = number
        self._tell("stopping at the end of this batch; once more stops at once")
        if hasattr(signal, "alarm"):
            signal.alarm(PATIENCE)

    def _end(self, *_: Any) -> None:
        raise KeyboardInterrupt(self._number)

    def _on_rollout_start(self) -> None:
        if self._number:
            self._end()

    def _on_step(self) -> bool:
        return True
