"""A derived column with counts over the pool; workers import it from here."""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from filters.derive import Columns, Counts, Derive, Map
from filters.extract import Column
from filters.extract.base import Values


def times(shared: int, weights: Mapping[str, Path], item: int) -> int:
    """Return a product; what an executor maps."""
    del weights
    return shared * item


@dataclass(frozen=True, kw_only=True, slots=True)
class Rarity(Derive):
    """How many captions of the pool have as many words.

    Attributes:
        kills: A file: whoever finds it deletes it and dies; `""` for none.
    """

    kind: Literal["rarity"] = "rarity"
    kills: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        return ("caption_words",)

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column("rarity", "int32", "pair", "[1, inf)", "pairs with as many words"),)

    def count(self, columns: Columns) -> Counts:
        return Counts.of(np.asarray(columns["caption_words"]).astype(np.uint64))

    def load(self, weights: Mapping[str, Path], counts: Counts | None) -> Map:
        del weights
        assert counts is not None
        if self.kills:
            with suppress(FileNotFoundError):  # another worker may have been faster
                Path(self.kills).unlink()
                os.kill(os.getpid(), signal.SIGKILL)

        def make(columns: Columns) -> dict[str, Values]:
            words_N = np.asarray(columns["caption_words"]).astype(np.uint64)
            return {"rarity": counts[words_N].astype(np.int32)}

        return make
