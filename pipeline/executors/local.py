"""The reference: one cell in this process, lease after lease."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from pipeline.cells import Cell, Work
from pipeline.coordinator import Coordinator
from pipeline.executors.job import Call, Executor, Item, Job, Progress, Result, Shared
from pipeline.fetch import open_shard
from pipeline.leases import Lease, Report


class Local(Executor):
    """This process; a sample that kills it kills the run, unlike on Ray."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop nothing."""

    def __call__(self, job: Job, progress: Progress) -> list[str]:
        """Score with one cell."""
        name = uuid.uuid4().hex
        cell, coordinator = Cell(job.plan, name), Coordinator(job.assignment(1), name=name)

        def exchange(cell: str, reports: list[Report], most: int) -> list[Lease] | None:
            leases = coordinator.exchange(cell, reports, most)
            progress(coordinator.snapshot())
            return leases

        cell.load()
        try:
            Work(cell, exchange, partial(open_shard, spool=job.plan.settings.spool or None)).run()
        finally:
            coordinator.close()
        if problem := coordinator.snapshot().problem:
            raise RuntimeError(problem)
        return [name]

    def map(
        self,
        function: Call[Shared, Item, Result],
        shared: Shared,
        items: Sequence[Item],
        *,
        weights: Mapping[str, Path],
    ) -> Iterator[Result]:
        """Call one after the other."""
        return (function(shared, weights, item) for item in items)


run_local = Local()
