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

STOPPING = (signal.SIGINT, signal.SIGTERM)
"""Signals that stop a training."""

Tell = Callable[[str], None]


@contextmanager
def _handled(handlers: dict[int, Any]) -> Iterator[None]:
    """Handle signals within a context, in the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Finish:
    """Keeps a signal after a training's last step from ending it unsaved; a second one does.

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
    with _handled(dict.fromkeys(STOPPING, finish.receive)):
        yield finish


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
        handlers: dict[int, Any] = dict.fromkeys(STOPPING, self._receive)
        if hasattr(signal, "SIGALRM"):
            handlers[signal.SIGALRM] = self._end
        with _handled(handlers):
            try:
                yield
            finally:
                if self._number and hasattr(signal, "alarm"):
                    signal.alarm(0)

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
