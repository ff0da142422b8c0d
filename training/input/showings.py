"""How often each pair is shown in an epoch: once, by its copies, or by its weight.

Letters: N pairs, M of them shown at all, C classes of pairs that are shown equally often.
"""

import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.fingerprint import fingerprint
from pipeline.pairs import Pairs
from pipeline.staging import reserve

PER_WEIGHT = 256  # showings of a pair of weight 1, before common factors go
MOST = 1 << 20  # showings of one pair in an epoch
SOME = 1 << 20  # pairs that are looked at at a time


@dataclass(frozen=True, slots=True)
class Showings:
    """Pairs by how often they are shown.

    Attributes:
        often_C: Showings of each pair of a class in an epoch, int64 [C], ascending, at least 1.
        start_C: Where each class begins among the M pairs and, last, M; int64 [C + 1].
        row_M: Rows of the pairs, class after class; None where they are all rows in order.
    """

    often_C: NDArray[np.int64]
    start_C: NDArray[np.int64]
    row_M: NDArray[Any] | None = None

    @property
    def shown(self) -> int:
        """Showings in an epoch."""
        return int((np.diff(self.start_C) * self.often_C).sum())

    @property
    def most(self) -> int:
        """Showings of the pair that is shown most."""
        return int(self.often_C[-1])

    def rows(self, place_n: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows at places among the M pairs, int64 [n]."""
        return place_n if self.row_M is None else self.row_M[place_n].astype(np.int64)


def once_each(pairs: int) -> Showings:
    """Show so many pairs once an epoch."""
    return Showings(np.ones(1, np.int64), np.array([0, pairs]))


def showings_of(pairs: Pairs, *, subset: int = 0, weight: str = "") -> Showings:
    """Return how often the pairs of a subset are shown.

    Two copies are shown twice an epoch, and a pair of weight 0.5 half as often as one of weight 1.
    With weights an epoch is as long as it takes until that is exact to one in 512.

    Args:
        pairs: With the subset's copies, and the weight.
        subset: Number of the subset among those that the index was made of.
        weight: One of the pairs' weights; `""` for none.

    Raises:
        ValueError: There is no such weight, all are 0, or one is far above 1.
    """
    if weight and weight not in pairs.weights:
        raise ValueError(
            f"sampling.weight: got {weight!r}, expected one of {', '.join(pairs.weights) or 'none'}"
            "; have the index built with it"
        )
    counted = Counter[int]()
    for _, often_n in _often(pairs, subset, weight):
        values, count = np.unique(often_n, return_counts=True)
        counted.update(dict(zip(values.tolist(), count.tolist(), strict=True)))
    counted.pop(0, 0)
    if not counted:
        raise ValueError("pairs: got none, expected at least one; loosen the rules")
    often_C = np.array(sorted(counted), np.int64)
    if often_C[-1] > MOST:
        raise ValueError(
            f"sampling.weight: got one of {often_C[-1] / PER_WEIGHT}, expected at most "
            f"{MOST / PER_WEIGHT}; divide the weights by their mean"
        )
    start_C = np.concatenate([[0], np.cumsum([counted[often] for often in often_C.tolist()])])
    is_all = len(often_C) == 1 and start_C[-1] == len(pairs)
    row_M = None if is_all else _rows(pairs, subset, weight, often_C, start_C)
    return Showings(often_C // np.gcd.reduce(often_C), start_C, row_M)


def _often(pairs: Pairs, subset: int, weight: str) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield where some pairs begin, and how often each is shown."""
    for start in range(0, len(pairs), SOME):
        some = slice(start, start + SOME)
        copies = pairs.copies[subset][some] if pairs.copies else None
        often_n = np.ones(len(pairs.size_N[some]), np.int64) if copies is None else copies
        if weight:
            often_n = np.rint(often_n * pairs.weights[weight][some].astype(np.float64) * PER_WEIGHT)
        yield start, often_n.astype(np.int64)


def _rows(
    pairs: Pairs, subset: int, weight: str, often_C: NDArray[np.int64], start_C: NDArray[np.int64]
) -> NDArray[Any]:
    """Return the rows of the pairs that are shown, class after class; beside the index on disk."""
    dtype = np.dtype("<u4" if len(pairs) <= 2**32 else "<i8")
    if not pairs.home:
        return _sort(pairs, subset, weight, often_C, start_C, np.empty(start_C[-1], dtype))
    name = fingerprint("showings", subset=subset, weight=weight, per=PER_WEIGHT)
    path = Path(pairs.home) / f"showings-{name}.npy"
    if not path.exists():
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            shape = (int(start_C[-1]),)
            sink = np.lib.format.open_memmap(draft, mode="w+", dtype=dtype, shape=shape)
            with draft.open("r+b") as file:
                reserve(file.fileno(), draft.stat().st_size, place=pairs.home)
            _sort(pairs, subset, weight, often_C, start_C, sink).flush()
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _sort(
    pairs: Pairs, subset: int, weight: str, often_C: NDArray[np.int64],
    start_C: NDArray[np.int64], row_M: Any,
) -> Any:  # fmt: skip
    """Fill in the rows of each class, in order, some pairs at a time."""
    next_C = start_C[:-1].copy()
    for start, often_n in _often(pairs, subset, weight):
        class_n = np.searchsorted(often_C, often_n)
        order_n = np.argsort(np.where(often_n > 0, class_n, -1), kind="stable")
        order_n = order_n[int((often_n == 0).sum()) :]
        count_C = np.bincount(class_n[order_n], minlength=len(often_C))
        ends = np.cumsum(count_C)
        for c in np.flatnonzero(count_C).tolist():
            rows = start + order_n[ends[c] - count_C[c] : ends[c]]
            row_M[next_C[c] : next_C[c] + len(rows)] = rows
        next_C += count_C
    return row_M
