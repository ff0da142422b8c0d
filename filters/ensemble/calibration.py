"""Is p(keep) a probability: of the pairs that get 0.8, are 80 % good?

Everything is read from counts of labels by value of p, so rows and patterns give the same numbers,
in whatever order they come. Letters: N rows, V distinct values of p, B bins.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.labelled import Labelled
from filters.ensemble.model import LabelModel

TWO_SIDED_95 = 1.959963984540054  # standard deviations, two sides
LEAST_P = 1e-15  # a logarithm of less is not taken


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of each value of p.

    Attributes:
        p_V: Distinct values of p(keep), ascending, float64 in [0, 1].
        keep_V: Rows that are to be kept, int64.
        count_V: Rows, int64.
    """

    p_V: NDArray[np.float64]
    keep_V: NDArray[np.int64]
    count_V: NDArray[np.int64]

    @classmethod
    def of(cls, p_N: NDArray[np.floating], label_N: NDArray[np.integer]) -> "Outcomes":
        """Count N rows with labels 0 and 1.

        Raises:
            ValueError: There are none, or a p is no probability, or a label neither 0 nor 1.
        """
        if not np.isin(label_N, (0, 1)).all():
            raise ValueError("calibration: got a label other than 0 and 1, expected one of these")
        ones_N = np.ones(len(label_N), np.int64)
        return cls._counted(np.asarray(p_N, np.float64), np.asarray(label_N, np.int64), ones_N)

    @classmethod
    def of_patterns(cls, model: LabelModel, labelled: Labelled) -> "Outcomes":
        """Count what a label model of two classes says of labelled patterns."""
        p_P = model.predict(labelled.votes_PM)
        return cls._counted(p_P, labelled.count_PK[:, -1], labelled.count_PK.sum(axis=1))

    @classmethod
    def _counted(
        cls, p_N: NDArray[np.float64], keep_N: NDArray[np.int64], count_N: NDArray[np.int64]
    ) -> "Outcomes":
        if not (count_N > 0).any() or not ((p_N >= 0) & (p_N <= 1)).all():
            raise ValueError(
                f"calibration: got {int(count_N.sum())} rows, expected at least one, and p(keep) "
                "in [0, 1] for each; leave out rows without"
            )
        p_V, place_N = np.unique(p_N[count_N > 0], return_inverse=True)
        keep_V, count_V = np.zeros((2, len(p_V)), np.int64)
        np.add.at(keep_V, place_N, keep_N[count_N > 0])
        np.add.at(count_V, place_N, count_N[count_N > 0])
        return cls(p_V, keep_V, count_V)

    @property
    def rows(self) -> int:
        """Rows, N."""
        return int(self.count_V.sum())


@dataclass(frozen=True, slots=True)
class Reliability:
    """A reliability curve; bins without rows are left out.

    Attributes:
        mean_B: Mean p(keep).
        share_B: Share of rows that are to be kept.
        count_B: Rows, int64.
        low_B: Lower end of the share's Wilson interval of 95 %.
        high_B: Upper end.
    """

    mean_B: NDArray[np.float64]
    share_B: NDArray[np.float64]
    count_B: NDArray[np.int64]
    low_B: NDArray[np.float64]
    high_B: NDArray[np.float64]

    @property
    def expected_error(self) -> float:
        """Mean distance of share and p over rows (expected calibration error)."""
        gap_B = np.abs(self.share_B - self.mean_B)
        return float((gap_B * self.count_B).sum() / self.count_B.sum())

    @property
    def greatest_error(self) -> float:
        """Greatest distance of share and p over bins (maximum calibration error)."""
        return float(np.abs(self.share_B - self.mean_B).max())


def reliability(
    outcomes: Outcomes, *, bins: int = 10, by: Literal["width", "count"] = "width"
) -> Reliability:
    """Return the reliability curve in bins of equal width, or of as equal a count as ties allow.

    A bin of equal width has its upper edge and not its lower one; the first has both. In bins of
    equal count rows with the same p share a bin: the one that their middle row belongs to.
    """
    if bins < 1:
        raise ValueError(f"calibration: got {bins} bins, expected at least 1")
    if by == "width":
        bin_V = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], outcomes.p_V)
    else:
        twice_middle_V = 2 * np.cumsum(outcomes.count_V) - outcomes.count_V
        bin_V = twice_middle_V * bins // (2 * outcomes.rows)
    count_B, keep_B = np.zeros((2, bins), np.int64)
    np.add.at(count_B, bin_V, outcomes.count_V)
    np.add.at(keep_B, bin_V, outcomes.keep_V)
    sum_B = np.bincount(bin_V, outcomes.p_V * outcomes.count_V, bins)
    some_B = count_B > 0
    keep_B, count_B, sum_B = keep_B[some_B], count_B[some_B], sum_B[some_B]
    low_B, high_B = wilson(keep_B, count_B)
    return Reliability(sum_B / count_B, keep_B / count_B, count_B, low_B, high_B)


def brier_score(outcomes: Outcomes) -> float:
    """Return the mean square distance of p(keep) and the label; 0 is best."""
    p_V, keep_V, count_V = outcomes.p_V, outcomes.keep_V, outcomes.count_V
    square = keep_V * (1 - p_V) ** 2 + (count_V - keep_V) * p_V**2
    return float(square.sum() / outcomes.rows)


def log_loss(outcomes: Outcomes) -> float:
    """Return the mean of -log of the probability that the label got, in nats; 0 is best."""
    p_V, keep_V, count_V = outcomes.p_V, outcomes.keep_V, outcomes.count_V
    lost_V = keep_V * _log(p_V) + (count_V - keep_V) * _log(1 - p_V)
    return float(-lost_V.sum() / outcomes.rows)


def wilson(
    hit_B: NDArray[np.integer], count_B: NDArray[np.integer], *, z: float = TWO_SIDED_95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of Wilson's interval of a share (J. Am. Stat. Assoc. 22, 1927).

    Args:
        hit_B: Hits.
        count_B: Trials; of none the interval is 0 to 1.
        z: Half its width in standard deviations.
    """
    safe_B = np.maximum(count_B, 1)
    share_B = hit_B / safe_B
    middle_B = share_B + z**2 / (2 * safe_B)
    half_B = z * np.sqrt(share_B * (1 - share_B) / safe_B + z**2 / (4 * safe_B**2))
    low_B, high_B = ((middle_B + s * half_B) / (1 + z**2 / safe_B) for s in (-1, 1))
    none_B = np.asarray(count_B) == 0
    return np.where(none_B, 0.0, np.maximum(low_B, 0)), np.where(none_B, 1.0, np.minimum(high_B, 1))


def _log(p_V: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(p_V, LEAST_P))
