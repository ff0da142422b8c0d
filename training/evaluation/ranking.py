"""How far down the list the first right answer stands: the one quantity behind every metric."""

import torch
from torch import Tensor

CHUNK = 1024  # queries ranked at a time, so that memory does not grow with their number squared


def ranks(
    query_QD: Tensor, candidate_CD: Tensor, *, query_label_Q: Tensor, candidate_label_C: Tensor
) -> Tensor:
    """Count the wrong candidates that score at least as well as the best right one.

    Args:
        query_QD: Unit-norm embeddings.
        candidate_CD: Unit-norm embeddings.
        query_label_Q: int64; a candidate with the query's label is right.
        candidate_label_C: int64; every query's label must occur.

    Returns:
        int64 [Q]: 0 if a right candidate comes first. Ties count against the model, so one that
        gives everything the same score is never right.
    """
    chunks = zip(query_QD.split(CHUNK), query_label_Q.split(CHUNK), strict=True)
    return torch.cat([_ranks(q, label, candidate_CD, candidate_label_C) for q, label in chunks])


def _ranks(query_QD: Tensor, label_Q: Tensor, candidate_CD: Tensor, label_C: Tensor) -> Tensor:
    return ranks_by_score(query_QD @ candidate_CD.T, label_Q, label_C)


def ranks_by_score(score_QC: Tensor, label_Q: Tensor, label_C: Tensor) -> Tensor:
    """Do as `ranks` does, of scores that are there already, [Q, C]."""
    right_QC = label_Q[:, None] == label_C[None, :]
    best_Q1 = score_QC.masked_fill(~right_QC, -torch.inf).amax(dim=1, keepdim=True)
    return ((score_QC >= best_Q1) & ~right_QC).sum(dim=1)


def share_within(rank_Q: Tensor, k: int) -> float:
    """Return the share of queries whose first right answer is among the k best, in [0, 1]."""
    return (rank_Q < k).double().mean().item()
