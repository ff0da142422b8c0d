"""negCLIPLoss as a column: every pair of the pool in the same few batches, beside itself.

The authors deal each shard out to random batches, K times. Here a repetition has one batch for the
whole pool, drawn by uid: any shard can be scored alone, no batch is short, and the score depends
neither on how the pool is sharded nor on the order of anything.

Letters: n pairs of a shard, R references.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.concepts.direction import has_direction
from filters.concepts.neg_clip_loss import TEMPERATURE, neg_clip_loss
from filters.derive.base import Columns, Derive, Map
from filters.derive.sample import Sample
from filters.extract.base import Column, Values


@dataclass(frozen=True, kw_only=True, slots=True)
class NegClipLoss(Derive[Sample]):
    """How much better a pair fits than picture and caption fit those of others (negCLIPLoss).

    arXiv:2405.19547. In each repetition a pair is scored in a batch of the `batch` - 1 pairs of the
    lowest draws and itself; where it is one of those, the next one stands in.

    References take 2 * 2 * `batch` * D bytes a repetition, 17 MB with 8,192 and 512 dimensions, in
    the driver and each worker, and a pair costs 4 * `batch` * D operations in it: 84 MFLOP for the
    defaults. The authors' batch of 32,768 and 10 repetitions cost eight times that; `target.py`
    among the benchmarks shows how little of the ranking changes.

    Attributes:
        name: The column it writes.
        image: Embedding of pictures; unit norm.
        text: Embedding of captions by the same model, such as the extractor `clip_embed` writes.
        temperature: That of the model: 0.01 for OpenAI's and most others, 0.07 for DFN's.
        batch: Pairs of a batch; all of a smaller pool.
        repetitions: Batches to average over; the authors find 5 enough.
        seed: Of the draws.
    """

    takes: ClassVar[tuple[str, ...]] = ("embedding",)
    kind: Literal["neg_clip_loss"] = "neg_clip_loss"
    version = 2
    name: str = "neg_clip_loss"
    image: str = "clip_image"
    text: str = "clip_text"
    temperature: float = TEMPERATURE
    batch: int = 8192
    repetitions: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a batch of nobody else, no batch, and a temperature that is none."""
        fine = self.batch >= 2 and self.repetitions >= 1 and self.temperature > 0  # noqa: PLR2004
        if not (fine and self.name.isidentifier()):
            raise ValueError(
                f"neg_clip_loss: got name {self.name!r}, batch {self.batch}, repetitions "
                f"{self.repetitions}, temperature {self.temperature}, expected a column name, at "
                "least 2, at least 1 and above 0; correct them"
            )

    @property
    def reads(self) -> tuple[str, ...]:
        """Both embeddings."""
        return ("uid", self.image, self.text)

    @property
    def columns(self) -> tuple[Column, ...]:
        """One number; NaN without an embedding."""
        meaning = f"{self.image} and {self.text} against {self.batch} others"
        return (Column(self.name, "float32", "", "(-inf, 0]", meaning),)

    def count(self, columns: Columns) -> Sample:
        """Propose references."""
        image_nD, text_nD = self._embeddings(columns)
        usable_n = has_direction(image_nD) & has_direction(text_nD)
        return Sample.of(
            np.asarray(columns["uid"])[usable_n],
            (image_nD[usable_n], text_nD[usable_n]),
            size=self.batch,
            draws=tuple(f"neg_clip_loss {k}" for k in range(self.repetitions)),
            seed=self.seed,
        )

    def load(self, weights: Mapping[str, Path], counts: Sample | None) -> Map:
        """Return the function that scores pairs against the references."""
        del weights
        assert counts is not None

        def score(columns: Columns) -> dict[str, Values]:
            image_nD, text_nD = self._embeddings(columns)
            held_n = counts.find(np.asarray(columns["uid"]))
            sum_n = np.zeros(len(image_nD))
            for k in range(self.repetitions):
                chosen_R = counts.chosen(k)
                sum_n += neg_clip_loss(
                    image_nD,
                    text_nD,
                    reference_image_RD=counts.embeddings[0][chosen_R],
                    reference_text_RD=counts.embeddings[1][chosen_R],
                    excluded_N=_excluded(held_n, chosen_R, len(counts.uid_R2)),
                    temperature=self.temperature,
                )
            return {self.name: (sum_n / self.repetitions).astype(np.float32)}

        return score

    def _embeddings(self, columns: Columns) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        image_nD, text_nD = np.asarray(columns[self.image]), np.asarray(columns[self.text])
        if image_nD.shape != text_nD.shape:
            raise ValueError(
                f"neg_clip_loss: got {self.image} of shape {list(image_nD.shape)} and {self.text} "
                f"of {list(text_nD.shape)}, expected embeddings of one model; set image and text"
            )
        return image_nD, text_nD


def _excluded(
    held_n: NDArray[np.int64], chosen_R: NDArray[np.int64], held: int
) -> NDArray[np.int64]:
    """Return the reference that each pair's batch is without: itself, or else the last one."""
    place_H = np.full(held + 1, len(chosen_R) - 1)  # the last is for pairs that are not held: -1
    place_H[chosen_R] = np.arange(len(chosen_R))
    return place_H[held_n]
