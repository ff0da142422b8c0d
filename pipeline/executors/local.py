"""The reference: one cell in this process, lease after lease."""

import uuid
from functools import partial

from pipeline.cells import Cell, Work
from pipeline.coordinator import Coordinator
from pipeline.executors.job import Job, Progress
from pipeline.fetch import open_shard
from pipeline.leases import Lease, Report


def run_local(job: Job, progress: Progress) -> list[str]:
    """Score in this process; a sample that kills it kills the run, unlike on Ray."""
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
