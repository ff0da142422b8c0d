"""How many pairs of the pool have the same caption."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from filters.derive.base import Columns, Derive, Map
from filters.derive.counts import Counts
from filters.extract.base import Column, Values


@dataclass(frozen=True, kw_only=True, slots=True)
class Copies(Derive[Counts]):
    """Rows of the pool whose caption has the same normal form; 16 bytes a different caption."""

    kind: Literal["copies"] = "copies"
    reads = ("caption_hash",)
    columns = (
        Column("caption_copies", "int32", "row", "[1, inf)", "rows of the pool with this caption"),
    )

    def count(self, columns: Columns) -> Counts:
        """Count the hashes."""
        hash_N = np.asarray(columns["caption_hash"], np.uint64)
        return Counts.of(hash_N[hash_N != 0])  # 0 is a null

    def load(self, weights: Mapping[str, Path], counts: Counts | None) -> Map:
        """Return the function that looks the counts up."""
        del weights
        assert counts is not None

        def look_up(columns: Columns) -> dict[str, Values]:
            copies_N = counts[np.asarray(columns["caption_hash"], np.uint64)]
            return {"caption_copies": [copies or None for copies in copies_N.tolist()]}

        return look_up
