"""What both sides of `loader.py` measure alike: one turn of batches out of a loader."""

import argparse
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from process_tree import cpu_of_tree

SIDE = 224


@dataclass(frozen=True)
class Turn:
    """How much is measured.

    Attributes:
        batch_size: Pairs.
        workers: Processes that decode.
        warm: Batches before the clock starts: buffers of shuffling fill, caches warm up.
        batches: That are timed.
    """

    batch_size: int
    workers: int
    warm: int
    batches: int

    @classmethod
    def parse(cls, parser: argparse.ArgumentParser) -> "Turn":
        """Add these settings to a parser and read them."""
        parser.add_argument("--batch-size", type=int, default=64)
        parser.add_argument("--workers", type=int, default=1)
        parser.add_argument("--warm", type=int, default=10)
        parser.add_argument("--batches", type=int, default=32)
        known, _ = parser.parse_known_args()
        return cls(known.batch_size, known.workers, known.warm, known.batches)


def timed(batches: Iterator[Any], turn: Turn, *, shape: tuple[int, ...]) -> dict[str, float]:
    """Draw the batches of a turn; return pictures per second of wall and of processor time.

    Args:
        batches: Tuples that begin with pixels and texts.
        turn: How many.
        shape: That the pixels must have.
    """
    for _ in range(turn.warm):
        next(batches)
    cpu, wall = cpu_of_tree(), time.perf_counter()
    for _ in range(turn.batches):
        pixels, texts = next(batches)[:2]
        assert tuple(pixels.shape) == shape, pixels.shape
        assert len(texts) == turn.batch_size, texts.shape
    wall, cpu = time.perf_counter() - wall, cpu_of_tree() - cpu
    pictures = turn.batches * turn.batch_size
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"wall": pictures / wall, "cpu": pictures / cpu, "rss_mb": megabytes}
