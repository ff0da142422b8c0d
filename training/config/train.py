"""Settings of a pretraining run, of its student, and of the tasks that judge them."""

from dataclasses import dataclass, field
from typing import Literal

from training.config.input import Augment, Loader, Sampling
from training.config.loss import Loss
from training.config.model import Towers
from training.config.optim import Guard, Optim
from training.config.parallel import Parallel, Workers
from training.config.rule import require
from training.config.save import Log, Save
from training.evaluation.prompts import CLIP_ART

Precision = Literal["float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """Contrastive pretraining of an image-text model.

    Attributes:
        model: An open_clip model name, `local-dir:...`, or a model JSON; the last two by path or
            any fsspec URL.
        pretrained: open_clip tag, or a weights file by path or any fsspec URL, to start from; `""`
            starts fresh (a Hugging Face text tower always starts from its own weights).
        samples_seen: Pairs shown in all, repeats counted: the length of a run, as in DataComp, so
            that subsets of different sizes get equal compute.
        batch_size: Pairs in a step, over all ranks.
        precision: Of the towers; `bfloat16` is autocast over float32 weights.
        device: `auto` takes a GPU if there is one.
        towers: What is changed in the model.
        loss: What is minimised.
        sampling: What is shown.
        control: Whether another model is trained on as many random pairs of the pool, to compare.
    """

    model: str
    pretrained: str = ""
    samples_seen: int = 24_576
    batch_size: int = 128
    precision: Precision = "float32"
    device: Device = "auto"
    towers: Towers = field(default_factory=Towers)
    loss: Loss = field(default_factory=Loss)
    sampling: Sampling = field(default_factory=Sampling)
    control: bool = False
    augment: Augment = field(default_factory=Augment)
    optim: Optim = field(default_factory=Optim)
    guard: Guard = field(default_factory=Guard)
    loader: Loader = field(default_factory=Loader)
    parallel: Parallel = field(default_factory=Parallel)
    workers: Workers = field(default_factory=Workers)
    save: Save = field(default_factory=Save)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        """Refuse a run shorter than one step, batches without a negative, and idle ranks."""
        _require_steps("train", self.samples_seen, self.batch_size, self.workers)


@dataclass(frozen=True, kw_only=True, slots=True)
class Distill:
    """A smaller image tower taught by feature L2 (arXiv:2404.16637); the text tower is kept.

    Attributes:
        model: Model of the student; its text tower and width must be the teacher's.
        samples_seen: Pictures shown in all, repeats counted.
        batch_size: Pictures in a step, over all ranks.
        precision: Of both image towers; `bfloat16` is autocast over float32 weights.
        device: `auto` takes a GPU if there is one.
    """

    model: str
    samples_seen: int = 24_576
    batch_size: int = 128
    precision: Precision = "float32"
    device: Device = "auto"
    augment: Augment = field(default_factory=Augment)
    optim: Optim = field(default_factory=Optim)
    guard: Guard = field(default_factory=Guard)
    loader: Loader = field(default_factory=Loader)
    parallel: Parallel = field(default_factory=Parallel)
    workers: Workers = field(default_factory=Workers)
    save: Save = field(default_factory=Save)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        """Refuse a run shorter than one step, and idle ranks."""
        _require_steps("distill", self.samples_seen, self.batch_size, self.workers)


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


def _require_steps(section: str, samples_seen: int, batch_size: int, workers: Workers) -> None:
    require(f"{section}.batch_size", batch_size, "at least 2", batch_size >= 2)  # noqa: PLR2004
    rule = f"at least one pair for each rank ({section}.workers.count = {workers.count})"
    require(f"{section}.batch_size", batch_size, rule, batch_size >= workers.count)
    rule = f"at least one batch ({batch_size})"
    require(f"{section}.samples_seen", samples_seen, rule, samples_seen >= batch_size)
