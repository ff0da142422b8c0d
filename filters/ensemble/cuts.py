"""Where a rule's cut points belong, from what the other rules say or from a few labels.

A column is counted in quantile bins, jointly with p(keep) by the ensemble of the other rules. These
counts are integers that add up over shards; from there on everything is read from B bins, so the
cut points depend neither on sharding nor on who finished first.

Without labels a bin's share of good rows is not what the others say of it on average: they are
unsure themselves. If a column and the votes of the others are independent given the label (which
every label model here assumes of its rules), a bin's mean of p is a + (b - a) times that share,
with a the mean of p over bad rows and b over good ones. Where p is calibrated these are known from
p alone: with s the mean of p, b = E[p^2] / s and a = (s - E[p^2]) / (1 - s).
Letters: N rows, B bins, ascending in the column; D and K cuts between bins, B + 1 of them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.calibration import wilson
from filters.quantiles import quantiles

UNIT = 1 << 24  # of probabilities as integers: 10^11 rows add up without loss
ONE_SIDED_95 = 1.6448536269514722  # standard deviations, one side
LEAST_LABELS = 50  # below that the other rules know more
TAILS = 6  # halvings of the first and of the last bin: few rows may be very bad
LEAST_GAIN = 1e-4  # nats a row; below that a rule would say nothing
LEAST_ODDS = 1.5  # that a vote raises the odds of its class by; "not dropped, so keep" does not


@dataclass(frozen=True, slots=True)
class Histogram:
    """What is known of the rows in each bin of a column; bins without rows are left in.

    Attributes:
        low_B: Least value, float32; infinity without rows.
        high_B: Greatest value, float32; minus infinity without rows.
        count_B: Rows, int64.
        keep_B: Sum of p(keep) by the other rules, in units of 1 / `UNIT`, int64.
        square_B: Sum of its square, likewise.
        said_B2: Rows that the other rules would drop, and keep; int64 [B, 2]. They may be silent.
        label_B2: Rows labelled drop, and keep; int64 [B, 2].
    """

    low_B: NDArray[np.float32]
    high_B: NDArray[np.float32]
    count_B: NDArray[np.int64]
    keep_B: NDArray[np.int64]
    square_B: NDArray[np.int64]
    said_B2: NDArray[np.int64]
    label_B2: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        value_N: NDArray[np.floating],
        p_N: NDArray[np.float64],
        said_N: NDArray[np.integer],
        label_N: NDArray[np.integer],
        *,
        edges: NDArray[np.float32],
    ) -> "Histogram":
        """Count the rows of a shard.

        Args:
            value_N: Of the column; rows of NaN do not count.
            p_N: p(keep) by the other rules.
            said_N: What they would do: 1 keep, 0 drop, -1 they are silent.
            label_N: Labels: 1 keep, 0 drop, -1 none.
            edges: Ascending, B - 1 of them; a bin has its upper edge, not its lower one.
        """
        known_N = ~np.isnan(value_N)
        value_N = np.asarray(value_N, np.float32)[known_N]
        p_N, said_N, label_N = p_N[known_N], said_N[known_N], label_N[known_N]
        bins = len(edges) + 1
        bin_N = np.searchsorted(edges, value_N)
        low_B, high_B = np.full(bins, np.inf, np.float32), np.full(bins, -np.inf, np.float32)
        np.minimum.at(low_B, bin_N, value_N)
        np.maximum.at(high_B, bin_N, value_N)
        return cls(
            low_B,
            high_B,
            np.bincount(bin_N, minlength=bins),
            _sum(bin_N, np.rint(p_N * UNIT).astype(np.int64), bins),
            _sum(bin_N, np.rint(p_N**2 * UNIT).astype(np.int64), bins),
            np.stack([np.bincount(bin_N[said_N == k], minlength=bins) for k in (0, 1)], axis=1),
            np.stack([np.bincount(bin_N[label_N == k], minlength=bins) for k in (0, 1)], axis=1),
        )

    @property
    def downwards(self) -> "Histogram":
        """The same with bins from the greatest value to the least."""
        return Histogram(*(getattr(self, field.name)[::-1] for field in fields(self)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cuts:
    """Chosen cut points, and why.

    Attributes:
        direction: Which end of the column is good.
        keep: From here on a band votes keep; None never.
        drop: From here on it votes drop; None never.
        gain: What its votes tell of a row on average, nats.
        coverage: Share of the rows with a value that it votes on.
        overlap: Share that it and the other rules vote on.
        conflict: Share that it and the other rules disagree on.
        keep_right: Lower bound of 95 % of the share of its keep votes that are right.
        drop_right: Of its drop votes.
        labels: Labels that it was chosen on; 0: on what the other rules say.
    """

    direction: Literal["high", "low"]
    keep: float | None
    drop: float | None
    gain: float
    coverage: float
    overlap: float
    conflict: float
    keep_right: float
    drop_right: float
    labels: int


@dataclass(frozen=True, slots=True)
class Sides:
    """How often votes are right at least, by where a band is cut.

    Attributes:
        base: Share of good rows.
        drop_right_D: Of drop votes on the bins before each cut.
        keep_right_K: Of keep votes on the bins behind it.
        labels: Labels that it is counted on; 0: it is what the other rules say.
    """

    base: float
    drop_right_D: NDArray[np.float64]
    keep_right_K: NDArray[np.float64]
    labels: int


def bin_edges(
    shards: Callable[[], Iterable[NDArray[np.float32]]], *, bins: int = 64
) -> NDArray[np.float32]:
    """Return the distinct values that part a column into bins of about as many rows each.

    The first and the last bin are halved `TAILS` times more.

    Args:
        shards: Called twice; yields arrays. NaN rows do not count.
        bins: At least 2; a column of fewer values has a bin for each.
    """
    if bins < 2:  # noqa: PLR2004
        raise ValueError(f"cuts: got {bins} bins, expected at least 2")
    tails = [0.5**n / bins for n in range(1, TAILS + 1)]
    middle = [number / bins for number in range(1, bins)]
    found = quantiles(shards, sorted([*middle, *tails, *(1 - share for share in tails)]))
    return np.unique(np.array([x for x in found if not np.isnan(x)], np.float32))


def add_up(parts: Sequence[Histogram]) -> Histogram:
    """Add up the bins of shards; the order of the parts does not matter."""
    first, *rest = parts
    for part in rest:
        first = Histogram(
            np.minimum(first.low_B, part.low_B),
            np.maximum(first.high_B, part.high_B),
            first.count_B + part.count_B,
            first.keep_B + part.keep_B,
            first.square_B + part.square_B,
            first.said_B2 + part.said_B2,
            first.label_B2 + part.label_B2,
        )
    return first


def choose_cuts(
    histogram: Histogram, *, direction: Literal["high", "low", "either"] = "either"
) -> Cuts | None:
    """Choose the cut points whose votes tell most of the label.

    What is maximised is coverage weighed by how much a vote moves the probability of its class:

        sum over keep and drop of  (rows that get the vote) / N * KL(right || base)

    with base the share of the class in the pool and right the lower bound of 95 % (one side) of the
    share of these votes that are right; a vote that may raise the odds of its class by less than
    `LEAST_ODDS` counts as nothing: on most rows it would only contradict the other rules.
    That is the mutual information of vote and label without what an abstention would tell, since
    label models read nothing from one. Wider votes cover more and are less right; between the two
    cuts are the rows that would weaken either vote. From `LEAST_LABELS` labels on right is counted
    (Wilson's bound), below it is what the other rules say, as told at the top of this file. All
    pairs of cuts are compared; of equal ones the pair with fewer drop votes is taken.

    Returns:
        None if no cut tells anything.
    """
    if direction == "either":
        found = [choose_cuts(histogram, direction=d) for d in ("high", "low")]
        return max((cuts for cuts in found if cuts), key=lambda cuts: cuts.gain, default=None)
    some_B = histogram.count_B > 0
    bins = Histogram(*(getattr(histogram, field.name)[some_B] for field in fields(histogram)))
    bins = bins if direction == "high" else bins.downwards
    sides = _sides(bins) if len(bins.count_B) else None
    if sides is None:
        return None
    drop_D, keep_K = _gains(bins, sides)
    gain_DK = np.where(np.tri(len(drop_D), k=-1, dtype=bool), -1, drop_D[:, None] + keep_K)
    d, k = map(int, np.unravel_index(int(gain_DK.argmax()), gain_DK.shape))
    if gain_DK[d, k] < LEAST_GAIN:
        return None
    d, k = (d if drop_D[d] > 0 else 0), (k if keep_K[k] > 0 else len(bins.count_B))
    return _cuts(bins, sides, d, k, direction=direction, gain=float(gain_DK.max()))


def _gains(bins: Histogram, sides: Sides) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the drop votes of each cut tell, and the keep votes of each, nats a row."""
    below_D = _below(bins)
    rows = below_D[-1]
    drop_D = below_D / rows * _divergence(sides.drop_right_D, 1 - sides.base)
    keep_K = (rows - below_D) / rows * _divergence(sides.keep_right_K, sides.base)
    return drop_D, keep_K


def _cuts(
    bins: Histogram, sides: Sides, d: int, k: int, *, direction: Literal["high", "low"], gain: float
) -> Cuts:
    """Describe a pair of cuts: the bins before d are dropped, those from k on kept."""
    below_D = _below(bins)
    rows = below_D[-1]
    first_B, last_B = (
        (bins.low_B, bins.high_B) if direction == "high" else (bins.high_B, bins.low_B)
    )
    said_drop, said_keep = bins.said_B2[:d].sum(axis=0), bins.said_B2[k:].sum(axis=0)
    return Cuts(
        direction=direction,
        keep=_short(first_B[k]) if k < len(first_B) else None,
        drop=_short(last_B[d - 1]) if d else None,
        gain=gain,
        coverage=float((below_D[d] + rows - below_D[k]) / rows),
        overlap=float((said_drop.sum() + said_keep.sum()) / rows),
        conflict=float((said_drop[1] + said_keep[0]) / rows),
        keep_right=float(sides.keep_right_K[k]) if k < len(first_B) else float("nan"),
        drop_right=float(sides.drop_right_D[d]) if d else float("nan"),
        labels=sides.labels,
    )


def _below(bins: Histogram) -> NDArray[np.int64]:
    """Return the rows before each cut, int64 [B + 1]."""
    return np.concatenate([[0], np.cumsum(bins.count_B)])


def _sides(bins: Histogram) -> Sides | None:
    """Return how often votes are right; None if the others say the same of all rows."""
    labels_2 = bins.label_B2.sum(axis=0)
    if labels_2.sum() >= LEAST_LABELS and labels_2.min() > 0:
        below_D2 = np.concatenate([np.zeros((1, 2), np.int64), np.cumsum(bins.label_B2, axis=0)])
        above_K2 = labels_2 - below_D2
        drop_right_D, _ = wilson(below_D2[:, 0], below_D2.sum(axis=1), z=ONE_SIDED_95)
        keep_right_K, _ = wilson(above_K2[:, 1], above_K2.sum(axis=1), z=ONE_SIDED_95)
        base, labels = float(labels_2[1] / labels_2.sum()), int(labels_2.sum())
        return Sides(base, drop_right_D, keep_right_K, labels)
    rows, mean = int(bins.count_B.sum()), bins.keep_B.sum() / UNIT / bins.count_B.sum()
    variance = bins.square_B.sum() / UNIT / rows - mean**2
    if variance <= 1 / UNIT or not 0 < mean < 1:
        return None
    apart = variance / (mean * (1 - mean))  # b - a
    below_D = _below(bins)
    said_D = np.concatenate([[0], np.cumsum(bins.keep_B)]) / UNIT
    error_D = ONE_SIDED_95 * np.sqrt(variance / np.maximum(below_D, 1)) / apart
    error_K = ONE_SIDED_95 * np.sqrt(variance / np.maximum(rows - below_D, 1)) / apart
    # Sums of p less what it would be if all rows were of the mean kind, over (b - a).
    excess_D = (said_D - mean * below_D) / apart
    good_D = mean + excess_D / np.maximum(below_D, 1)
    good_K = mean - excess_D / np.maximum(rows - below_D, 1)
    drop_right_D, keep_right_K = 1 - good_D - error_D, good_K - error_K
    return Sides(float(mean), np.clip(drop_right_D, 0, 1), np.clip(keep_right_K, 0, 1), 0)


def _divergence(right: NDArray[np.float64], base: float) -> NDArray[np.float64]:
    """Return KL(right || base) in nats where right is clearly above base, else 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        wrong = np.where(right < 1, (1 - right) * np.log((1 - right) / (1 - base)), 0.0)
        found = right * np.log(right / base) + wrong
    return np.where(right * (1 - base) >= LEAST_ODDS * base * (1 - right), found, 0.0)


def _sum(bin_N: NDArray[np.int64], value_N: NDArray[np.int64], bins: int) -> NDArray[np.int64]:
    """Add up integers by bin, exactly."""
    sum_B = np.zeros(bins, np.int64)
    np.add.at(sum_B, bin_N, value_N)
    return sum_B


def _short(value: np.float32) -> float:
    """Return the number of fewest digits that is this float32."""
    return float(str(value))
