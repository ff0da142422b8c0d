"""Votes weighed by penalised logistic regression on a few labels.

Letters: P patterns, M rules, K classes, X features (rule by vote).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from filters.ensemble.labelled import Labelled
from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.supervised import (
    FOLDS,
    accuracies,
    asked,
    deal,
    require_each_class,
    shares,
)
from filters.ensemble.model import Bayes

PENALTIES = tuple(10.0 ** (power / 2) for power in range(0, -11, -1))  # of the mean loss
SEARCH = {"maxiter": 200, "gtol": 1e-5, "ftol": 1e-9}  # of L-BFGS, to compare penalties
FINAL = {"maxiter": 1000, "gtol": 1e-10, "ftol": 1e-16}


@dataclass(frozen=True, kw_only=True, slots=True)
class Logistic(Method):
    """Logistic regression on which vote each rule casts; an abstention is the reference, zero.

    What it fits are evidences, as of a naive Bayes model, but jointly: of two rules that say the
    same thing it counts one. A row's score is log prior + evidences of its votes + a constant; the
    constant of the fit, less the log share of each class among the labels, is spread evenly over
    the rules' tables, abstentions included, so the model is a `Bayes` whose prior is the pool's.
    That is exact where labelled rows of a class look like the pool's rows of that class.

    Attributes:
        l2: Penalty, of the mean loss, on half the square of each evidence; 0 has
            cross-validation choose it.
    """

    needs_labels: ClassVar[bool] = True
    most_classes: ClassVar[int] = 0
    kind: Literal["logistic"] = "logistic"
    l2: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a penalty below 0."""
        if not 0 <= self.l2 < float("inf"):
            raise ValueError(f"logistic: got l2 = {self.l2}, expected a number from 0 on")

    def fit(self, known: Known) -> Bayes:
        """Fit it on labelled patterns.

        Raises:
            ValueError: A class has fewer labels than there are folds.
        """
        labelled = known.labelled
        assert labelled is not None
        require_each_class(labelled, least=FOLDS, kind=self.kind)
        # One thread: how sums are split over threads would show in their last bits.
        with threadpool_limits(1):
            curve = {} if self.l2 > 0 else _curve(labelled)
            l2 = self.l2 or min(curve, key=lambda penalty: (curve[penalty], -penalty))
            weight_MKK, bias_K = solve(labelled.votes_PM, labelled.count_PK, l2=l2)
        constant_K = (bias_K - np.log(shares(labelled))) / known.moments.rules
        evidence = np.concatenate([np.zeros_like(weight_MKK[:, :1]), weight_MKK], axis=1)
        evidence += constant_K - constant_K.mean()
        return Bayes(
            kind=self.kind,
            prior=tuple(known.prior_K.tolist()),
            accuracy=accuracies(labelled),
            share=(1.0,) * known.moments.rules,
            told={
                "labels": int(labelled.of_class.sum()),
                "l2": l2,
                "curve": {f"{penalty:.3g}": loss for penalty, loss in curve.items()},
            },
            evidence=tuple(tuple(tuple(row) for row in table) for table in evidence.tolist()),
        )


def solve(
    votes_PM: NDArray[np.int8],
    count_PK: NDArray[np.int64],
    *,
    l2: float,
    until: Mapping[str, float] = MappingProxyType(FINAL),
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights, float64 [M, K, K], and constants, [K], of least penalised mean loss."""
    from scipy.optimize import minimize

    (rules, classes), rows = (votes_PM.shape[1], count_PK.shape[1]), count_PK.sum()
    features_PX = asked(votes_PM, classes).astype(np.float64)
    share_PK, count_P1 = count_PK / rows, count_PK.sum(axis=1, keepdims=True) / rows

    def value_and_gradient(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight_XK, bias_K = _split(theta, classes)
        log_PK = _log_softmax(features_PX @ weight_XK + bias_K)
        excess_PK = count_P1 * np.exp(log_PK) - share_PK
        value = l2 / 2 * (weight_XK**2).sum() - (share_PK * log_PK).sum()
        gradient_XK = features_PX.T @ excess_PK + l2 * weight_XK
        return float(value), np.concatenate([gradient_XK.ravel(), excess_PK.sum(axis=0)])

    start_K = np.log(np.maximum(count_PK.sum(axis=0), 0.5) / rows)
    start = np.concatenate([np.zeros(rules * classes * classes), start_K])
    found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=dict(until))
    weight_XK, bias_K = _split(found.x, classes)
    return weight_XK.reshape(rules, classes, classes), bias_K


def _curve(labelled: Labelled) -> dict[float, float]:
    """Return the mean loss on folds left out, by penalty."""
    features_PX = asked(labelled.votes_PM, labelled.classes).astype(np.float64)
    curve = dict.fromkeys(PENALTIES, 0.0)
    for left_out_PK in deal(labelled):
        for l2 in PENALTIES:
            known_PK = labelled.count_PK - left_out_PK
            weight_MKK, bias_K = solve(labelled.votes_PM, known_PK, l2=l2, until=SEARCH)
            weight_XK = weight_MKK.reshape(-1, labelled.classes)
            log_PK = _log_softmax(features_PX @ weight_XK + bias_K)
            curve[l2] -= float((left_out_PK * log_PK).sum()) / int(labelled.of_class.sum())
    return curve


def _split(
    theta: NDArray[np.float64], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return theta[:-classes].reshape(-1, classes), theta[-classes:]


def _log_softmax(score_PK: NDArray[np.float64]) -> NDArray[np.float64]:
    score_PK = score_PK - score_PK.max(axis=1, keepdims=True)
    return score_PK - np.log(np.exp(score_PK).sum(axis=1, keepdims=True))
