"""Columns in, votes and p(keep) out, a shard at a time; reads no pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters.ensemble import LabelModel, count, fit_label_model, merge
from filters.rules import Primitive, ReadyMade
from pipeline.config import Ensemble
from pipeline.scores import Scores


@dataclass(frozen=True, slots=True)
class Votes:
    """What the rules say.

    Attributes:
        rules: M rules, ready-made ones replaced by what they stand for, and quantiles by the
            values that they are in this pool.
        by_shard: Of each shard, int8 [n, M] over its good rows: 1 keep, 0 drop, -1 abstain.
    """

    rules: tuple[Primitive, ...]
    by_shard: tuple[NDArray[np.int8], ...]


def cast_votes(scores: Scores, rules: Sequence[Primitive | ReadyMade]) -> Votes:
    """Let every rule vote on every good row."""
    resolved = tuple(rule.resolve(scores.numbers) for rule in rules)
    names = sorted({column for rule in resolved for column in rule.columns})
    votes = []
    for shard in range(len(scores)):
        columns = pl.DataFrame(scores.good(shard, names)).to_dict()
        votes.append(np.stack([rule.vote(columns) for rule in resolved], axis=1))
    return Votes(resolved, tuple(votes))


def fit_votes(votes: Votes, cfg: Ensemble, *, seed: int) -> LabelModel:
    """Fit the label model on counts of vote patterns, added up over shards."""
    counts = merge([count(votes_NM) for votes_NM in votes.by_shard])
    return fit_label_model(counts, model=cfg.model, prior=cfg.prior, seed=seed)
