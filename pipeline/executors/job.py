"""What an executor is given."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.cells import CellPlan
from pipeline.coordinator import Assignment, Snapshot
from pipeline.shards import Shard

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


Executor = Callable[[Job, Progress], list[str]]
"""Does a job to its end, telling how far it is; returns the names of the cells that wrote.

Raises:
    RuntimeError: It cannot be done; what is finished stays, and the run can be started again.
    OSError: The run folder cannot be written to.
"""
