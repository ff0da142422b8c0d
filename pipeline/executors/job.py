"""What an executor is given."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from pipeline.cells import CellPlan
from pipeline.coordinator import Assignment, Snapshot
from pipeline.shards import Shard

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
Call = Callable[[Shared, Mapping[str, Path], Item], Result]
Progress = Callable[[Snapshot], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A pass over shards: what every cell is built from, and the shards that lack it."""

    plan: CellPlan
    shards: tuple[Shard, ...]

    def assignment(self, cells: int) -> Assignment:
        """Return what a coordinator needs to know."""
        return Assignment(
            shards=self.shards,
            store=self.plan.store,
            stage=self.plan.stage,
            cells=cells,
            attempts=self.plan.settings.attempts,
            part_bytes=self.plan.settings.part_bytes,
        )


class Executor(ABC):
    """Where a run's work is done; what it starts in a `with` block is kept until the block ends."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Return itself; nothing is started before there is work."""

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Stop what was started."""

    @abstractmethod
    def __call__(self, job: Job, progress: Progress) -> list[str]:
        """Do a job to its end, telling how far it is; returns the names of the cells that wrote.

        Raises:
            RuntimeError: It cannot be done; what is finished stays, and the run can be started
                again.
            OSError: The run folder cannot be written to.
        """

    @abstractmethod
    def map(
        self,
        function: Call[Shared, Item, Result],
        shared: Shared,
        items: Sequence[Item],
        *,
        weights: Mapping[str, Path],
    ) -> Iterator[Result]:
        """Yield `function(shared, weights, item)` of each item, in any order, as they come.

        Args:
            function: Of a module, so that it can be sent; may be called again for an item whose
                worker died, so what it writes has to be the same then.
            shared: What every call needs; sent once.
            items: Small.
            weights: Model files by name; where a worker does not have one, it is sent there.

        Raises:
            Exception: What `function` raised.
        """
