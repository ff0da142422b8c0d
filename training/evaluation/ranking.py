"""How far down the list the first right answer stands: the one quantity behind every metric."""

from collections.abc import Callable

import torch
from torch import Tensor

from training.parallel.ranks import ALONE, Ranks

CHUNK = 256  # queries scored at a time, so that memory does not grow with their number squared


def places(
    query_QD: Tensor,
    score: Callable[[Tensor], Tensor],
    *,
    query_label_Q: Tensor,
    candidate_label_C: Tensor,
    ranks: Ranks = ALONE,
) -> Tensor:
    """Count the wrong candidates that score at least as well as the best right one.

    Chunks of queries go round the ranks and are the same for any number of them, so that the
    result does not depend on it.

    Args:
        query_QD: Unit-norm embeddings, the same on all ranks.
        score: Some queries to their scores of all candidates, [q, C].
        query_label_Q: int64; a candidate with the query's label is right.
        candidate_label_C: int64; every query's label must occur.
        ranks: Those that share the work; all of them call.

    Returns:
        int64 [Q] on the CPU, of all queries on all ranks: 0 if a right candidate comes first. Ties
        count against the model, and so does a score that is no number: one that gives everything
        the same score is never right.
    """
    label_Q, label_C = (t.to(query_QD.device) for t in (query_label_Q, candidate_label_C))
    place_Q = torch.zeros_like(label_Q)
    for start in range(0, len(query_QD), CHUNK)[ranks.rank :: ranks.count]:
        part = slice(start, start + CHUNK)
        score_QC = score(query_QD[part]).to(query_QD.device)
        right_QC = label_Q[part, None] == label_C[None, :]
        best_Q1 = score_QC.masked_fill(~right_QC, -torch.inf).amax(dim=1, keepdim=True)
        # Not `score >= best`: NaN is neither above nor below, and would always come first.
        place_Q[part] = (~(score_QC < best_Q1) & ~right_QC).sum(dim=1)
    return ranks.sum(place_Q).cpu()


def cosines(candidate_CD: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the score of unit-norm embeddings."""
    return lambda query_QD: query_QD @ candidate_CD.T


def share_within(place_Q: Tensor, k: int) -> float:
    """Return the share of queries whose first right answer is among the k best, in [0, 1]."""
    return (place_Q < k).double().mean().item()
