"""How much of a caption can be said without the picture: bits per token under a text-only model.

The idea of PRIOR, which weighs caption tokens by what a text-only model makes of them; here one
number a caption, for rules. Boilerplate is foreseen (few bits), so are captions that many pictures
share; word salad and strings of characters are not (many bits). Descriptions lie between.

Shape letters: C captions, S places in the stream of their words, P places that are predicted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from filters.derive.base import Columns, Derive, Map
from filters.derive.counts import Counts
from filters.derive.grams import HASH_BITS, LONGEST
from filters.derive.ngrams import Model, bits_per_token, count_grams
from filters.extract.base import Column, Values


@dataclass(frozen=True, kw_only=True, slots=True)
class Surprise(Derive[Counts]):
    """Bits per token of the caption, its end among the tokens.

    Without `model`, an n-gram model of the pool's other captions: each caption's own counts are
    taken out before it is judged (`filters.derive.ngrams`). Counting costs 16 bytes for each
    different run of up to `order` words: (w + 1) * order + order - 1 of a caption of w words, all
    of them different at worst; openclipart, six words a caption, has 4.5 different ones a caption.

    Attributes:
        order: Words that the n-gram model looks at, the predicted one included; 1 to 7.
        bits: Of a run's hash that are kept: the counts never take more than 8 * 16 * 2^bits bytes;
            below 61 bits runs may be taken for each other, and surprise is understated.
        model: A causal language model for transformers instead (hub id or folder); then nothing is
            counted.
    """

    kind: Literal["surprise"] = "surprise"
    order: int = 3
    bits: int = HASH_BITS
    model: str = ""
    version = 2
    reads = ("caption",)
    columns = (
        Column("caption_surprise", "float32", "bit", "[0, inf)", "per token, without the picture"),
    )

    def __post_init__(self) -> None:
        """Refuse runs that are too long for a key."""
        if not 1 <= self.order <= LONGEST:
            raise ValueError(f"surprise: got order = {self.order}, expected 1 to {LONGEST}")
        if not 1 <= self.bits <= HASH_BITS:
            raise ValueError(f"surprise: got bits = {self.bits}, expected 1 to {HASH_BITS}")

    def count(self, columns: Columns) -> Counts | None:
        """Count runs of words; nothing where a ready model judges."""
        if self.model:
            return None
        return count_grams(list(columns["caption"]), order=self.order, bits=self.bits)

    def load(self, weights: Mapping[str, Path], counts: Counts | None) -> Map:
        """Return the function that judges captions."""
        del weights
        if self.model:
            from filters.derive.reference_model import load_model

            judge = load_model(self.model)
        else:
            assert counts is not None
            model = Model.of(counts, order=self.order, bits=self.bits)

            def judge(captions: list[str]) -> np.ndarray:
                return bits_per_token(captions, model)

        def surprise(columns: Columns) -> dict[str, Values]:
            return {"caption_surprise": judge(list(columns["caption"])).astype(np.float32)}

        return surprise
