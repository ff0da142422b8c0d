"""How many pairs each concept keeps: the integers nearest to its target, within bounds.

Density-based pruning (Abbas et al., arXiv:2401.04578, section 3) minimises sum((q - target)^2) over
sum(q) = total and lower <= q <= upper with a solver for quadratic programs and rounds what comes
out. The optimality conditions leave one unknown: q = clip(target + shift, lower, upper). So surplus
of full concepts is spread by an equal amount, not in proportion.

Everything after the targets is integer arithmetic, in units of 2^-s of a pair: sums are exact, and
neither the order of concepts nor the machine changes a quota.
Letters: K concepts.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_PAIRS = 2**40  # of a total or a bound; 86 pools of 12.8 billion
MOST_TARGET = 2**58  # above MOST_PAIRS it only takes fractions from all the others
MOST_CONCEPTS = 2**22  # so many values of 40 bits add up to less than 2^63
WORD_BITS = 60  # of 63, as target - lower + shift + room is up to eight times the largest of them
FINEST_BITS = 40  # of the fraction, for the sums


def allocate(
    target: ArrayLike, *, lower: ArrayLike, upper: ArrayLike, total: int
) -> NDArray[np.int64]:
    """Find the integer quotas nearest to the targets, in least squares, that respect the bounds.

    First the real solution: the shift is searched by halving, exactly. Then its floor, and the
    units that are left go to the largest fractions, ties to the lowest id, which is the integer
    solution: the unit that a concept gets last costs the less, the larger its fraction. One more
    in total gives one concept one more and takes from none.

    Targets count to 2^-s of a pair, with s = 40 where nothing is above 2^20 pairs, 26 for concepts
    of up to 1.7e10; float64 would hold target + shift to 2^-19 there.

    Args:
        target: Pairs that each concept should have, float [K]; only differences matter.
        lower: The least that it keeps, integers [K] (or one for all).
        upper: The most, usually its size.
        total: The sum of the quotas.

    Returns:
        Quotas, int64 [K].

    Raises:
        ValueError: A target is not finite, bounds cross or do not admit `total`, or something is
            too large to be exact.
    """
    target_K = np.asarray(target, np.float64)
    if target_K.ndim != 1 or len(target_K) > MOST_CONCEPTS:
        raise ValueError(
            f"quotas: got targets of shape {target_K.shape}, expected one for each concept, at "
            f"most {MOST_CONCEPTS:,}"
        )
    allowed_K = np.abs(target_K) <= MOST_TARGET  # NaN is not
    if not allowed_K.all():
        raise ValueError(
            f"quotas: got a target of {target_K[~allowed_K][0]}, expected numbers up to "
            f"{MOST_TARGET:.0e}"
        )
    lower_K, upper_K = _bounds(lower, target_K), _bounds(upper, target_K)
    least = int(lower_K.sum())
    room_K = np.minimum(upper_K - lower_K, MOST_PAIRS)  # what is to share out is not more
    most = min(least + int(room_K.sum()), least + MOST_PAIRS)
    if (room_K < 0).any() or not least <= total <= most:
        raise ValueError(
            f"quotas: got a total of {total}, expected {least} to {most} with "
            "lower bounds below upper ones; change the share to keep or the minimum per concept"
        )
    return lower_K + _fill(target_K, lower_K, room_K, int(total) - least)


def _bounds(bound: ArrayLike, target_K: NDArray[np.float64]) -> NDArray[np.int64]:
    bound_K = np.asarray(bound)
    if bound_K.size and bound_K.dtype.kind not in "iu":
        raise ValueError(f"quotas: got bounds of {bound_K.dtype}, expected integers")
    if bound_K.ndim and bound_K.shape != target_K.shape:
        raise ValueError(
            f"quotas: got {bound_K.shape} bounds for {target_K.shape} targets, expected as many"
        )
    if bound_K.dtype == np.uint64:
        bound_K = np.minimum(bound_K, np.uint64(2 * MOST_PAIRS))
    bound_K = np.minimum(bound_K.astype(np.int64), 2 * MOST_PAIRS)
    if bound_K.size and int(bound_K.min()) < -MOST_PAIRS:
        raise ValueError(
            f"quotas: got a bound of {bound_K.min()}, expected {-MOST_PAIRS:,} or more"
        )
    return np.broadcast_to(bound_K, target_K.shape)


def _fill(
    target_K: NDArray[np.float64],
    lower_K: NDArray[np.int64],
    room_K: NDArray[np.int64],
    spare: int,
) -> NDArray[np.int64]:
    """Return what each gets above its lower bound, int64 [K], of `spare` in all."""
    if not len(target_K):
        return np.empty(0, np.int64)
    largest = max(float(np.abs(part_K).max()) for part_K in (target_K, lower_K, room_K))
    bits = min(FINEST_BITS, WORD_BITS - int(largest).bit_length())
    wish_K = np.rint(np.ldexp(target_K, bits)).astype(np.int64) - (lower_K << bits)
    full_K = room_K << bits
    shifted_K = wish_K + _shift(wish_K, full_K, spare, bits)
    got_K = np.clip(shifted_K, 0, full_K)
    whole_K = got_K >> bits
    # The exact shift lies less than one unit further on: it moves those that are not at a bound
    # there, which keeps the order of their fractions and takes none to the next integer.
    moves_K = (shifted_K >= 0) & (shifted_K < full_K)
    fraction_K = np.where(moves_K, got_K & ((1 << bits) - 1), -1)
    left = spare - int(whole_K.sum())
    whole_K[np.argsort(-fraction_K, kind="stable")[:left]] += 1
    return whole_K


def _shift(wish_K: NDArray[np.int64], full_K: NDArray[np.int64], spare: int, bits: int) -> int:
    """Find the last shift, in units, at which sum(clip(wish + shift, 0, full)) is not above it."""
    ones = (1 << bits) - 1
    value_K, part_K = np.empty_like(wish_K), np.empty_like(wish_K)
    low, high = -int(wish_K.max()), int((full_K - wish_K).max())
    while low < high:
        middle = (low + high + 1) // 2
        np.clip(np.add(wish_K, middle, out=value_K), 0, full_K, out=value_K)
        whole = int(np.right_shift(value_K, bits, out=part_K).sum())
        fractions = int(np.bitwise_and(value_K, ones, out=part_K).sum())
        if (whole << bits) + fractions <= spare << bits:
            low = middle
        else:
            high = middle - 1
    return low
