"""The sigmoid loss as the text-book has it, and where its scale and bias start.

A step takes the same numbers from `softplus.py`, which holds no matrix of logits; this is the
reference, and what to read first. Shape letters: B pairs, D embedding.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def siglip_loss(image_BD: Tensor, text_BD: Tensor, *, scale: Tensor, bias: Tensor) -> Tensor:
    """Sigmoid loss for language-image pre-training (SigLIP, arXiv:2303.15343, alg. 1).

    Every image meets every text; only its own caption is a positive.

    Args:
        image_BD: Unit-norm image embeddings, float.
        text_BD: Unit-norm text embeddings, float, in the same order.
        scale: Inverse temperature, a positive scalar.
        bias: Logit bias, a scalar.

    Returns:
        Scalar: summed over texts, averaged over images, in nats.
    """
    logits_BB = scale * image_BD @ text_BD.T + bias
    sign_BB = 2 * torch.eye(len(logits_BB), dtype=logits_BB.dtype, device=logits_BB.device) - 1
    return -F.logsigmoid(sign_BB * logits_BB).sum(dim=1).mean()


def siglip_init(batch_size: int) -> tuple[float, float]:
    """Return where the log scale and the bias of `siglip_loss` start for a global batch size.

    The paper's log 10 and -10 suit batches of about 32,768. The bias is the log-odds of a pair
    being a positive, log(p / (1 - p)) with p = 1 / batch: at -10 a small batch spends its first
    hundred steps only on unlearning it (open_clip issue 650).
    """
    return math.log(10.0), -math.log(max(batch_size - 1, 1))
