"""A fit on one rule of each group of rules that vote alike, and evidence for all of them.

Each rule of a group stands in for it in one fit, and gets what that fit says of it: so the forms of
a label model stay as they are, and any method can be fitted this way, on patterns or on moments.
Letters: P patterns, M rules, K classes; X is a vote, X = 0 abstain and X = 1 + k class k.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.groups import BINARY, within_class
from filters.ensemble.labelled import Labelled
from filters.ensemble.methods import Known, Method
from filters.ensemble.model import Bayes, LabelModel, Share
from filters.ensemble.moments import Moments
from filters.ensemble.patterns import PatternCounts, decode, distinct, encode

Groups = Sequence[Sequence[int]]
AGAINST = 0.05  # of its votes, by which a rule has to speak against itself


def fit_stand_ins(method: Method, known: Known, groups: Groups) -> LabelModel:
    """Fit a method once per place in a group, and put the rules together again.

    In a group every rule counts by 1 / (the sum of its correlations with all of the group, itself
    among them, within a class): 1 / g for g copies, more for cuts of one column that are far apart.
    """
    rounds = [[group[at % len(group)] for group in groups] for at in range(max(map(len, groups)))]
    fits = [method.fit(only(known, rules)) for rules in rounds]
    first, everyone = fits[0], known.moments.rules
    if len(rounds) == 1 or not isinstance(first, Bayes | Share):
        return first if len(rounds) == 1 else method.fit(known)
    accuracy_M = _mean(rounds, [fit.accuracy for fit in fits], everyone)
    if isinstance(first, Share):
        share_M = _shares(known.moments, groups, np.zeros(everyone), 0.0)
        weight_M = share_M * _mean(
            rounds, [f.weight for f in fits if isinstance(f, Share)], everyone
        )
        form = replace(first, weight=tuple(weight_M.tolist()))
    else:
        evidence_MXK = _mean(rounds, [f.evidence for f in fits if isinstance(f, Bayes)], everyone)
        difference_M = _by_class(evidence_MXK, known.moments, known.prior_K)
        variance = float(known.prior_K[0] * known.prior_K[-1])
        share_M = _shares(known.moments, groups, difference_M, variance)
        tables = (evidence_MXK * share_M[:, None, None]).tolist()
        form = replace(first, evidence=tuple(tuple(map(tuple, table)) for table in tables))
    return replace(form, accuracy=tuple(accuracy_M.tolist()), share=tuple(share_M.tolist()))


def only(known: Known, rules: Sequence[int]) -> Known:
    """Return what is known of some of the rules."""
    chosen = list(rules)
    pair = known.moments.pair_MKMK[chosen][:, :, chosen]
    counts, labelled = known.counts, known.labelled
    if counts is not None:
        votes_PM, position_P = _merged(counts.votes_PM[:, chosen], counts.classes)
        count_P = np.zeros(len(votes_PM), np.int64)
        np.add.at(count_P, position_P, counts.count_P)
        counts = PatternCounts(votes_PM, count_P, counts.classes)
    if labelled is not None:
        votes_PM, position_P = _merged(labelled.votes_PM[:, chosen], labelled.classes)
        count_PK = np.zeros((len(votes_PM), labelled.classes), np.int64)
        np.add.at(count_PK, position_P, labelled.count_PK)
        labelled = Labelled(votes_PM, count_PK)
    moments = Moments(known.moments.rows, pair, known.moments.classes)
    return replace(known, counts=counts, moments=moments, labelled=labelled)


def _merged(votes_PM: NDArray[np.int8], classes: int) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Return the distinct patterns of fewer rules, and where each pattern went."""
    key_PW, position_P = distinct(encode(votes_PM, classes=classes))
    return decode(key_PW, rules=votes_PM.shape[1], classes=classes), position_P


def _mean(rounds: Groups, values: Sequence[Any], rules: int) -> NDArray[np.float64]:
    """Average what fits say of each rule, over those that it took part in."""
    arrays = [np.array(value, np.float64) for value in values]
    total = np.zeros((rules, *arrays[0].shape[1:]))
    times = np.zeros((rules, *[1] * (total.ndim - 1)))
    for chosen, array in zip(rounds, arrays, strict=True):
        total[list(chosen)] += array
        times[list(chosen)] += 1
    return total / times


def adversarial(model: LabelModel, moments: Moments) -> list[int]:
    """Return the rules that vote keep more often where pairs are bad, by what a model has learned.

    An accuracy below 0.5 does not say so yet: where few pairs are good, most keep votes of a rule
    that knows something are wrong as well.
    """
    if not isinstance(model, Bayes) or moments.classes != BINARY:
        return []
    difference_M = _by_class(np.array(model.evidence), moments, np.array(model.prior))
    coverage_M = moments.votes.sum(axis=1) / moments.rows
    return np.flatnonzero(difference_M < -AGAINST * coverage_M).tolist()


def _by_class(
    evidence_MXK: NDArray[np.float64], moments: Moments, prior_K: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return E[vote as a number | good] - E[... | bad] of each rule.

    Evidence has the odds of each vote between classes, moments how often it is cast.
    """
    odds_MXK = np.exp(evidence_MXK - evidence_MXK.max(axis=2, keepdims=True))
    share_MK = moments.votes / moments.rows
    given_MVK = share_MK[:, :, None] * odds_MXK[:, 1:] / (odds_MXK[:, 1:] @ prior_K)[:, :, None]
    signed_MK = given_MVK[:, -1] - given_MVK[:, 0]
    return signed_MK[:, -1] - signed_MK[:, 0]


def _shares(
    moments: Moments, groups: Groups, difference_M: NDArray[np.float64], variance: float
) -> NDArray[np.float64]:
    """Return by how much each rule of a group counts."""
    share_M = np.ones(moments.rules)
    if moments.classes == BINARY:
        correlation_MM = within_class(moments, difference_M, variance)
    else:
        correlation_MM = np.ones((moments.rules, moments.rules))
    for group in groups:
        share_M[list(group)] = 1 / correlation_MM[np.ix_(group, group)].sum(axis=1)
    return share_M
