"""CLIP score from any open_clip checkpoint (Hessel et al., arXiv:2104.08718)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from PIL import Image

from filters.extract.base import Batch, Column, Extractor, Score, Values, center_crop, resize
from filters.extract.chunks import Chunked

if TYPE_CHECKING:
    from torch import Tensor

    from filters.open_clip_models import Preprocess

DEFAULT_SIDE = 224  # of a model whose config does not lie on this machine


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipScore(Extractor):
    """Cosine of picture and caption under an open_clip model, written to the column `alignment`.

    With this extractor in a config the project's own alignment stage is not fitted.

    Attributes:
        model: open_clip model name, `hf-hub:...`, `local-dir:...` or a model JSON.
        pretrained: open_clip tag, or a weights file.
        preprocess: `fast` crops and resizes what the cell decoded, upright and on white, and runs
            in bfloat16 on a GPU; `exact` is open_clip's own transform on Pillow's full decode, in
            float32, for scores that must equal those of open_clip itself.
        batch: Pairs of one forward pass at most; halved where they do not fit the memory.
        compile: Compile the model with torch first; worth it from some 100,000 pairs on.
    """

    kind: Literal["clip"] = "clip"
    model: str
    pretrained: str = ""
    preprocess: Literal["fast", "exact"] = "fast"
    batch: int = 256
    compile: bool = False
    columns: ClassVar[tuple[Column, ...]] = (
        Column("alignment", "float32", "", "[-1, 1]", "cosine of picture and caption (CLIP)"),
    )
    accelerator: ClassVar[bool] = True
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Refuse a batch that no pair fits."""
        if self.batch < 1:
            raise ValueError(f"clip: got batch {self.batch}, expected at least 1; raise it")

    @property
    def side(self) -> int:
        """Pixels that the model takes."""
        from filters.open_clip_models import declared_side

        return declared_side(self.model) or DEFAULT_SIDE

    @property
    def exact(self) -> bool:
        """Whether it reads `Batch.originals`."""
        return self.preprocess == "exact"

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load model, weights and tokenizer; from the hub if the name says so."""
        del weights
        import torch

        from filters.open_clip_models import create_model, eval_transform, preprocess_of, tokenizer

        torch.set_num_threads(threads)
        clip, config = create_model(self.model, pretrained=self.pretrained)
        tokenize, wanted = tokenizer(config), preprocess_of(clip)
        pixels_of = exact_pixels(eval_transform(clip)) if self.exact else fast_pixels(wanted)
        on_gpu = torch.cuda.is_available()
        cosine = cosine_of(clip, wanted, gpu=on_gpu, exact=self.exact)
        if self.compile:
            cosine = torch.compile(cosine)

        def score(batch: Batch) -> dict[str, Values]:
            with torch.inference_mode():
                cosine_B = cosine(pixels_of(batch), tokenize(list(batch.captions)))
            return {"alignment": cosine_B.cpu().numpy()}

        chunked = Chunked(score, self.batch)
        if on_gpu:
            chunked(blank(self.batch, wanted.image_size))  # finds the size that fits
        return chunked


def fast_pixels(wanted: "Preprocess") -> Callable[[Batch], "Tensor"]:
    """Return the function from a batch to uint8 [B, 3, side, side].

    Raises:
        ValueError: The model wants a geometry that only open_clip's own transform has.
    """
    import torch

    side, mode = wanted.image_size, wanted.interpolation
    if wanted.resize_mode not in {"shortest", "squash"} or mode not in {"bilinear", "bicubic"}:
        raise ValueError(
            f"clip: got a model with resize_mode {wanted.resize_mode!r} and interpolation "
            f"{mode!r}, expected shortest or squash and bilinear or bicubic; "
            'set preprocess = "exact"'
        )

    def square(picture: np.ndarray) -> np.ndarray:
        if wanted.resize_mode == "squash":
            return resize(picture, (side, side), mode=mode)
        return center_crop(picture, side, mode=mode)

    return lambda batch: torch.from_numpy(
        np.stack([square(picture).transpose(2, 0, 1) for picture in batch.pictures])
    )


def exact_pixels(transform: Callable[[Image.Image], "Tensor"]) -> Callable[[Batch], "Tensor"]:
    """Return the function from a batch to open_clip's own float32 [B, 3, side, side]."""
    import torch

    def pixels(batch: Batch) -> "Tensor":
        if len(batch.originals) != len(batch):
            raise ValueError(
                f"clip: got {len(batch.originals)} originals for {len(batch)} pairs, expected one "
                'each for preprocess = "exact"; decode them with pipeline.decode.decode_exact'
            )
        return torch.stack([transform(Image.fromarray(o)) for o in batch.originals])

    return pixels


def cosine_of(
    clip: Any, wanted: "Preprocess", *, gpu: bool, exact: bool
) -> Callable[["Tensor", "Tensor"], "Tensor"]:
    """Move a model to its device; return the function from pixels and tokens to cosines [B].

    Unless `exact`: bfloat16 on a GPU, and channels last for an image tower of convolutions.
    """
    import torch
    from torch.nn import Conv2d
    from torch.nn.functional import normalize

    device = "cuda" if gpu else "cpu"
    convolutions = sum(isinstance(m, Conv2d) for m in clip.visual.modules())
    # A vision transformer has one, for its patches.
    last = not exact and convolutions > 1
    layout = torch.channels_last if last else torch.contiguous_format
    clip = clip.to(device)
    clip.visual.to(memory_format=layout)
    mean, std = (
        torch.tensor(v, device=device).view(1, 3, 1, 1) * 255 for v in (wanted.mean, wanted.std)
    )

    def cosine(pixels: "Tensor", tokens: "Tensor") -> "Tensor":
        pixels, tokens = pixels.to(device, non_blocking=True), tokens.to(device, non_blocking=True)
        if pixels.dtype == torch.uint8:  # a quarter of the bytes to move
            pixels = pixels.float().sub_(mean).div_(std)
        with torch.autocast(device, torch.bfloat16, enabled=gpu and not exact):
            image_BD = clip.encode_image(pixels.contiguous(memory_format=layout))
            text_BD = clip.encode_text(tokens)
        return (normalize(image_BD.float(), dim=-1) * normalize(text_BD.float(), dim=-1)).sum(-1)

    return cosine


def blank(count: int, side: int) -> Batch:
    """Return a batch of black squares, to try the memory with."""
    squares = [np.zeros((side, side, 3), np.uint8)] * count
    return Batch(squares, [(side, side)] * count, ["a"] * count, squares)
