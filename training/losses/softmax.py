"""The softmax loss as the text-book has it, and where its scale starts.

A step takes the same numbers from `normalisers.py`, which holds no matrix of logits; this is the
reference, and what to read first. Shape letters: B pairs, D embedding.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SCALE = 100.0  # CLIP clips the inverse temperature here (arXiv:2103.00020, section 2.5)


def clip_loss(image_BD: Tensor, text_BD: Tensor, *, scale: Tensor) -> Tensor:
    """Softmax loss: find the caption among the batch's, and the picture (arXiv:2103.00020, fig. 3).

    Args:
        image_BD: Unit-norm image embeddings, float.
        text_BD: Unit-norm text embeddings, float, in the same order.
        scale: Inverse temperature, a positive scalar.

    Returns:
        Scalar: mean over pairs and over the two directions, in nats.
    """
    logits_BB = scale * image_BD @ text_BD.T
    pair_B = torch.arange(len(logits_BB), device=logits_BB.device)
    return (F.cross_entropy(logits_BB, pair_B) + F.cross_entropy(logits_BB.T, pair_B)) / 2


def clip_init() -> float:
    """Return where the log scale of `clip_loss` starts (arXiv:2103.00020, section 2.5)."""
    return math.log(1 / 0.07)
