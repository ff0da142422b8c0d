"""Retrieval both ways: a picture asks for its caption, a caption for one of its pictures.

Shape letters: N pictures, U distinct captions, D embedding.
"""

import torch
from torch import Tensor

from training.evaluation.ranking import cosines, places, share_within
from training.parallel.ranks import ALONE, Ranks

CUTS = (1, 5, 10)


def retrieval_metrics(
    image_ND: Tensor, text_UD: Tensor, caption_N: Tensor, *, ranks: Ranks = ALONE
) -> dict[str, float]:
    """Score pictures against distinct captions.

    Pairs with the same caption are one caption with several right pictures, as where a picture has
    several captions: otherwise a model is punished for what no model could tell apart.

    Args:
        image_ND: Unit-norm embeddings.
        text_UD: Unit-norm embeddings of the distinct captions.
        caption_N: int64 in [0, U): each picture's caption; every caption has a picture.
        ranks: Those that share the work; all of them call.

    Returns:
        text_retrieval_recall@K (a picture finds its caption), image_retrieval_recall@K (a caption
        finds one of its pictures) and mean_recall@1, the main metric, all in [0, 1].
    """
    caption_U = torch.arange(len(text_UD))
    text_place_N = places(
        image_ND, cosines(text_UD), query_label_Q=caption_N, candidate_label_C=caption_U,
        ranks=ranks,
    )  # fmt: skip
    image_place_U = places(
        text_UD, cosines(image_ND), query_label_Q=caption_U, candidate_label_C=caption_N,
        ranks=ranks,
    )  # fmt: skip
    mean_recall = (share_within(text_place_N, 1) + share_within(image_place_U, 1)) / 2
    return {
        **{f"text_retrieval_recall@{k}": share_within(text_place_N, k) for k in CUTS},
        **{f"image_retrieval_recall@{k}": share_within(image_place_U, k) for k in CUTS},
        "mean_recall@1": mean_recall,
        "captions": len(text_UD),
        "pictures": len(image_ND),
        "main_metric": mean_recall,
    }
