"""The area under the ROC curve: how often a good row scores above a bad one."""

import numpy as np
from numpy.typing import NDArray


def auc(good_G: NDArray[np.floating], bad_B: NDArray[np.floating]) -> float:
    """Return the probability that one of G good scores is above one of B bad; ties count half.

    The normalised Mann-Whitney rank sum, in [0, 1]; NaN without scores of either kind.
    """
    if not len(good_G) or not len(bad_B):
        return float("nan")
    sorted_G = np.sort(good_G)
    below_B = np.searchsorted(sorted_G, bad_B, "left") + np.searchsorted(sorted_G, bad_B, "right")
    return float(1 - below_B.mean() / 2 / len(sorted_G))
