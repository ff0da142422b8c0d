"""Retrieval both ways: a picture asks for its caption, a caption for one of its pictures.

Shape letters: N pictures, U distinct captions, D embedding.
"""

import torch
from torch import Tensor

from training.evaluation.ranking import ranks, share_within

CUTS = (1, 5, 10)


def retrieval_metrics(image_ND: Tensor, text_UD: Tensor, caption_N: Tensor) -> dict[str, float]:
    """Score pictures against distinct captions.

    Pairs with the same caption are one caption with several right pictures, as where a picture has
    several captions: otherwise a model is punished for what no model could tell apart.

    Args:
        image_ND: Unit-norm embeddings.
        text_UD: Unit-norm embeddings of the distinct captions.
        caption_N: int64 in [0, U): each picture's caption; every caption has a picture.

    Returns:
        text_retrieval_recall@K (a picture finds its caption), image_retrieval_recall@K (a caption
        finds one of its pictures) and mean_recall@1, the main metric, all in [0, 1].
    """
    caption_U = torch.arange(len(text_UD))
    text_rank_N = ranks(image_ND, text_UD, query_label_Q=caption_N, candidate_label_C=caption_U)
    image_rank_U = ranks(text_UD, image_ND, query_label_Q=caption_U, candidate_label_C=caption_N)
    mean_recall = (share_within(text_rank_N, 1) + share_within(image_rank_U, 1)) / 2
    return {
        **{f"text_retrieval_recall@{k}": share_within(text_rank_N, k) for k in CUTS},
        **{f"image_retrieval_recall@{k}": share_within(image_rank_U, k) for k in CUTS},
        "mean_recall@1": mean_recall,
        "captions": len(text_UD),
        "pictures": len(image_ND),
        "main_metric": mean_recall,
    }
