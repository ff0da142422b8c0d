"""Settings of training, evaluation and distillation; nothing here imports torch.

Groups that hold *what* is computed (`Optim`, `Augment`) are part of a run's identity, so a changed
value starts another run. Groups that hold only *how* (`Loader`, `Save`) are not: a run may be
resumed with other threads, another cache or another interval, and ends with the same weights.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from training.prompts import CLIP_ART

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Optim:
    """AdamW with linear warm-up and cosine decay to zero.

    Attributes:
        lr: Peak learning rate.
        warmup: Share of the steps that warm up, in [0, 1].
        weight_decay: For weights with at least two dimensions; gains, biases and the logit scale
            are never decayed.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment; 0.98 as in CLIP for short runs (arXiv:2103.00020).
        grad_clip: Largest norm of the whole gradient.
    """

    lr: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.98
    grad_clip: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        _require("optim.lr", self.lr, "above 0", 0 < self.lr < math.inf)
        _require("optim.warmup", self.warmup, "in [0, 1]", 0 <= self.warmup <= 1)
        _require("optim.weight_decay", self.weight_decay, "at least 0", self.weight_decay >= 0)
        _require("optim.beta1", self.beta1, "in [0, 1)", 0 <= self.beta1 < 1)
        _require("optim.beta2", self.beta2, "in [0, 1)", 0 <= self.beta2 < 1)
        _require("optim.grad_clip", self.grad_clip, "above 0", self.grad_clip > 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    """Random crop of a share of the picture's area, resized to the model's side, maybe mirrored.

    Attributes:
        min_area: Smallest share of the area a crop keeps, in (0, 1]; the largest is 1.
        max_aspect: Crops have an aspect ratio in [1 / max_aspect, max_aspect].
        flip: Probability of mirroring left to right. Captions that say "left" then lie.
    """

    min_area: float = 0.5
    max_aspect: float = 4 / 3
    flip: float = 0.5

    def __post_init__(self) -> None:
        """Refuse shares and probabilities out of range."""
        _require("augment.min_area", self.min_area, "in (0, 1]", 0 < self.min_area <= 1)
        _require("augment.max_aspect", self.max_aspect, "at least 1", self.max_aspect >= 1)
        _require("augment.flip", self.flip, "in [0, 1]", 0 <= self.flip <= 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loader:
    """How batches are made ready; changes speed and memory, never a batch.

    Attributes:
        threads: Batches that are decoded at the same time.
        prefetch: Batches kept ready or in work ahead of the model.
        cache_bytes: Bound on decoded, reduced pictures kept in memory.
    """

    threads: int = 2
    prefetch: int = 4
    cache_bytes: int = 2**30

    def __post_init__(self) -> None:
        """Refuse a loader that could make no batch."""
        _require("loader.threads", self.threads, "at least 1", self.threads >= 1)
        _require("loader.prefetch", self.prefetch, "at least 1", self.prefetch >= 1)
        _require("loader.cache_bytes", self.cache_bytes, "at least 0", self.cache_bytes >= 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Save:
    """When the resumable state and the metrics are written.

    Attributes:
        every: Steps between two states.
        keep: Newest states that are kept.
        log_every: Steps between two lines of metrics.
    """

    every: int = 200
    keep: int = 2
    log_every: int = 10

    def __post_init__(self) -> None:
        """Refuse intervals that never come."""
        _require("save.every", self.every, "at least 1", self.every >= 1)
        _require("save.keep", self.keep, "at least 1", self.keep >= 1)
        _require("save.log_every", self.log_every, "at least 1", self.log_every >= 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """Contrastive pretraining of an open_clip model.

    Attributes:
        model: An open_clip model name, `local-dir:...`, or a model JSON; the last two by path or
            any fsspec URL.
        pretrained: open_clip tag, or a weights file by path or any fsspec URL, to start from; `""`
            starts fresh (a Hugging Face text tower always starts from its own weights).
        loss: `siglip` (arXiv:2303.15343) or `clip` (arXiv:2103.00020).
        lock_text: Freeze the text tower below its projection (LiT, arXiv:2111.07991, the other
            way round); what it says of a caption is then computed once.
        samples_seen: Pairs shown in all, repeats counted: the length of a run, as in DataComp, so
            that subsets of different sizes get equal compute.
        batch_size: Pairs in a step.
        precision: Of the image tower; `bfloat16` is autocast over float32 weights.
        device: `auto` takes a GPU if there is one.
    """

    model: str
    pretrained: str = ""
    loss: Literal["siglip", "clip"] = "siglip"
    lock_text: bool = True
    samples_seen: int = 24_576
    batch_size: int = 128
    precision: Precision = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    optim: Optim = field(default_factory=Optim)
    augment: Augment = field(default_factory=Augment)
    loader: Loader = field(default_factory=Loader)
    save: Save = field(default_factory=Save)

    def __post_init__(self) -> None:
        """Refuse a run shorter than one step, and batches without a negative."""
        _require_steps("train", self.samples_seen, self.batch_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Distill:
    """A smaller image tower taught by feature L2 (arXiv:2404.16637); the text tower is kept.

    Attributes:
        model: Model of the student; its text tower and width must be the teacher's.
        samples_seen: Pictures shown in all, repeats counted.
        batch_size: Pictures in a step.
        precision: Of both image towers; `bfloat16` is autocast over float32 weights.
        device: `auto` takes a GPU if there is one.
    """

    model: str
    samples_seen: int = 24_576
    batch_size: int = 128
    precision: Precision = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    optim: Optim = field(default_factory=Optim)
    augment: Augment = field(default_factory=Augment)
    loader: Loader = field(default_factory=Loader)
    save: Save = field(default_factory=Save)

    def __post_init__(self) -> None:
        """Refuse a run shorter than one step."""
        _require_steps("distill", self.samples_seen, self.batch_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluate:
    """Which tasks judge a checkpoint on held-out pairs.

    Attributes:
        tasks: `zeroshot:FIELD` (classify by a json value of the pairs) and `retrieval`.
        batch_size: Pictures encoded at a time.
        templates: Prompts for a class; `{c}` is its name.
        ignore_classes: Values of the field that are no class, such as "unsorted".
        calibrate: Divide the classes' probabilities by those on a blank picture.
    """

    tasks: tuple[str, ...] = ("zeroshot:category", "retrieval")
    batch_size: int = 256
    templates: tuple[str, ...] = CLIP_ART
    ignore_classes: tuple[str, ...] = ()
    calibrate: bool = False


def _require(name: str, value: float, rule: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"{name}: got {value}, expected {rule}; correct it in the config")


def _require_steps(section: str, samples_seen: int, batch_size: int) -> None:
    _require(f"{section}.batch_size", batch_size, "at least 2", batch_size >= 2)  # noqa: PLR2004
    rule = f"at least one batch ({batch_size})"
    _require(f"{section}.samples_seen", samples_seen, rule, samples_seen >= batch_size)
