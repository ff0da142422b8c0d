"""What a step minimises: contrastive alignment with captions, or distance to a teacher."""

import math
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from filters.open_clip_models import tokenizer
from pipeline.pairs import Pairs
from training.config import Distill, Train
from training.input.batch import Batch
from training.input.texts import Texts, texts_of
from training.losses.distillation import feature_l2
from training.losses.pair import pair_loss
from training.losses.softmax import MAX_SCALE
from training.models.build import ClipModel, ImageSide, ModelConfig, text_tower, weights_digest
from training.models.encoder import Features, PairEncoder
from training.models.lock import train_mode
from training.models.matryoshka import matryoshka
from training.models.text import trim, trunk_outputs
from training.parallel.layout import lay_out
from training.parallel.ranks import Ranks


class Objective(Protocol):
    """What training minimises.

    A step is two halves, so that many passes through the encoder may end in one loss: `encode`
    calls the encoder, which may be wrapped, on some pairs; `loss` is of all pairs of a rank.
    """

    model: ClipModel  # the open_clip model that is trained and saved
    encoder: nn.Module  # what is wrapped, compiled or sharded; put back here when it is
    texts: Texts | None  # what the loader gives the text tower; None where captions play no part
    teachers: tuple[nn.Module, ...]  # image towers that see what the model's sees, and are frozen

    def train(self) -> None:
        """Put what trains into train mode and what is frozen into eval mode."""
        ...

    def trim(self, batch: Batch) -> Batch:
        """Leave out what plays no part; called while the batch is still on the CPU."""
        ...

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return what the loss needs of some pairs; of every tensor the first dimension is pairs.

        Scalars are the same for all pairs.
        """
        ...

    def loss(self, features: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Return the scalar to go down; its mean over ranks is the whole batch's."""
        ...

    def after_step(self) -> dict[str, Tensor]:
        """Put parameters back into their range; return what the log should have besides.

        Scalars, left on their device.
        """
        ...


class Contrastive:
    """Pictures and captions meet in one space, by the sigmoid or the softmax loss."""

    texts: Texts | None
    teachers: tuple[nn.Module, ...] = ()

    def __init__(
        self, cfg: Train, model: ClipModel, model_cfg: ModelConfig, pairs: Pairs, *, ranks: Ranks
    ) -> None:
        self.model = model
        self.frozen_text = frozen = cfg.towers.frozen_text
        tower: Any = text_tower(model)
        encode = (lambda tokens_NL: trunk_outputs(tower, tokens_NL)) if frozen else None
        self.texts = texts_of(
            pairs,
            tokenizer(model_cfg),
            identity=[model_cfg["text_cfg"], weights_digest(tower) if frozen else ""],
            encode=encode,
            ranks=ranks,
        )
        self.encoder: nn.Module = PairEncoder(model, precision=cfg.precision, frozen_text=frozen)
        self.widths = cfg.towers.matryoshka
        self._loss = pair_loss(cfg.loss, cfg.parallel, ranks=ranks, batch_size=cfg.batch_size)

    def train(self) -> None:
        """Train mode; what is locked stays in eval mode, as when its features were made."""
        train_mode(self.model)

    def trim(self, batch: Batch) -> Batch:
        """Cut captions to the longest of them, where that is exact."""
        if self.frozen_text:
            return batch
        return replace(batch, text_BL=trim(text_tower(self.model), batch.text_BL))

    def encode(self, batch: Batch) -> Features:
        """Return embeddings of both sides, scale and bias."""
        return self.encoder(batch.pixels_BHWC, batch.text_BL)

    def loss(self, features: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Return the batch's loss, in nats."""
        every = matryoshka(Features(*features), self.widths)
        return torch.stack([self._loss(each, batch.weight_B) for each in every]).sum()

    @torch.no_grad()
    def after_step(self) -> dict[str, Tensor]:
        """Keep the scale in [1, 100] (arXiv:2103.00020, section 2.5)."""
        self.model.logit_scale.clamp_(0.0, math.log(MAX_SCALE))
        return {"logit_scale": self.model.logit_scale.exp()}


class StudentEncoder(nn.Module):
    """The image tower of a student, as a step uses it."""

    def __init__(self, student: ClipModel, cfg: Distill) -> None:
        super().__init__()
        self.visual = student.visual
        self.image = ImageSide(student, precision=cfg.precision)

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        """Return float32 unit-norm embeddings [B, D]."""
        return self.image(pixels_BHWC)


class FeatureDistillation:
    """A student's picture embeddings go where the teacher's are, crop by crop.

    The teacher sees the student's very crop ("consistent teaching", arXiv:2106.05237): what it
    says of another crop would be a wrong target. Captions play no part.
    """

    texts: Texts | None = None

    def __init__(
        self, cfg: Distill, student: ClipModel, teacher: ClipModel, *, ranks: Ranks
    ) -> None:
        self.model = student
        for name, parameter in student.named_parameters():
            parameter.requires_grad_(name.startswith("visual."))
        self.encoder: nn.Module = StudentEncoder(student, cfg)
        lay_out(teacher.visual, cfg.parallel.channels_last)
        self.teacher = ImageSide(teacher.eval(), precision=cfg.precision)
        self.teachers: tuple[nn.Module, ...] = (teacher.visual.requires_grad_(False),)
        self.ranks = ranks
        self.batch_size = cfg.batch_size

    def train(self) -> None:
        """Only the student's image tower trains."""
        self.model.eval()
        self.model.visual.train()

    def trim(self, batch: Batch) -> Batch:
        """Return the batch: it has no captions."""
        return batch

    def encode(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return the student's and the teacher's embeddings."""
        with torch.no_grad():
            teacher_BD = self.teacher(batch.pixels_BHWC)
        return self.encoder(batch.pixels_BHWC), teacher_BD

    def loss(self, features: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Return the mean squared distance to the teacher, in [0, 4]."""
        student_BD, teacher_BD = features
        share = len(batch) * self.ranks.count / self.batch_size  # 1 but for uneven shares
        return feature_l2(student_BD, teacher_BD) * share

    def after_step(self) -> dict[str, Tensor]:
        """Nothing to keep in range."""
        return {}
