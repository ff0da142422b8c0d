"""The reference: one cell in this process, lease after lease."""

import uuid

from pipeline.cells import Cell, work
from pipeline.coordinator import Coordinator
from pipeline.executors.job import Job, Progress
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
        work(cell, exchange, spool=job.plan.settings.spool or None)
    finally:
        coordinator.close()
    if problem := coordinator.snapshot().problem:
        raise RuntimeError(problem)
    return [name]
