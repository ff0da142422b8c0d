"""A circuit breaker: once an endpoint is found dead, nobody waits for it again for a while."""

import threading
import time
from collections.abc import Callable

RESET_S = 30.0
IN_A_ROW = 3  # requests that were given up, with no answer between them


class Breaker:
    """Closed, requests pass; open, they are refused at once.

    It opens when no connection can be made, or when `IN_A_ROW` requests in a row were given up.
    `reset_s` later it lets one request through: an answer closes it, a failure keeps it open for
    as long again. Threads may share it.
    """

    def __init__(
        self, *, reset_s: float = RESET_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start closed.

        Args:
            reset_s: Seconds after which one request is let through.
            clock: Seconds, from any start.
        """
        self._reset_s, self._clock = reset_s, clock
        self._lock, self._opened = threading.Lock(), threading.Event()
        self._failures, self._until = 0, 0.0

    @property
    def is_open(self) -> bool:
        """Whether requests are refused, or one is on trial."""
        return self._opened.is_set()

    def admits(self) -> bool:
        """Tell whether a request may begin; it must report `answered` or `given_up`."""
        with self._lock:
            if not self.is_open:
                return True
            if self._clock() < self._until:
                return False
            self._until = self._clock() + self._reset_s  # the one on trial
            return True

    def answered(self) -> None:
        """Note that the endpoint lives."""
        with self._lock:
            self._failures = 0
            self._opened.clear()

    def given_up(self, *, unreachable: bool = False) -> None:
        """Note a request without an answer; `unreachable`: there was not even a connection."""
        with self._lock:
            self._failures += 1
            if unreachable or self._failures >= IN_A_ROW or self.is_open:
                self._until = self._clock() + self._reset_s
                self._opened.set()

    def wait(self, seconds: float) -> bool:
        """Wait; return early with True when it opens meanwhile."""
        return self._opened.wait(seconds)
