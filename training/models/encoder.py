"""One module whose forward pass is a step's: pictures and captions in, two sets of embeddings out.

What is wrapped for many ranks, compiled or sharded is this module, so that every gradient of a
step, those of the logit scale and bias too, belongs to one forward pass of one module.
Shape letters: B pairs, K captions a pair, L tokens, W width of a trunk, D embedding.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import Precision
from training.models.build import ClipModel, ImageSide, half_precision, text_tower
from training.models.text import encode_trimmed, project


class Features(NamedTuple):
    """What a loss is made of.

    Attributes:
        image_BD: Unit-norm float32 embeddings of pictures.
        text_BD: Unit-norm float32 embeddings of captions, [B * K, D].
        scale: Inverse temperature, a positive scalar.
        bias: Logit bias, a scalar; 0 where the model has none.
    """

    image_BD: Tensor
    text_BD: Tensor
    scale: Tensor
    bias: Tensor


class PairEncoder(nn.Module):
    """An open_clip model as a step uses it.

    Args:
        model: Whose parameters train.
        precision: Of the towers.
        frozen_text: Whether texts arrive as what the locked trunk said.
    """

    def __init__(
        self,
        model: ClipModel,
        *,
        precision: Precision,
        frozen_text: bool,
    ) -> None:
        super().__init__()
        self.model = model
        self.image = ImageSide(model, precision=precision)
        self.frozen_text = frozen_text
        self.is_half = precision == "bfloat16"

    def forward(self, pixels_BHWC: Tensor, text_BL: Tensor) -> Features:
        """Encode both sides.

        Args:
            pixels_BHWC: uint8, RGB.
            text_BL: See `Batch`; tokens trimmed.
        """
        tower: Any = text_tower(self.model)
        if self.frozen_text:
            text_BD = project(tower, text_BL)
        else:
            with half_precision(text_BL.device, wanted=self.is_half):
                text_BD = encode_trimmed(tower, text_BL)
        scale, bias = self.model.logit_scale.exp(), self.model.logit_bias
        return Features(
            self.image(pixels_BHWC),
            F.normalize(text_BD.float(), dim=-1),
            scale,
            torch.zeros_like(scale) if bias is None else bias.clone(),  # DDP loses bare parameters
        )
