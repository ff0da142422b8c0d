"""CLIP score from any open_clip checkpoint (Hessel et al., arXiv:2104.08718)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from filters.extract.base import Batch, Column, Score, Values, resize


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipScore:
    """Cosine of picture and caption under an open_clip model, written to the column `alignment`.

    With this extractor in a config the project's own alignment stage is not fitted.

    Attributes:
        model: open_clip model name, `hf-hub:...`, `local-dir:...` or a model JSON.
        pretrained: open_clip tag, or a weights file.
    """

    kind: Literal["clip"] = "clip"
    model: str
    pretrained: str = ""
    columns: ClassVar[tuple[Column, ...]] = (
        Column("alignment", "float32", "", "[-1, 1]", "cosine of picture and caption (CLIP)"),
    )
    weights: ClassVar[tuple[str, ...]] = ()
    pixels: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load model, weights and tokenizer; from the hub if the name says so."""
        del weights
        import torch

        from filters.open_clip_models import create_model, preprocess_of, tokenizer

        torch.set_num_threads(threads)
        model, config = create_model(self.model, pretrained=self.pretrained)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        clip: Any = model.to(device)
        tokenize, wanted = tokenizer(config), preprocess_of(model)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (wanted.mean, wanted.std))

        def score(batch: Batch) -> dict[str, Values]:
            side = wanted.image_size
            crops = np.stack([center_crop(p, side) for p in batch.pictures])
            pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float().div_(255)
            with torch.inference_mode():
                image_BD = clip.encode_image(((pixels - mean) / std).to(device), normalize=True)
                text_BD = clip.encode_text(
                    tokenize(list(batch.captions)).to(device), normalize=True
                )
            return {"alignment": (image_BD * text_BD).sum(-1).float().cpu().numpy()}

        return score


def center_crop(picture: np.ndarray, side: int) -> np.ndarray:
    """Cut the middle square and resize it; uint8 [side, side, 3]."""
    height, width = picture.shape[:2]
    short = min(height, width)  # cut first: the long side of a hostile picture has no bound
    top, left = (height - short) // 2, (width - short) // 2
    return resize(picture[top : top + short, left : left + short], (side, side))
