"""What shards tell of themselves, so that together they tell something of the whole pool."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self


class Pooled(ABC):
    """Found in shards apart and added up; neither order nor grouping may have a say."""

    __slots__ = ()

    @abstractmethod
    def plus(self, others: Sequence[Self]) -> Self:
        """Add what other shards tell."""

    def bar(self) -> Any:
        """Return what lets other shards leave out what cannot matter any more; None: nothing.

        It is sent to every task, so it is small.
        """
        return None

    def within(self, bar: Any) -> Self:
        """Return it without what cannot matter beside something that has this bar."""
        del bar
        return self
