"""CLIP score from any open_clip checkpoint (Hessel et al., arXiv:2104.08718)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from filters.extract.base import Batch, Column, Extractor, Score, Values, center_crop, resize
from filters.extract.chunks import Chunked

if TYPE_CHECKING:
    from torch import Tensor

    from filters.open_clip_models import Preprocess

DEFAULT_SIDE = 224  # of a model whose config does not lie on this machine


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipModel(Extractor):
    """An open_clip model; extractors with the same settings share what it makes of a batch.

    Attributes:
        model: open_clip model name, `hf-hub:...`, `local-dir:...` or a model JSON.
        pretrained: open_clip tag, or a weights file.
        preprocess: `fast` crops and resizes what the cell decoded, upright and on white, and runs
            in bfloat16 on a GPU; `exact` is open_clip's own transform on Pillow's full decode, in
            float32, for scores that must equal those of open_clip itself.
        batch: Pairs of one forward pass at most; halved where they do not fit the memory.
        compile: Compile the model with torch first; worth it from some 100,000 pairs on.
    """

    model: str
    pretrained: str = ""
    preprocess: Literal["fast", "exact"] = "fast"
    batch: int = 256
    compile: bool = False
    accelerator: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a batch that no pair fits."""
        if self.batch < 1:
            raise ValueError(f"{self.kind}: got batch {self.batch}, expected at least 1; raise it")

    @property
    def side(self) -> int:
        """Pixels that the model takes."""
        from filters.open_clip_models import declared_side

        return declared_side(self.model) or DEFAULT_SIDE

    @property
    def exact(self) -> bool:
        """Whether it reads `Batch.originals`."""
        return self.preprocess == "exact"

    def encoder(self, *, threads: int) -> "Encoder":
        """Load model, weights and tokenizer; from the hub if the name says so."""
        return Encoder(self, threads=threads)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipScore(ClipModel):
    """Cosine of picture and caption under an open_clip model, written to the column `alignment`.

    With this extractor in a config the project's own alignment stage is not fitted.
    """

    kind: Literal["clip"] = "clip"
    columns = (
        Column("alignment", "float32", "", "[-1, 1]", "cosine of picture and caption (CLIP)"),
    )
    version: ClassVar[int] = 2

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load model, weights and tokenizer; from the hub if the name says so."""
        del weights
        encoder = self.encoder(threads=threads)
        return lambda batch: {"alignment": cosine(encoder.of(batch), encoder.captions_of(batch))}


class Encoder:
    """Both towers of an open_clip model on its device; unit-norm float32 [B, D], on the CPU."""

    def __init__(self, settings: ClipModel, *, threads: int) -> None:
        """Load the model; on a GPU also find out how many pairs fit."""
        import torch

        from filters.open_clip_models import create_model, eval_transform, preprocess_of, tokenizer

        torch.set_num_threads(threads)
        self._key = (
            "open_clip", settings.model, settings.pretrained, settings.preprocess,
            settings.batch, settings.compile,
        )  # fmt: skip
        clip, config = create_model(settings.model, pretrained=settings.pretrained)
        tokenize, wanted = tokenizer(config), preprocess_of(clip)
        exact, on_gpu = settings.exact, torch.cuda.is_available()
        pixels_of = exact_pixels(eval_transform(clip)) if exact else fast_pixels(wanted)
        see, read = towers_of(clip, wanted, gpu=on_gpu, exact=exact)
        if settings.compile:
            see, read = torch.compile(see), torch.compile(read)
        self._pictures = Chunked(
            lambda batch: _vectors(lambda: see(pixels_of(batch))), settings.batch
        )
        self._captions = Chunked(
            lambda batch: _vectors(lambda: read(tokenize(list(batch.captions)))), settings.batch
        )
        if on_gpu:  # find the sizes that fit
            largest = blank(settings.batch, wanted.image_size)
            self._pictures(largest), self._captions(largest)

    def of(self, batch: Batch) -> NDArray[np.float32]:
        """Embed the pictures of a batch, once per batch."""
        return batch.once((*self._key, "pictures"), lambda: self.pictures(batch))

    def captions_of(self, batch: Batch) -> NDArray[np.float32]:
        """Embed the captions of a batch, once per batch."""
        return batch.once(
            (*self._key, "captions"), lambda: np.asarray(self._captions(batch)["vector"])
        )

    def pictures(self, batch: Batch) -> NDArray[np.float32]:
        """Embed the pictures of at least one pair."""
        return np.asarray(self._pictures(batch)["vector"])


def cosine(image_BD: NDArray[np.float32], text_BD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosines of unit-norm rows, float32 [B], as torch adds them up."""
    import torch

    return (torch.from_numpy(image_BD) * torch.from_numpy(text_BD)).sum(-1).numpy()


def _vectors(encode: "Callable[[], Tensor]") -> dict[str, Values]:
    import torch

    with torch.inference_mode():
        return {"vector": encode().cpu().numpy()}


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

    return lambda batch: torch.stack(
        [transform(Image.fromarray(o)) for o in batch.seen("clip", exact=True)]
    )


def towers_of(
    clip: Any, wanted: "Preprocess", *, gpu: bool, exact: bool
) -> tuple[Callable[["Tensor"], "Tensor"], Callable[["Tensor"], "Tensor"]]:
    """Move a model to its device; return the functions from pixels and from tokens to [B, D].

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

    def see(pixels: "Tensor") -> "Tensor":
        pixels = pixels.to(device, non_blocking=True)
        if pixels.dtype == torch.uint8:  # a quarter of the bytes to move
            pixels = pixels.float().sub_(mean).div_(std)
        with torch.autocast(device, torch.bfloat16, enabled=gpu and not exact):
            image_BD = clip.encode_image(pixels.contiguous(memory_format=layout))
        return normalize(image_BD.float(), dim=-1)

    def read(tokens: "Tensor") -> "Tensor":
        with torch.autocast(device, torch.bfloat16, enabled=gpu and not exact):
            text_BD = clip.encode_text(tokens.to(device, non_blocking=True))
        return normalize(text_BD.float(), dim=-1)

    return see, read


def blank(count: int, side: int) -> Batch:
    """Return a batch of black squares, to try the memory with."""
    squares = [np.zeros((side, side, 3), np.uint8)] * count
    return Batch(squares, [(side, side)] * count, ["a"] * count, squares)
