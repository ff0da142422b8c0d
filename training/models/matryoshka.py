"""Embeddings whose leading dimensions work alone (Matryoshka, arXiv:2205.13147)."""

from collections.abc import Sequence

import torch.nn.functional as F

from training.models.encoder import Features


def matryoshka(features: Features, widths: Sequence[int]) -> list[Features]:
    """Return the features and, for every width, those of their leading dimensions.

    The training loss is the sum of the losses of all of them (equation 1 there, all weights one).

    Args:
        features: Whole embeddings.
        widths: Smaller ones, in any order.

    Returns:
        Unit-norm embeddings of every width, the whole ones first; scale and bias are shared.

    Raises:
        ValueError: A width is not smaller than the embedding.
    """
    whole = features.image_BD.shape[-1]
    if any(width >= whole for width in widths):
        raise ValueError(
            f"towers.matryoshka: got widths {tuple(widths)}, expected widths below {whole}, that "
            "of the embedding; leave the larger ones out"
        )
    return [features] + [
        features._replace(
            image_BD=F.normalize(features.image_BD[:, :width], dim=-1),
            text_BD=F.normalize(features.text_BD[:, :width], dim=-1),
        )
        for width in widths
    ]
