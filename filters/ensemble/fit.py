"""`fit_label_model`: votes, or counts of them, in; a label model out.

Letters: N rows, M rules, K classes.
"""

from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.labelled import Labelled
from filters.ensemble.methods import AnyMethod, Known, Method
from filters.ensemble.model import LabelModel
from filters.ensemble.moments import Moments
from filters.ensemble.patterns import PatternCounts, count

Votes = NDArray[np.int8] | PatternCounts | Moments
Prior = float | str | Sequence[float]


def fit_label_model(
    votes: Votes,
    *,
    model: str | Method = "triplet",
    prior: Prior = 0.5,
    seed: int = 0,
    labelled: Labelled | None = None,
    share_copies: bool = True,
) -> LabelModel:
    """Fit how much each rule's votes say.

    Args:
        votes: int8 [N, M] of two classes, distinct patterns and how often they occur, or, where
            those were too many, pairs of votes.
        model: A method with its settings, or the kind of one.
        prior: P(keep), or K class probabilities; what a row without votes gets.
        seed: Of whatever is random.
        labelled: A few rows with labels.
        share_copies: Rules that nearly always vote alike share the weight of one.

    Raises:
        ValueError: The prior is no probability, there are no rows, or the method cannot be fitted
            on what there is.
    """
    del share_copies
    counts, moments = _statistics(votes)
    method = model if isinstance(model, Method) else _named(model)
    if moments.rows == 0:
        raise ValueError("ensemble: got no rows to vote on, expected at least one usable pair")
    known = Known(counts, moments, labelled, _prior(prior, moments.classes), seed)
    _require(method, known)
    return method.fit(known)


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


def _prior(prior: Prior, classes: int) -> NDArray[np.float64]:
    """Return K class probabilities."""
    given = [1 - prior, prior] if isinstance(prior, float | int) else list(prior)
    prior_K = np.array(given, np.float64)
    if len(prior_K) != classes or not (prior_K > 0).all() or not np.isclose(prior_K.sum(), 1):
        raise ValueError(
            f"ensemble: got prior {prior}, expected a number between 0 and 1, or of each of "
            f"{classes} classes one, that add up to 1"
        )
    return prior_K


def _require(method: Method, known: Known) -> None:
    """Refuse what a method cannot be fitted on."""
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
        raise ValueError(
            f"ensemble: got {voting} rules that vote, expected at least {method.least_rules} for "
            f'model {method.kind!r}; add rules, or set ensemble.model.kind = "majority"'
        )
    if method.most_classes and moments.classes > method.most_classes:
        raise ValueError(
            f"ensemble: got {moments.classes} classes, expected {method.most_classes} for model "
            f'{method.kind!r}; take one that has any number, such as "dawid_skene"'
        )
