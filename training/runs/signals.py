"""Signals become wishes: what a scheduler or Ctrl-C asks for is done at the end of a step."""

import signal
import threading
from types import FrameType
from typing import Any, Self

# SIGUSR1: what Slurm is told to send some minutes before time is up.
ASKED = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)
)


class Signals:
    """Notes which signal came first while a `with` block runs; Ctrl-C twice ends it at once.

    Only a process's main thread can take signals; elsewhere nothing is noted.

    Attributes:
        got: Number of the signal, 0 without one.
    """

    def __init__(self) -> None:
        self.got = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take over the handlers."""
        self.got = 0
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in ASKED}
        return self

    def __exit__(self, *_error: object) -> None:
        """Give the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.got and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.got = self.got or number


def name_of(number: int) -> str:
    """Return a signal's name.

    >>> name_of(15)
    'SIGTERM'
    """
    return signal.Signals(number).name
