"""What each concept should have, and at least: by density, evenly, by size, by a global cut.

Density is that of Abbas et al. (arXiv:2401.04578, section 3); a global cut with a share for each
concept is self-supervised prototypes (Sorscher et al., arXiv:2206.14486) as balanced there.
Letters: K concepts.
"""

import math
from bisect import bisect_right
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from filters.concepts.quotas import allocate

By = Literal["density", "uniform", "size", "ssp"]


def quotas_of(
    by: By,
    *,
    size_K: NDArray[np.int64],
    complexity_K: NDArray[np.float64],
    above_K: NDArray[np.int64] | None = None,
    total: int,
    temperature: float,
    balance: float,
    minimum: int,
) -> NDArray[np.int64]:
    """Return how many pairs each concept keeps, int64 [K], `total` in all.

    Args:
        by: Which targets: `density` (`targets`), `uniform` (the same for all), `size` (in
            proportion to it), `ssp` (`above_K`).
        size_K: Members of each concept.
        complexity_K: For `density`, see `complexity`.
        above_K: For `ssp`, the members of each that are among the `total` hardest of all.
        total: Pairs to keep, at most all.
        temperature: Of `density`.
        balance: r, see `lower_bounds`.
        minimum: See `lower_bounds`.

    Raises:
        ValueError: There are fewer pairs than `total`, or `ssp` without counts.
    """
    if by == "density":
        target_K = targets(complexity_K, total=total, temperature=temperature)
    elif by == "uniform":
        target_K = _share(np.ones(len(size_K)), total)
    elif by == "size":
        target_K = _share(size_K.astype(np.float64), total)
    elif above_K is not None:
        target_K = above_K.astype(np.float64)
    else:
        raise ValueError("quotas: got no counts, expected members above the global cut for 'ssp'")
    lower_K = lower_bounds(size_K, total=total, balance=balance, minimum=minimum)
    return allocate(target_K, lower=lower_K, upper=size_K, total=total)


def targets(
    complexity_K: NDArray[np.float64], *, total: int, temperature: float
) -> NDArray[np.float64]:
    """Share `total` by a softmax over complexities, float64 [K] (section 3 of the paper).

    Raises:
        ValueError: A complexity is not finite, or the temperature not above 0.
    """
    if not np.isfinite(complexity_K).all() or not temperature > 0:
        raise ValueError(
            f"targets: got {np.count_nonzero(~np.isfinite(complexity_K))} complexities that are "
            f"not finite and a temperature of {temperature}, expected none and one above 0"
        )
    if not len(complexity_K):
        return np.empty(0)
    with np.errstate(over="ignore", under="ignore"):  # far below the highest: a share of 0
        weight_K = np.exp((complexity_K - complexity_K.max()) / temperature)
    return _share(weight_K, total)


def lower_bounds(
    size_K: NDArray[np.int64], *, total: int, balance: float, minimum: int
) -> NDArray[np.int64]:
    """Return the least that each concept keeps, int64 [K]: min(m, size - 1), never below 0.

    m is the larger of `minimum` and floor(r total / K); with r = 0 and a minimum of 1 it is that of
    the paper's code. Where `total` is too small for all of them, m is lowered until they fit.

    Args:
        size_K: Members of each concept.
        total: Pairs to keep.
        balance: r, the share of an even split that each concept has at least.
        minimum: Pairs.
    """
    room_K = np.maximum(size_K - 1, 0)
    wanted = max(minimum, math.floor(balance * total / max(len(size_K), 1)))
    wanted = min(wanted, int(room_K.max(initial=0)))  # more is no more for anyone
    fits = bisect_right(
        range(1, wanted + 1), total, key=lambda least: int(np.minimum(room_K, least).sum())
    )
    return np.minimum(room_K, fits)


def _share(weight_K: NDArray[np.float64], total: int) -> NDArray[np.float64]:
    """Split `total` in proportion; the sum is exact, whatever the order of concepts."""
    whole = math.fsum(weight_K)
    return weight_K * (total / whole) if whole > 0 else np.zeros(len(weight_K))
