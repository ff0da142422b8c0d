"""Votes weighed by least squares on a few labels.

Letters: P patterns, M rules, K classes.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.forms import Linear, centred_votes
from filters.ensemble.labelled import Labelled
from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.supervised import accuracies, shares
from filters.ensemble.model import LabelModel, Share


@dataclass(frozen=True, kw_only=True, slots=True)
class LeastSquares(Method):
    """A straight line in the votes, fitted to 0 and 1 by ridge regression, with a free bias.

    The bias is profiled out: centred votes are fitted to centred labels. Weights that are not
    negative (Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23) hold a stack of
    few labels together: no rule is turned against what it was written for. All that is read of
    the labels is M x M sums. With too few labels it counts votes, every rule alike.

    Attributes:
        negative: Let weights be negative; with `l2 = 0` that is ordinary least squares.
        l2: Ridge, in labelled rows: about as many rows that say a weight is 0.
        least: Labels below which, or without one of each class, votes are only counted.
    """

    needs_labels: ClassVar[bool] = True
    most_classes: ClassVar[int] = 0
    kind: Literal["least_squares"] = "least_squares"
    negative: bool = False
    l2: float = 1.0
    least: int = 50

    def __post_init__(self) -> None:
        """Refuse a penalty below 0."""
        if not 0 <= self.l2 < float("inf"):
            raise ValueError(f"least_squares: got l2 = {self.l2}, expected a number from 0 on")

    def fit(self, known: Known) -> LabelModel:
        """Fit it on labelled patterns."""
        labelled = known.labelled
        assert labelled is not None
        labels = int(labelled.of_class.sum())
        about = {
            "kind": self.kind,
            "prior": tuple(known.prior_K.tolist()),
            "accuracy": accuracies(labelled),
            "share": (1.0,) * known.moments.rules,
        }
        if labels < self.least or labelled.of_class.min() == 0:
            told = {
                "labels": labels,
                "fallback": f"mean of the votes: got {labels} labels, expected {self.least} or "
                "more, and some of each class",
            }
            return Share(**about, told=told, weight=(1.0,) * known.moments.rules)
        weight_M, bias_K = self._line(labelled)
        return Linear(
            **about,
            told={"labels": labels},
            weight=tuple(weight_M.tolist()),
            bias=tuple(bias_K.tolist()),
            labelled=tuple(shares(labelled).tolist()),
        )

    def _line(self, labelled: Labelled) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weights, float64 [M], and biases, float64 [K], of least squares."""
        rules, classes = labelled.votes_PM.shape[1], labelled.classes
        count_P = labelled.count_PK.sum(axis=1)
        rows = count_P.sum()
        votes_MPK = np.stack(
            [centred_votes(labelled.votes_PM[:, m], classes) for m in range(rules)]
        )
        mean_MK = np.einsum("mpk,p->mk", votes_MPK, count_P) / rows
        mean_K = labelled.of_class / rows
        flat_MX = votes_MPK.reshape(rules, -1)
        square_MM = (flat_MX * np.repeat(count_P, classes)) @ flat_MX.T
        square_MM += self.l2 * np.eye(rules) - rows * mean_MK @ mean_MK.T
        target_M = flat_MX @ labelled.count_PK.ravel() - rows * mean_MK @ mean_K
        weight_M = _solve(square_MM, target_M, negative=self.negative)
        return weight_M, mean_K - weight_M @ mean_MK


def _solve(
    square_MM: NDArray[np.float64], target_M: NDArray[np.float64], *, negative: bool
) -> NDArray[np.float64]:
    """Return the w of least w' A w / 2 - t' w; the shortest one where several are."""
    from scipy.optimize import nnls

    values_M, axes_MM = np.linalg.eigh(square_MM)
    known_M = values_M > values_M.max(initial=0.0) * len(values_M) * np.finfo(np.float64).eps
    root_M = np.sqrt(np.where(known_M, values_M, 1.0))
    axes_XM, root_X = axes_MM.T[known_M], root_M[known_M]
    along_X = axes_XM @ target_M / root_X
    if negative:
        return axes_XM.T @ (along_X / root_X)
    return nnls(root_X[:, None] * axes_XM, along_X)[0]
