"""Where the time of a run goes: steps, waiting for data, and what is no step at all."""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

Item = TypeVar("Item")
Mark = float | torch.cuda.Event  # a moment, on this machine's clock or on the GPU's


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """What was measured since the last time.

    Attributes:
        seconds: Of wall time, at least 1e-9; pauses are no part of it.
        waited_s: Of these, spent waiting for data. A GPU may have been busy with earlier steps
            meanwhile, so this is the most that it can have been idle for want of data.
        step_s: Seconds of each step; on a GPU by its own clock, which a program that only hands
            out work does not see.
    """

    seconds: float
    waited_s: float
    step_s: tuple[float, ...]

    def quantile(self, share: float) -> float:
        """Return the smallest step time that this share of the steps, above 0, does not exceed."""
        ordered = sorted(self.step_s)
        return ordered[math.ceil(share * len(ordered)) - 1]


class Meter:
    """Measures steps on a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._begin()

    def _begin(self) -> None:
        self._start_s = time.perf_counter()
        self._waited_s = self._paused_s = 0.0
        self._spans: list[tuple[Mark, Mark]] = []
        self._since = self._mark()

    def waiting(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass items on, counting the time spent waiting for them."""
        iterator = iter(items)
        while True:
            begin = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited_s += time.perf_counter() - begin
            yield item

    def step(self) -> None:
        """Note that a step has ended, or on a GPU has been handed out."""
        now = self._mark()
        self._spans.append((self._since, now))
        self._since = now

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave out what happens in a `with` block."""
        begin = time.perf_counter()
        yield
        self._paused_s += time.perf_counter() - begin
        self._since = self._mark()

    def seen(self) -> Interval:
        """Return what was measured so far, but for the steps' own times, which may not be known."""
        seconds = time.perf_counter() - self._start_s - self._paused_s
        return Interval(seconds=max(seconds, 1e-9), waited_s=self._waited_s, step_s=())

    def take(self) -> Interval:
        """Return all that was measured and begin anew; waits for a GPU to come to an end."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seen = self.seen()
        step_s = tuple(_between(start, end) for start, end in self._spans)
        self._begin()
        return Interval(seconds=seen.seconds, waited_s=seen.waited_s, step_s=step_s)

    def _mark(self) -> Mark:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event


def _between(start: Mark, end: Mark) -> float:
    if isinstance(start, float) or isinstance(end, float):
        assert isinstance(start, float)
        assert isinstance(end, float)
        return end - start
    return start.elapsed_time(end) / 1e3
