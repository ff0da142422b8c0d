"""The coordinator of a pass: leases out, reports in, what is known of every cell.

It may die at any instant. Cells record what they finish before they report it, so one that is
started again reads the ledger, gives the cells a moment to say what they hold, and goes on.
"""

import contextlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.folder import Folder
from pipeline.journal import Journal
from pipeline.leases import Lease, Leases, Report
from pipeline.ledger import Ledger, records_of
from pipeline.schema import Reason
from pipeline.shards import Shard

BEAT_S = 1.0  # how often a cell says that it is alive
GRACE_S = 3 * BEAT_S  # how long a restarted coordinator waits for that before it leases

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """A pass over shards.

    Attributes:
        shards: What lacks it.
        store: Folder URL of `scores/` and `ledger/`.
        stage: Folder of the tables below `scores/`.
        cells: How many cells will ask.
        attempts: How often something may fail before it is believed.
        part_bytes: Least size of a part of a shard.
    """

    shards: Sequence[Shard]
    store: str
    stage: str
    cells: int
    attempts: int
    part_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """How far a pass is.

    Attributes:
        done: Shards finished, of `total`.
        rows: Rows written.
        reasons: Rows by reason code.
        seconds: Busy seconds by step, over all cells.
        cells: Cells that hold a lease.
        finished: Every shard is done.
        problem: Why it cannot go on, or `""`.
    """

    done: int = 0
    total: int = 0
    rows: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    cells: int = 0
    finished: bool = False
    problem: str = ""


class Coordinator:
    """Answers cells and the driver; one call at a time."""

    def __init__(self, work: Assignment, *, name: str, restarted: bool = False) -> None:
        """Queue the shards.

        Args:
            work: The pass.
            name: Unique; names the log.
            restarted: Another one has begun this pass: read the ledger, and wait for the cells.
        """
        self._work, self._store = work, Folder(work.store)
        self._rows, self._reasons = 0, Counter[str]()
        self._seconds = defaultdict[str, float](float)
        self._moved: dict[str, tuple[int, float]] = {}
        self._idle = set[str]()
        self._quiet_until = time.monotonic() + GRACE_S if restarted else 0.0
        self._log = Journal(self._store / "log", name)
        done = self._already_done() if restarted else set()
        self._leases = Leases(
            [shard for shard in work.shards if shard.id not in done], cells=work.cells,
            attempts=work.attempts, part_bytes=work.part_bytes,
        )  # fmt: skip
        self._done_before = len(work.shards) - self._leases.total
        self._say("started", shards=self._leases.total, done=self._done_before, again=restarted)

    def exchange(self, cell: str, reports: list[Report], most: int) -> list[Lease] | None:
        """Take a cell's reports and lease it more; None sends it home."""
        for report in reports:
            self._take(cell, report)
        self._moved[cell] = (-1, time.monotonic())
        if self._leases.finished or self._leases.problem:
            self._say("home", cell=cell)
            return None
        if time.monotonic() < self._quiet_until:
            return []
        leases = self._leases.take(cell, most)
        if leases or self._leases.held(cell):
            self._idle.discard(cell)
            return leases
        self._idle.add(cell)
        if len(self._idle) > self._leases.outstanding:  # more than could ever come back
            self._idle.discard(cell)
            self._say("home", cell=cell)
            return None
        return []

    def beat(self, cell: str, moved: int, holding: list[Lease]) -> None:
        """Note that a cell is alive, how many batches it has done, and what it holds."""
        if time.monotonic() < self._quiet_until:
            self._leases.claim(cell, holding)
        before = self._moved.get(cell)
        if before is None or before[0] != moved:
            self._moved[cell] = (moved, time.monotonic())

    def lose(self, cell: str, reason: Reason) -> bool:
        """Take back what a dead cell held; what it has recorded is done.

        Returns:
            Whether it had ever asked for work; one that had not died while it loaded.
        """
        recorded = {
            entry["shard"]: entry
            for entry in records_of(self._store, cell)
            if entry.get("stage") == self._work.stage
        }
        for lease in self._leases.held(cell):
            entry = recorded.get(lease.shard.id)
            if entry is not None and lease.task in {"score", "join"}:
                report = Report(lease, entry["rows"], entry["reasons"], entry["seconds"])
                self._take(cell, report)
        held = [lease.shard.url for lease in self._leases.held(cell)]
        logger.warning("cell %s: %s on %s", cell, reason, held[0] if held else "nothing")
        self._say("lost", cell=cell, reason=reason, shards=held)
        self._leases.lose(cell, reason)
        self._idle.discard(cell)
        return self._moved.pop(cell, None) is not None

    def cells(self) -> list[str]:
        """Return the cells that are known to be alive, or were when they went home."""
        return list(self._moved)

    def stalled(self, timeout: float) -> list[str]:
        """Return cells that hold a lease and have not moved for `timeout` seconds."""
        late = time.monotonic() - timeout
        return [c for c, (_, at) in self._moved.items() if at < late and self._leases.held(c)]

    def snapshot(self) -> Snapshot:
        """Return how far the pass is."""
        leases = self._leases
        return Snapshot(
            done=leases.done + self._done_before,
            total=len(self._work.shards),
            rows=self._rows,
            reasons=dict(self._reasons),
            seconds=dict(self._seconds),
            cells=sum(bool(leases.held(cell)) for cell in list(self._moved)),
            finished=leases.finished,
            problem=leases.problem,
        )

    def close(self) -> None:
        """Seal the log."""
        self._say("finished", rows=self._rows, reasons=dict(self._reasons))
        self._log.seal()

    def _take(self, cell: str, report: Report) -> None:
        self._leases.finish(cell, report)
        if report.lease.task in {"score", "join"}:
            self._rows += report.rows
            self._reasons.update(report.reasons)
        for step, seconds in report.seconds.items():
            self._seconds[step] += seconds
        if report.error:
            self._say("unread", cell=cell, shard=report.lease.shard.url, error=report.error)
        elif report.lease.task != "score":
            self._say(report.lease.task, cell=cell, shard=report.lease.shard.url, rows=report.rows)
        elif report.lease.without:
            killers = dict(report.lease.without)
            self._say("quarantined", shard=report.lease.shard.url, samples=killers)

    def _already_done(self) -> set[str]:
        """Return what the ledger has of this pass, and count its rows."""
        ids = {shard.id for shard in self._work.shards}
        done = set[str]()
        for record in Ledger(self._store).records(self._work.stage):
            if record.shard in ids:
                done.add(record.shard)
                self._rows += record.rows
                self._reasons.update(record.reasons)
        return done

    def _say(self, event: str, **about: object) -> None:
        with contextlib.suppress(OSError):  # whoever writes tables will say what is wrong
            self._log.append({"at": round(time.time(), 3), "event": event, **about})
