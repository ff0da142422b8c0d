"""What a cell is built from."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from filters.extract import Extractor
from pipeline.config import Cells
from pipeline.folder import Folder


@dataclass(frozen=True, kw_only=True, slots=True)
class CellPlan:
    """Small enough to send to an actor.

    Attributes:
        extractors: What runs on every batch.
        weights: Path by name.
        store: Folder URL of `scores/` and `ledger/`.
        stage: Folder of the tables below `scores/`.
        newest: Time of the ledger's newest entry; records must be newer.
        settings: How cells run.
    """

    extractors: tuple[Extractor, ...]
    weights: Mapping[str, str]
    store: str
    stage: str
    newest: float
    settings: Cells

    @property
    def tables(self) -> Folder:
        """Where the tables are."""
        return Folder(self.store) / "scores" / self.stage

    @property
    def parts(self) -> Folder:
        """Where parts of split shards wait to be joined; nothing of it is left after a pass."""
        return self.tables / ".parts"


@dataclass(slots=True)
class Stopwatch:
    """Busy seconds by step; steps run in several threads."""

    seconds: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add seconds that were spent elsewhere."""
        with self._lock:
            for step, spent in seconds.items():
                self.seconds[step] = self.seconds.get(step, 0.0) + spent

    @contextmanager
    def on(self, step: str) -> Iterator[None]:
        """Add the time of a `with` block to a step."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add({step: time.perf_counter() - start})
