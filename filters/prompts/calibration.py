"""Contextual calibration: what a model says of nothing is its bias.

Shape letters: K answers or classes; `...` any number of leading dimensions.
"""

import numpy as np
from numpy.typing import NDArray

# Stand-ins for every field (Zhao et al., arXiv:2102.09690, and arXiv:2205.02318). A vision model
# gets a blank picture with each.
CONTENT_FREE = ("N/A", "", "[MASK]", "NULL", "<|endoftext|>")
BLANK = 255  # of every channel: white, as the ground that pictures are laid on


def calibrate(p: NDArray[np.floating], p_cf: NDArray[np.floating]) -> NDArray[np.float64]:
    """Divide probabilities by those of content-free inputs and normalise again.

    An input that is answered as the content-free ones are gets exactly 1 / K everywhere. The
    largest value is the calibrated answer.

    Args:
        p: Probabilities [..., K].
        p_cf: Mean probabilities of the content-free inputs, [K] or anything that broadcasts.

    Returns:
        float64 [..., K], each row with the sum 1.

    Raises:
        ValueError: A content-free probability is not above 0, or a row of `p` has no positive one.
    """
    p, p_cf = np.asarray(p, np.float64), np.asarray(p_cf, np.float64)
    if not (p_cf > 0).all():
        raise ValueError(
            f"calibrate: got a content-free probability of {p_cf.min()}, expected all above 0; "
            "give what was never seen a small one"
        )
    weighed = p / p_cf
    total = weighed.sum(axis=-1, keepdims=True)
    if not (total > 0).all():
        raise ValueError("calibrate: got a row without a positive probability, expected at least 1")
    return weighed / total
