"""A cell at work: ask for leases, do them, report; the next shard is fetched meanwhile."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from pipeline.cells.cell import Cell
from pipeline.cells.source import UnreadableShardError
from pipeline.leases import Lease, Report

# (cell, what it has done, how much more it would take) -> leases; None: there is no more work
Exchange = Callable[[str, list[Report], int], list[Lease] | None]

Open = Callable[[str], BinaryIO]

REPORT_S = 0.5  # leases that take less are reported, and asked for, several at a time
IDLE_S = 0.2
MOST = 256
FETCHED_AHEAD = 1
RECORDED = {"score", "join"}


class Work:
    """The leases in hand.

    Attributes:
        holding: In order; the first is being worked on.
    """

    def __init__(self, cell: Cell, exchange: Exchange, open_file: Open) -> None:
        self._cell, self._exchange, self._open = cell, exchange, open_file
        self.holding: deque[Lease] = deque()
        self._pool = ThreadPoolExecutor(FETCHED_AHEAD, "fetch")
        self._files: dict[Lease, Future[BinaryIO]] = {}

    def run(self) -> None:
        """Work until there is none."""
        reports: list[Report] = []
        pace = 1 + FETCHED_AHEAD
        try:
            while (
                more := self._exchange(self._cell.name, reports, pace - len(self.holding))
            ) is not None:
                self.holding.extend(more)
                reports = self._do_some()
                pace = min(MOST, max(1 + FETCHED_AHEAD, 2 * len(reports)))
                if not reports:
                    time.sleep(IDLE_S)
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._close_unread()
            self._cell.close()

    def _close_unread(self) -> None:
        """Close what was fetched ahead and is not wanted any more."""
        for future in self._files.values():
            if not future.cancelled() and future.exception() is None:
                future.result().close()

    def _do_some(self) -> list[Report]:
        """Do at least one lease, and as many more as `REPORT_S` holds.

        What leaves no record is reported at once: a cell that dies is asked for its records only.
        """
        reports, until = [], time.monotonic() + REPORT_S
        while self.holding and (not reports or time.monotonic() < until):
            for lease in list(self.holding)[: 1 + FETCHED_AHEAD]:
                self._fetch(lease)
            reports.append(self._do(self.holding[0]))
            if self.holding.popleft().task not in RECORDED:
                break
        return reports

    def _fetch(self, lease: Lease) -> None:
        if lease not in self._files and lease.task != "join" and lease.verdict is None:
            self._files[lease] = self._pool.submit(self._open, lease.shard.url)

    def _do(self, lease: Lease) -> Report:
        future = self._files.pop(lease, None)
        open_file = future.result if future else lambda: self._open(lease.shard.url)
        try:
            return self._cell.do(lease, open_file)
        except UnreadableShardError as error:
            return Report(lease, error=str(error))
