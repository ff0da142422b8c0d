"""What a run would do: which stages are done, how much is missing, what it is likely to cost."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Curation
from pipeline.folder import Folder
from pipeline.ledger import Ledger, shard_identities
from pipeline.score import plan_passes
from pipeline.shards import list_shards


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


def plan(cfg: Curation, *, run: Folder, weights: Callable[[str], Path]) -> list[Planned]:
    """Return the passes over pixels that are still to be made; runs nothing, opens no shard."""
    shards = list_shards(cfg.data.shards)
    ledger, identities = Ledger(run), shard_identities(shards)
    rate = _seconds_per_byte(ledger)
    passes, _ = plan_passes(shards, cfg.extract, run, weights, cfg.cells, ledger, identities)
    found = []
    for todo in passes:
        size = sum(identities[lease.shard].size for lease in todo.leases)
        kinds = tuple(e.kind for e in todo.plan.extractors)
        expected = None if rate is None else round(rate * size, 1)
        found.append(Planned(todo.stage, kinds, len(todo.leases), size, expected))
    return found


def _seconds_per_byte(ledger: Ledger) -> float | None:
    """Busy seconds per input byte of the passes this run has made."""
    records = [r for r in ledger.all() if r.input_bytes]
    if not records:
        return None
    return sum(sum(r.seconds.values()) for r in records) / sum(r.input_bytes for r in records)
