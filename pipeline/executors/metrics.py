"""What cells do, for Prometheus: Ray exports it from every node."""

from collections.abc import Sequence

from pipeline.leases import Report


class Metrics:
    """Counters of a cell; Ray adds node and worker."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter

        self._rows = Counter("thresher_rows", "Rows written, by reason code.", ("reason",))
        self._shards = Counter("thresher_shards", "Shards finished.")
        self._bytes = Counter("thresher_input_bytes", "Bytes of shards finished.")
        self._busy = Counter("thresher_busy_seconds", "Busy seconds, by step.", ("step",))
        self._unread = Counter("thresher_unread", "Leases whose shard could not be read.")

    def count(self, reports: Sequence[Report]) -> None:
        """Add what a cell reports."""
        for report in reports:
            for step, seconds in report.seconds.items():
                self._busy.inc(max(seconds, 1e-9), {"step": step})
            if report.error:
                self._unread.inc()
            elif report.lease.task in {"score", "join"}:
                self._shards.inc()
                self._bytes.inc(max(report.lease.shard.size, 1))
                for reason, rows in report.reasons.items():
                    self._rows.inc(rows, {"reason": str(reason)})
