"""A batch in chunks that fit the memory: halve on out-of-memory, and remember."""

import logging
from dataclasses import dataclass

import numpy as np

from filters.extract.base import Batch, Score, Values

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Chunked:
    """A `Score` that never hands its model more than `size` pairs.

    Scores of a GPU may differ in their last bits from one size to another.

    Attributes:
        score: What scores a chunk.
        size: Most pairs of a chunk; halved for good when one did not fit.
    """

    score: Score
    size: int

    def __call__(self, batch: Batch) -> dict[str, Values]:
        """Score `batch`, of at least one pair, chunk by chunk.

        Raises:
            MemoryError: A single pair does not fit (or torch's OutOfMemoryError).
        """
        parts: list[dict[str, Values]] = []
        done = 0
        while done < len(batch):
            chunk = batch.rows(done, done + self.size)
            part = self._try(chunk)
            if part is None:
                self.size = len(chunk) // 2
                logger.warning("out of memory: %d pairs at a time from now on", self.size)
            else:
                parts.append(part)
                done += len(chunk)
        return {name: joined([part[name] for part in parts]) for name in parts[0]}

    def _try(self, chunk: Batch) -> dict[str, Values] | None:
        """Score a chunk; None if it does not fit and could be smaller."""
        import torch

        try:
            return self.score(chunk)
        except (torch.OutOfMemoryError, MemoryError):
            if len(chunk) <= 1:
                raise
        torch.cuda.empty_cache()  # out here the error, and what its frames hold, is gone
        return None


def joined(parts: list[Values]) -> Values:
    """Put the values of consecutive chunks together."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], list):
        return [value for part in parts for value in part]
    return np.concatenate(parts)
