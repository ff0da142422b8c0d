"""Where training runs is an argument: what the loop asks of whoever started this process."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from pipeline.folder import Folder
from training.parallel.ranks import ALONE, Ranks
from training.runs.signals import Signals, name_of
from training.runs.talk import Talk

T = TypeVar("T")
FOREVER = timedelta(days=365)  # the first rank may curate for days; that it died is noticed at once


class Interrupted(RuntimeError):  # noqa: N818 (nothing is wrong)
    """Somebody wants this process to end; the state is saved."""


def interrupted(by: str, *, step: int, steps: int, out: Folder) -> Interrupted:
    """Say what ended a run, and how to go on."""
    return Interrupted(
        f"train: got {by} after step {step} of {steps}, expected to go on; the state is saved in "
        f"{out.url}: start the same command again, and it goes on from there"
    )


class Runtime(Protocol):
    """Whoever started the ranks."""

    @property
    def ranks(self) -> Ranks:
        """This process among those that train together."""
        ...

    def listening(self) -> AbstractContextManager[None]:
        """Take notice of wishes while a `with` block trains."""
        ...

    def should_stop(self) -> str:
        """Say, on all ranks alike, what asks to save and stop now, or ""; asked at every step."""
        ...

    def should_save(self) -> bool:
        """Tell, on all ranks alike, whether to save now, due or not; asked at every step."""
        ...

    def report(self, metrics: dict[str, Any]) -> None:
        """Pass on a line of metrics; all ranks call it equally often."""
        ...


class Here:
    """What one command line has started: this process alone, or it and others by torchrun.

    SIGTERM, SIGUSR1 or Ctrl-C at any rank ends training after the step that runs, with a state.

    Args:
        ranks: This process among those that train together.
    """

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        self._talk = Talk(ranks, patience=FOREVER)
        self._signals = Signals()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals as wishes while a `with` block trains."""
        with self._signals:
            yield

    def should_stop(self) -> str:
        """Name the signal that came, if any rank got one."""
        number = self._talk.largest(self._signals.got)
        return name_of(number) if number else ""

    def should_save(self) -> bool:
        """Never out of turn."""
        return False

    def report(self, metrics: dict[str, Any]) -> None:
        """Nobody listens."""

    def once(self, job: Callable[[], T]) -> T:
        """Have the first rank do what is done once, for hours if need be; all get what it returns.

        What it returns goes to the others as a pickle: a name or a count, not a table.

        Raises:
            Exception: Whatever the job raised, on all ranks.
        """
        return self._talk.once(job)

    def first(self, job: Callable[[], T]) -> T | None:
        """Have the first rank do what is done once, as `once`; what it returns stays there."""
        kept: list[T] = []
        self.once(lambda: kept.append(job()))
        return kept[0] if kept else None

    def close(self) -> None:
        """End the talk among ranks."""
        self._talk.close()
