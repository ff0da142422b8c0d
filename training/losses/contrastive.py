"""Contrastive losses over a batch of image and text embeddings.

Shape letters: B pairs of this process, G pairs of all processes, D embedding.
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


def siglip_loss(
    image_BD: Tensor, text_GD: Tensor, *, scale: Tensor, bias: Tensor, rank: int = 0
) -> Tensor:
    """Sigmoid loss for language-image pre-training (SigLIP, arXiv:2303.15343, alg. 1).

    Every image meets every text; only its own caption is a positive.

    Args:
        image_BD: Unit-norm image embeddings of this process, float.
        text_GD: Unit-norm text embeddings of all processes, in rank order.
        scale: Inverse temperature, a positive scalar.
        bias: Logit bias, a scalar.
        rank: This process's position in the gathered batch.

    Returns:
        Scalar: summed over texts, averaged over local images, in nats.
    """
    local = len(image_BD)
    logits_BG = scale * image_BD @ text_GD.T + bias
    sign_BG = torch.full_like(logits_BG, -1.0)
    sign_BG[:, rank * local : (rank + 1) * local].fill_diagonal_(1.0)
    return -F.logsigmoid(sign_BG * logits_BG).sum(dim=1).mean()


def siglip_init(batch_size: int) -> tuple[float, float]:
    """Return where the log scale and the bias of `siglip_loss` start for a global batch size.

    The paper's log 10 and -10 suit batches of about 32,768. The bias is the log-odds of a pair
    being a positive, log(p / (1 - p)) with p = 1 / batch: at -10 a small batch spends its first
    hundred steps only on unlearning it (open_clip issue 650).
    """
    return math.log(10.0), -math.log(max(batch_size - 1, 1))


def clip_init() -> float:
    """Return where the log scale of `clip_loss` starts (arXiv:2103.00020, section 2.5)."""
    return math.log(1 / 0.07)


def feature_l2(student_BD: Tensor, teacher_BD: Tensor) -> Tensor:
    """Squared distance of unit-norm embeddings, 2 - 2 cos, mean over the batch (arXiv:2404.16637).

    Args:
        student_BD: Unit-norm embeddings to be moved.
        teacher_BD: Unit-norm embeddings to be met; no gradient is asked of them.

    Returns:
        Scalar in [0, 4]: summed over D, so that its size does not depend on the width.
    """
    return (student_BD - teacher_BD).square().sum(dim=1).mean()
