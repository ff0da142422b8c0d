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
class Copies(Derive):
    """Rows of the pool whose caption has the same normal form; 16 bytes a different caption."""

    kind: Literal["copies"] = "copies"

    @property
    def reads(self) -> tuple[str, ...]:
        """The hash that the caption extractor writes."""
        return ("caption_hash",)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The one column."""
        return (
            Column(
                "caption_copies", "int32", "row", "[1, inf)", "rows of the pool with this caption"
            ),
        )

    def count(self, columns: Columns) -> Counts:
        """Count the hashes."""
        return Counts.of(np.asarray(columns["caption_hash"], np.uint64))

    def load(self, weights: Mapping[str, Path], counts: Counts | None) -> Map:
        """Return the function that looks the counts up."""
        del weights
        assert counts is not None

        def look_up(columns: Columns) -> dict[str, Values]:
            copies_N = counts[np.asarray(columns["caption_hash"], np.uint64)]
            return {"caption_copies": np.minimum(copies_N, np.iinfo(np.int32).max).astype(np.int32)}

        return look_up
