"""The negatives of the sigmoid loss without its matrix of logits, gradients in the forward pass.

No normaliser ties one cell of the matrix to another, so a tile is finished when it is seen: its sum
and its gradients, which are of the embeddings' size, and nothing is made twice.
Shape letters: B pictures and N captions of this rank, M captions that visit, D embedding.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from training.losses.exchange import Exchange
from training.losses.tiles import tiles

LINEAR_FROM = 40.0  # exp(-40) is below float64's rounding of 40, exp(40) far from overflow


def softplus_sum(
    image_BD: Tensor,
    text_ND: Tensor,
    *,
    scale: Tensor,
    bias: Tensor,
    weights: tuple[Tensor, Tensor] | None,
    exchange: Exchange,
    side: int,
) -> Tensor:
    """Return the sum of log(1 + exp z) over this rank's pictures and all ranks' captions.

    z_ij = scale x_i y_j + bias. The gradients are those of the sum over ranks; backward has to be
    called with the same number on all of them.

    Args:
        image_BD: Embeddings of this rank's pictures, float.
        text_ND: Embeddings of this rank's captions.
        scale: Inverse temperature, a scalar, the same on all ranks.
        bias: Logit bias, a scalar, the same on all ranks.
        weights: Of pictures [B] and captions [N]; a cell counts u_i + v_j. None counts each as 1.
        exchange: How captions reach the other ranks.
        side: Of the tiles, see `tiles`.
    """
    inputs = (image_BD, text_ND, scale, bias)
    with_grad = torch.is_grad_enabled() and any(value.requires_grad for value in inputs)
    return _SoftplusSum.apply(*inputs, weights, exchange, side, with_grad)  # pyrefly: ignore


class _SoftplusSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        image_BD: Tensor,
        text_ND: Tensor,
        scale: Tensor,
        bias: Tensor,
        weights: tuple[Tensor, Tensor] | None,
        exchange: Exchange,
        side: int,
        with_grad: bool,
    ) -> Tensor:
        total, bias_grad = image_BD.new_zeros(()), image_BD.new_zeros(())
        image_grad_BD = torch.zeros_like(image_BD)

        def visit(text_MD: Tensor, *weight_M: Tensor) -> Tensor:
            text_grad_MD = torch.zeros_like(text_MD if with_grad else text_MD[:, :1])
            for i, j in tiles(len(image_BD), len(text_MD), side):
                logits = torch.addmm(bias, image_BD[i] * scale, text_MD[j].T)
                losses = F.softplus(logits, threshold=LINEAR_FROM)
                cells = None
                if weights is not None:
                    cells = weights[0][i, None] + weight_M[0][j]
                    losses *= cells
                total.add_(losses.sum())
                if not with_grad:
                    continue
                slope = logits.sigmoid_() if cells is None else logits.sigmoid_().mul_(cells)
                bias_grad.add_(slope.sum())
                image_grad_BD[i].addmm_(slope, text_MD[j])
                text_grad_MD[j].addmm_(slope.T, image_BD[i])
            return text_grad_MD

        own = (text_ND,) if weights is None else (text_ND, weights[1])
        text_grad_ND = exchange.round(own, visit, "sum")
        if with_grad:
            scale_grad = (image_grad_BD * image_BD).sum()  # sum of slope_ij x_i y_j
            image_grad_BD *= scale
            text_grad_ND *= scale
            ctx.save_for_backward(
                image_grad_BD, text_grad_ND,
                scale_grad.reshape(scale.shape), bias_grad.reshape(bias.shape),
            )  # fmt: skip
        return total

    @staticmethod
    @once_differentiable
    def backward(  # pyrefly: ignore[bad-override]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        return *(grad_outputs[0] * saved for saved in ctx.saved_tensors), None, None, None, None
