"""`fit_label_model`: votes, or counts of them, in; a label model out.

Letters: N rows, M rules, K classes.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from filters.ensemble.groups import groups
from filters.ensemble.labelled import Labelled
from filters.ensemble.methods import AnyMethod, Known, Method
from filters.ensemble.model import LabelModel
from filters.ensemble.moments import Moments
from filters.ensemble.patterns import PatternCounts, count
from filters.ensemble.prior import ESTIMATED, Prior, believe
from filters.ensemble.stand_ins import Groups, adversarial, fit_stand_ins, only

Votes = NDArray[np.int8] | PatternCounts | Moments


def fit_label_model(
    votes: Votes,
    *,
    model: str | Method = "latent_class",
    prior: Prior = ESTIMATED,
    seed: int = 0,
    labelled: Labelled | None = None,
    at_random: Labelled | None = None,
    share_copies: bool = True,
    columns: Sequence[Hashable] = (),
) -> LabelModel:
    """Fit how much each rule's votes say.

    Args:
        votes: int8 [N, M] of two classes, distinct patterns and how often they occur, or, where
            those were too many, pairs of votes.
        model: A method with its settings, or the kind of one.
        prior: P(keep), or K class probabilities, "estimated" from the votes, or that of "labels";
            what a row without votes gets.
        seed: Of whatever is random.
        labelled: A few rows with labels.
        at_random: Those of them that were chosen at random, which a prior from "labels" counts: a
            share among rows that were chosen for being unsure holds for nothing. Without it, all.
        share_copies: Find rules that vote alike (`groups.py`) and let them share their evidence. A
            method that reads labels sees by itself what copies are worth.
        columns: M times what a rule reads, if known: rules that read the same are one group,
            however they vote.

    Raises:
        ValueError: The prior is no probability or cannot be estimated, there are no rows, or the
            method cannot be fitted on what there is.
    """
    counts, moments = _statistics(votes)
    method = model if isinstance(model, Method) else _named(model)
    if moments.rows == 0:
        raise ValueError("ensemble: got no rows to vote on, expected at least one usable pair")
    apart = share_copies and method.shares_copies and not method.needs_labels
    together = groups(moments, columns) if apart else [[m] for m in range(moments.rules)]
    known = Known(counts, moments, labelled, np.full(moments.classes, 1 / moments.classes), seed)
    leaders = only(known, [group[0] for group in together])
    _require(method, leaders, together)
    # Few numbers: threads would cost more than they save, and the last bits would depend on them.
    with threadpool_limits(1, user_api="blas"):
        fair = labelled if at_random is None else at_random
        believed = believe(prior, counts=leaders.counts, labelled=fair, classes=moments.classes)
        fitted = fit_stand_ins(method, replace(known, prior_K=believed.prior_K), together)
    told = {**fitted.told, "prior": believed.told(), "adversarial": adversarial(fitted, moments)}
    if apart:
        told["groups"] = [sorted(group) for group in together if len(group) > 1]
    return replace(fitted, told=told)


def _statistics(votes: Votes) -> tuple[PatternCounts | None, Moments]:
    if isinstance(votes, Moments):
        return None, votes
    counts = votes if isinstance(votes, PatternCounts) else count(votes)
    return counts, Moments.of(counts)


def _named(kind: str) -> Method:
    """Return a method by its kind, with the settings that it has by default."""
    methods = {cls().kind: cls for cls in get_args(AnyMethod)}
    if kind not in methods:
        raise ValueError(f"ensemble: got model {kind!r}, expected one of {', '.join(methods)}")
    return methods[kind]()


def _require(method: Method, known: Known, together: Groups) -> None:
    """Refuse what a method cannot be fitted on; `known` is of one rule of each group."""
    moments = known.moments
    if method.needs_counts and known.counts is None:
        raise ValueError(
            f"ensemble: got too many distinct vote patterns for model {method.kind!r}, expected "
            "few enough to hold; take a model that reads moments, such as triplet, or fewer rules"
        )
    if method.needs_labels and known.labelled is None:
        raise ValueError(
            f"ensemble: got no labels, expected some for model {method.kind!r}; make them with "
            "`thresher label RUN` and set ensemble.labels"
        )
    voting = int((moments.votes.sum(axis=1) > 0).sum())
    if voting < method.least_rules:
        copies = sum(len(group) - 1 for group in together)
        alike = f" and {copies} that vote like one of them" if copies else ""
        raise ValueError(
            f"ensemble: got {voting} rules that vote{alike}, expected at least "
            f"{method.least_rules} for model {method.kind!r}; add rules of other columns, or set "
            'ensemble.model.kind = "majority"'
        )
    if method.most_classes and moments.classes > method.most_classes:
        raise ValueError(
            f"ensemble: got {moments.classes} classes, expected {method.most_classes} for model "
            f'{method.kind!r}; take one that has any number, such as "dawid_skene"'
        )
