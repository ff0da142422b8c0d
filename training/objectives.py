"""What a step minimises: contrastive alignment with captions, or distance to a teacher."""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from filters.open_clip_models import tokenizer
from training.captions import TextSide
from training.config import Distill, Train
from training.data import Batch
from training.losses import MAX_SCALE, clip_loss, feature_l2, siglip_loss
from training.model import ClipModel, ImageSide, ModelConfig, lock_text


class Objective(Protocol):
    """What training minimises."""

    model: ClipModel  # the open_clip model that is trained and saved

    def train(self) -> None:
        """Put what trains into train mode and what is frozen into eval mode."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """Return the scalar to go down."""
        ...

    def after_step(self) -> dict[str, float]:
        """Put parameters back into their range; return what the log should have besides."""
        ...


class Contrastive:
    """Pictures and captions meet in one space, by the sigmoid or the softmax loss."""

    def __init__(
        self, cfg: Train, model: ClipModel, model_cfg: ModelConfig, captions: Sequence[str]
    ) -> None:
        self.model = model
        self.cfg = cfg
        if cfg.lock_text:
            lock_text(model)
        self.image = ImageSide(model, precision=cfg.precision)
        self.text = TextSide(model, tokenizer(model_cfg), captions, frozen=cfg.lock_text)

    def train(self) -> None:
        """Train mode; a locked text tower stays in eval mode, as when its features were made."""
        self.model.train()
        self.text.tower.train(not self.cfg.lock_text)

    def loss(self, batch: Batch) -> Tensor:
        """Return the batch's loss, in nats."""
        image_BD, text_BD = self.image(batch.pixels_BHWC), self.text(batch.row_B)
        scale, bias = self.model.logit_scale.exp(), self.model.logit_bias
        if bias is None:
            return clip_loss(image_BD, text_BD, scale=scale)
        return siglip_loss(image_BD, text_BD, scale=scale, bias=bias)

    @torch.no_grad()
    def after_step(self) -> dict[str, float]:
        """Keep the scale in [1, 100] (arXiv:2103.00020, section 2.5)."""
        self.model.logit_scale.clamp_(0.0, math.log(MAX_SCALE))
        return {"logit_scale": self.model.logit_scale.exp().item()}


class FeatureDistillation:
    """A student's picture embeddings go where the teacher's are, crop by crop.

    The teacher sees the student's very crop ("consistent teaching", arXiv:2106.05237): what it
    says of another crop would be a wrong target. Captions play no part.
    """

    def __init__(self, cfg: Distill, student: ClipModel, teacher: ClipModel) -> None:
        self.model = student
        for name, parameter in student.named_parameters():
            parameter.requires_grad_(name.startswith("visual."))
        self.image = ImageSide(student, precision=cfg.precision)
        self.teacher = ImageSide(teacher.eval(), precision=cfg.precision)

    def train(self) -> None:
        """Only the student's image tower trains."""
        self.model.eval()
        self.model.visual.train()

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean squared distance to the teacher, in [0, 4]."""
        with torch.no_grad():
            teacher_BD = self.teacher(batch.pixels_BHWC)
        return feature_l2(self.image(batch.pixels_BHWC), teacher_BD)

    def after_step(self) -> dict[str, float]:
        """Nothing to keep in range."""
        return {}
