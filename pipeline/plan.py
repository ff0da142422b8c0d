"""What a run would do: which stages are done, how much is missing, what it is likely to cost."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Curation
from pipeline.folder import Folder
from pipeline.ledger import Ledger
from pipeline.score import plan_passes
from pipeline.shards import find_shards


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of a plan.

    Attributes:
        stage: What.
        extractors: Kinds that run, in one decode.
        shards: How many of the pool's shards it concerns.
        input_bytes: Bytes to be read.
        cell_seconds: Expected busy time of one cell, from this run's own ledger; None without one.
    """

    stage: str
    extractors: tuple[str, ...]
    shards: int
    input_bytes: int
    cell_seconds: float | None

    def __str__(self) -> str:
        """Say it on one line."""
        known = self.cell_seconds is not None
        cost = f"about {self.cell_seconds:.0f} s of one cell" if known else "cost unknown"
        size = f"{self.input_bytes / 2**20:.0f} MiB"
        return f"score  {self.shards} shards, {size}, {', '.join(self.extractors)}: {cost}"


def plan(cfg: Curation, *, run: Folder, weights: Callable[[str], Path]) -> list[Planned]:
    """Return the passes over pixels that are still to be made; runs nothing, opens no shard."""
    store = Folder(cfg.data.scores or run.url)
    shards, ledger = find_shards(cfg.data.shards), Ledger(store)
    rate = _seconds_per_byte(ledger)
    passes, _ = plan_passes(
        shards, cfg.extract, store=store, weights=weights, cells=cfg.cells, ledger=ledger
    )
    found = []
    for todo in passes:
        size = sum(shard.size for shard in todo.job.shards)
        kinds = tuple(e.kind for e in todo.job.plan.extractors)
        expected = None if rate is None else round(rate * size, 1)
        found.append(Planned(todo.job.plan.stage, kinds, len(todo.job.shards), size, expected))
    return found


def _seconds_per_byte(ledger: Ledger) -> float | None:
    """Busy seconds per input byte of the passes this run has made."""
    seconds = size = 0.0
    for record in ledger.records():
        if record.input_bytes:
            seconds += sum(record.seconds.values())
            size += record.input_bytes
    return seconds / size if size else None
