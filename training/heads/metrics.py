"""How good a head is on pictures it was not fitted on."""

import numpy as np
from numpy.typing import NDArray

from filters.auc import auc

BINS = 10


def judge(
    task: str, predicted_N: NDArray[np.floating], target_N: NDArray[np.floating]
) -> dict[str, float]:
    """Return the metrics of a task, `logistic` (probabilities) or `ridge` (quantities)."""
    predicted, target = np.asarray(predicted_N, np.float64), np.asarray(target_N, np.float64)
    if task == "logistic":
        predicted = predicted.clip(0, 1)  # a weighted sum may be a bit outside
        return {
            "auc": auc(predicted[target == 1], predicted[target == 0]),
            "accuracy": float(np.mean((predicted >= 0.5) == (target == 1))),  # noqa: PLR2004
            "larger_class": float(max(target.mean(), 1 - target.mean())),
            "calibration_error": calibration_error(predicted, target),
        }
    return {
        "r2": r2(predicted, target),
        "rmse": float(np.sqrt(np.mean((predicted - target) ** 2))),
    }


def calibration_error(probability_N: NDArray[np.float64], label_N: NDArray[np.float64]) -> float:
    """Return how far probabilities are from shares on average, over ten bins of equal width.

    The expected calibration error (Guo et al., arXiv:1706.04599, eq. 3), in [0, 1].
    """
    bin_N = np.minimum((probability_N * BINS).astype(np.int64), BINS - 1)
    gap_N = probability_N - label_N
    return float(np.abs(np.bincount(bin_N, gap_N, minlength=BINS)).sum() / len(gap_N))


def r2(predicted_N: NDArray[np.float64], target_N: NDArray[np.float64]) -> float:
    """Return the share of the variance that is explained; 0 is no better than the mean."""
    residual, total = target_N - predicted_N, target_N - target_N.mean()
    return float(1 - residual @ residual / (total @ total))
