"""Normalisers of the softmax loss without its matrix of logits: both directions in one sweep.

With z_ij = s x_i y_j, the loss of any pair is made of its own z and of two log-sum-exps,
r_i = log sum_j exp z_ij of its picture and c_j = log sum_i exp z_ij of its caption: vectors, to
which the rest of the loss is plain autograd. Only x, y, r and c are kept; the backward pass makes
each tile again. Inf-CL (arXiv:2410.17243) walks the tiles once for each direction, this once.
Shape letters: B pictures and N captions of this rank, M captions that visit, D embedding.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from training.losses.exchange import Exchange
from training.losses.tiles import tiles


def log_sum_exps(
    image_BD: Tensor, text_ND: Tensor, *, scale: Tensor, exchange: Exchange, side: int
) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exps of this rank's pictures and captions over those of all ranks.

    A rank's gradients are sums over what all ranks asked for, divided among them as the inputs
    are: the mean over ranks of the parameters' gradients is that of the mean of the ranks' losses.

    Args:
        image_BD: Embeddings of this rank's pictures, float.
        text_ND: Embeddings of this rank's captions.
        scale: Inverse temperature, a scalar, the same on all ranks.
        exchange: How captions reach the other ranks.
        side: Of the tiles, see `tiles`.

    Returns:
        r_B over all captions, and c_N over all pictures.
    """
    return _LogSumExps.apply(image_BD, text_ND, scale, exchange, side)  # pyrefly: ignore


class _LogSumExps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image_BD: Tensor, text_ND: Tensor, scale: Tensor, exchange: Exchange, side: int
    ) -> tuple[Tensor, Tensor]:
        row_B = image_BD.new_full((len(image_BD),), -math.inf)

        def visit(text_MD: Tensor) -> Tensor:
            column_M = text_MD.new_full((len(text_MD),), -math.inf)
            for i, j in tiles(len(image_BD), len(text_MD), side):
                logits = (image_BD[i] * scale) @ text_MD[j].T
                row_B[i] = torch.logaddexp(row_B[i], logits.logsumexp(1))
                column_M[j] = torch.logaddexp(column_M[j], logits.logsumexp(0))
            return column_M

        column_N = exchange.round([text_ND], visit, "log_sum_exp")
        ctx.save_for_backward(image_BD, text_ND, scale, row_B, column_N)
        ctx.exchange, ctx.side = exchange, side
        return row_B, column_N

    @staticmethod
    @once_differentiable
    def backward(  # pyrefly: ignore[bad-override]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        """With P_ij = g_i exp(z_ij - r_i) + h_j exp(z_ij - c_j), both at most 1: dx = s P y."""
        image_BD, text_ND, scale, row_B, column_N = ctx.saved_tensors
        row_grad_B, column_grad_N = grad_outputs
        image_grad_BD = torch.zeros_like(image_BD)

        def visit(text_MD: Tensor, column_M: Tensor, column_grad_M: Tensor) -> Tensor:
            text_grad_MD = torch.zeros_like(text_MD)
            for i, j in tiles(len(image_BD), len(text_MD), ctx.side):
                logits = (image_BD[i] * scale) @ text_MD[j].T
                weight = (logits - row_B[i, None]).exp_().mul_(row_grad_B[i, None])
                weight += logits.sub_(column_M[j]).exp_().mul_(column_grad_M[j])
                image_grad_BD[i].addmm_(weight, text_MD[j])
                text_grad_MD[j].addmm_(weight.T, image_BD[i])
            return text_grad_MD

        own = (text_ND, column_N, column_grad_N)
        text_grad_ND = ctx.exchange.round(own, visit, "sum")
        scale_grad = (image_grad_BD * image_BD).sum().reshape(scale.shape)  # sum of P_ij x_i y_j
        both = (image_grad_BD.mul_(scale), text_grad_ND.mul_(scale))
        return *both, scale_grad, None, None
