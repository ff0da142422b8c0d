"""Some of a pool's pairs with their embeddings: those whose uids draw the lowest numbers.

Letters: R pairs held, K draws, N pairs of a shard.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from filters.derive.pooled import Pooled
from filters.hashing import hashed


@dataclass(frozen=True, slots=True)
class Sample(Pooled):
    """The pairs of the `size` lowest numbers in each of K draws; each pair is held once.

    Attributes:
        size: Pairs of a draw, if there are so many.
        draws: Names of the draws.
        seed: The config's.
        uid_R2: uint64 [R, 2], ascending. Of pairs of one uid that with the lowest bytes is held.
        embeddings: float16 [R, D] each.
    """

    size: int
    draws: tuple[str, ...]
    seed: int
    uid_R2: NDArray[np.uint64]
    embeddings: tuple[NDArray[np.float16], ...]
    _drawn_KR: NDArray[np.uint64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Draw."""
        drawn_KR = [hashed(self.uid_R2, salt=f"{draw}:{self.seed}") for draw in self.draws]
        object.__setattr__(self, "_drawn_KR", np.stack(drawn_KR))

    @classmethod
    def of(
        cls,
        uid_N2: NDArray[np.uint64],
        embeddings: tuple[NDArray[np.float16], ...],
        *,
        size: int,
        draws: tuple[str, ...],
        seed: int,
    ) -> Self:
        """Draw from N pairs."""
        first_R = _distinct(uid_N2, embeddings)
        every = cls(size, draws, seed, uid_N2[first_R], tuple(e[first_R] for e in embeddings))
        return every._only(every._is_low())

    def plus(self, others: Sequence[Self]) -> Self:
        """Draw from all that are held."""
        parts = (self, *others)
        return self.of(
            np.concatenate([p.uid_R2 for p in parts]),
            tuple(np.concatenate(e) for e in zip(*(p.embeddings for p in parts), strict=True)),
            size=self.size, draws=self.draws, seed=self.seed,
        )  # fmt: skip

    def bar(self) -> NDArray[np.uint64] | None:
        """Return the largest number in each full draw, uint64 [K]; None before they are full."""
        if len(self.uid_R2) < self.size:
            return None
        return np.partition(self._drawn_KR, self.size - 1, axis=1)[:, self.size - 1]

    def within(self, bar: NDArray[np.uint64]) -> Self:
        """Leave out the pairs above the bar in all draws."""
        return self._only(np.any(self._drawn_KR <= bar[:, None], axis=0))

    def chosen(self, draw: int) -> NDArray[np.int64]:
        """Return the positions of a draw's pairs, in order of their numbers; at most `size`."""
        number_R = self._drawn_KR[draw]
        return np.lexsort((self.uid_R2[:, 1], self.uid_R2[:, 0], number_R))[: self.size]

    def find(self, uid_N2: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the position of each uid, int64 [N]; -1 for one that is not held."""
        held_R, wanted_N = _keys(self.uid_R2), _keys(uid_N2)
        if not len(held_R):
            return np.full(len(wanted_N), -1)
        at_N = np.minimum(np.searchsorted(held_R, wanted_N), len(held_R) - 1)
        return np.where(held_R[at_N] == wanted_N, at_N, -1)

    def _is_low(self) -> NDArray[np.bool_]:
        low_R = np.zeros(len(self.uid_R2), bool)
        for draw in range(len(self.draws)):
            low_R[self.chosen(draw)] = True
        return low_R

    def _only(self, which_R: NDArray[np.bool_]) -> Self:
        held = tuple(e[which_R] for e in self.embeddings)
        return replace(self, uid_R2=self.uid_R2[which_R], embeddings=held)


def _keys(uid_N2: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    """Return uids as bytes that sort as they do; S16 [N]."""
    return np.frombuffer(uid_N2.astype(">u8").tobytes(), "S16")


def _distinct(
    uid_N2: NDArray[np.uint64], embeddings: tuple[NDArray[np.float16], ...]
) -> NDArray[np.int64]:
    """Return a position for each different uid, in order of uid; of several that of least bytes."""
    order_N = np.lexsort((uid_N2[:, 1], uid_N2[:, 0]))
    sorted_N2 = uid_N2[order_N]
    starts_N = np.ones(len(order_N), bool)
    starts_N[1:] = (sorted_N2[1:] != sorted_N2[:-1]).any(axis=1)
    start_R = np.flatnonzero(starts_N)
    first_R = order_N[start_R]
    end_R = np.append(start_R[1:], len(order_N))
    for several in np.flatnonzero(end_R - start_R > 1):
        same = order_N[start_R[several] : end_R[several]].tolist()
        first_R[several] = min(same, key=lambda at: [e[at].tobytes() for e in embeddings])
    return first_R
