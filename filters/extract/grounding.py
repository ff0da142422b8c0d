"""Objects that the caption names, found by transformers' zero-shot detectors.

Grounding DINO (Liu et al., arXiv:2303.05499) takes the caption as it is and finds the parts of it
that things answer to; OWLv2 (arXiv:2306.09683) and OmDet-Turbo (arXiv:2403.06892) take phrases.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from filters.extract.base import Batch, Extractor, Score, Values
from filters.extract.chunks import Chunked
from filters.extract.objects.boxes import COLUMNS, columns_of
from filters.extract.objects.phrases import phrases_of
from filters.extract.objects.zero_shot import Sample, ZeroShot


@dataclass(frozen=True, kw_only=True, slots=True)
class Grounding(Extractor):
    """Objects found by an open-vocabulary detector, prompted with the pair's own caption.

    It writes the columns of `Objects`, so a config has one of the two. A caption without a phrase
    (`objects/phrases.py`) has no box. Pictures are read whole, as they lie in the file: boxes of a
    photograph with an orientation tag refer to the picture before it is turned.

    Attributes:
        model: Hub id, or a folder, of a Grounding DINO, MM Grounding DINO, OWL-ViT, OWLv2 or
            OmDet-Turbo with safetensors.
        revision: Commit, tag or branch on the hub; only a commit stays what it is.
        threshold: Least score of a box.
        text_threshold: Least score of a word for it to be in a box's label (Grounding DINO).
        batch: Pairs of one forward pass at most; halved where they do not fit the memory.
    """

    kind: Literal["grounding"] = "grounding"
    model: str = "IDEA-Research/grounding-dino-tiny"
    revision: str = "main"
    threshold: float = 0.3
    text_threshold: float = 0.25
    batch: int = 16
    columns = COLUMNS
    accelerator: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a batch that no pair fits."""
        if self.batch < 1:
            raise ValueError(f"grounding: got batch {self.batch}, expected at least 1; raise it")

    @property
    def exact(self) -> bool:
        """Whether it reads `Batch.originals`: cells shrink pictures below what detectors take."""
        return True

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load processor and model; from the hub if the name is no folder.

        Raises:
            FileNotFoundError: There is no such model, or the hub is out of reach.
            ValueError: It is a model of another kind.
        """
        del weights
        import torch

        torch.set_num_threads(threads)
        detector = ZeroShot(
            self.model,
            revision=self.revision,
            threshold=self.threshold,
            text_threshold=self.text_threshold,
            device="cuda" if torch.cuda.is_available() else "cpu",
        )

        def score(batch: Batch) -> dict[str, Values]:
            return columns_of(detector(samples_of(batch)))

        return Chunked(score, self.batch)


def samples_of(batch: Batch) -> list[Sample]:
    """Return what a detector takes of each pair.

    Raises:
        ValueError: The batch is without originals.
    """
    originals = batch.seen("grounding", exact=True)
    each = zip(originals, batch.captions, phrases_of(batch), strict=True)
    return [Sample(picture, caption, phrases) for picture, caption, phrases in each]
