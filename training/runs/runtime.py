"""Where training runs is an argument: what the loop asks of whoever started this process."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from training.parallel.ranks import ALONE, Ranks


class Runtime(Protocol):
    """Whoever started the ranks."""

    @property
    def ranks(self) -> Ranks:
        """This process among those that train together."""
        ...

    def should_stop(self) -> bool:
        """Tell, on all ranks alike, whether to save and stop now; asked after every step."""
        ...

    def report(self, metrics: dict[str, Any]) -> None:
        """Pass on a line of metrics; all ranks call it equally often."""
        ...


@dataclass(frozen=True, slots=True)
class Here:
    """This process alone: nobody to ask, nobody to tell."""

    ranks: Ranks = field(default=ALONE)

    def should_stop(self) -> bool:
        """Never."""
        return False

    def report(self, metrics: dict[str, Any]) -> None:
        """Nobody listens."""
