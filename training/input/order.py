"""Which pair is shown when: a function of (seed, position), so the state is one integer.

An epoch is cut into *laps*, in each of which a pair is shown at most once; where no pair is shown
more often than others there is one lap, the epoch. Of the `shown` showings of an epoch, those of
one pair one after the other, the s-th belongs to lap s mod `laps`: as no pair has more than `laps`
of them, they all fall into different ones, and laps are of equal length but for one.

Letters: n positions, G pairs of a batch.
"""

from collections.abc import Callable
from math import gcd

import numpy as np
from numpy.typing import NDArray

from filters.hashing import hash_text, hashed, mixed
from training.input.bijection import permuted
from training.input.showings import Showings, once_each

Rows = NDArray[np.int64]
Bounds = Callable[[int], tuple[int, int]]  # position -> first and last + 1 of its batch

GOLDEN = 0.6180339887498949


class Order:
    """The endless sequence of epochs, each in an order of its own; nothing of it is stored.

    Batches run across the borders of laps and epochs, so a run's length in samples does not depend
    on the size of the subset. Two showings of one pair are never in one batch: where a batch
    contains the end of a lap, the next one begins with pairs that were not there.

    Args:
        pairs: How often each is shown; a number is so many pairs, each once an epoch.
        seed: Of the order.
        batch_size: G.
        bounds: Where batches begin and end, if not at multiples of G; then none is longer than G.

    Raises:
        ValueError: There is no pair, or there are fewer in a lap than in a batch.
    """

    def __init__(
        self,
        pairs: Showings | int,
        *,
        seed: int,
        batch_size: int = 1,
        bounds: Bounds | None = None,
    ) -> None:
        showings = once_each(pairs) if isinstance(pairs, int) else pairs
        self.showings = showings
        self.count = showings.shown
        self.seed = seed
        self.laps = showings.most
        self._batch = batch_size
        self._bounds = bounds or self._aligned
        if self.count < 1:
            raise ValueError("pairs: got none, expected at least one; loosen the rules")
        self._refuse_few()
        self._base_C = np.concatenate(
            [[0], np.cumsum(np.diff(showings.start_C) * showings.often_C)[:-1]]
        )
        self._residue_J = (np.arange(self.laps) * _stride(self.laps)) % self.laps
        size_J = self.count // self.laps + (self._residue_J < self.count % self.laps)
        self._start_J = np.concatenate([[0], np.cumsum(size_J)])
        self._key = np.uint64(hash_text(f"order:{seed}"))
        self._last: tuple[int, Rows] | None = None

    def rows(self, start: int, stop: int) -> tuple[Rows, Rows]:
        """Return lap and row of the positions from `start` to `stop` (exclusive).

        Laps are counted through all epochs; no lap has a row twice.
        """
        lap_n, row_n = self._raw(start, stop)
        if self._batch > 1 and len(lap_n):
            for lap in range(int(lap_n[0]), int(lap_n[-1]) + 1):
                first = self._start(lap)
                head = self._head(lap)
                low, high = max(start, first), min(stop, first + len(head))
                if low < high:
                    row_n[low - start : high - start] = head[low - first : high - first]
        return lap_n, row_n

    def _raw(self, start: int, stop: int) -> tuple[Rows, Rows]:
        """Return lap and row as they are permuted, whatever is shown before."""
        position_n = np.arange(start, stop, dtype=np.int64)
        epoch_n, within_n = np.divmod(position_n, self.count)
        lap_n = np.searchsorted(self._start_J, within_n, "right") - 1
        size_n = self._start_J[lap_n + 1] - self._start_J[lap_n]
        number_n = epoch_n * self.laps + lap_n
        place_n = within_n - self._start_J[lap_n]
        lap_key_n = mixed(self._key ^ mixed(number_n.astype(np.uint64)))
        showing_n = permuted(place_n, size_n, lap_key_n) * self.laps + self._residue_J[lap_n]
        return number_n, self._row(showing_n, epoch_n)

    def _row(self, showing_n: Rows, epoch_n: Rows) -> Rows:
        """Return whose showings of an epoch these are; classes are permuted in every epoch."""
        start_C, often_C = self.showings.start_C, self.showings.often_C
        class_n = np.searchsorted(self._base_C, showing_n, "right") - 1
        place_n = (showing_n - self._base_C[class_n]) // often_C[class_n]
        if self.laps > 1:
            size_n = start_C[class_n + 1] - start_C[class_n]
            key_n = mixed(self._key + mixed(epoch_n.astype(np.uint64)))
            place_n = permuted(place_n, size_n, mixed(key_n ^ class_n.astype(np.uint64)))
        return self.showings.rows(start_C[class_n] + place_n)

    def _head(self, lap: int) -> Rows:
        """Return the rows with which a lap begins, where its first batch began before it."""
        first, before = self._start(lap), self._before(lap)
        if not before:
            return np.empty(0, np.int64)
        size = min(self._batch, self._start(lap + 1) - first)
        return _unseen_first(self._raw(first, first + size)[1], self._tail(lap - 1, before))

    def _tail(self, lap: int, count: int) -> Rows:
        """Return the last rows of a lap, as they are shown."""
        end = self._start(lap + 1)
        if end - self._start(lap) >= 2 * self._batch:
            return self._raw(end - count, end)[1]  # what changes places at its head stays there
        return self._whole(lap)[-count:]

    def _whole(self, lap: int) -> Rows:
        """Return a lap of less than two batches, as it is shown.

        What it ends with depends on what it began with, and that on the lap before: so on from the
        last lap that is known, or that began with a batch.
        """
        known, begin = self._last, lap
        while (known is None or known[0] != begin) and self._before(begin):
            begin -= 1
        for number in range(begin, lap + 1):
            if known is not None and known[0] == number:
                continue
            row_n = self._raw(self._start(number), self._start(number + 1))[1]
            if (before := self._before(number)) and known is not None:
                head_n = row_n[: self._batch]
                row_n[: self._batch] = _unseen_first(head_n, known[1][-before:])
            known = (number, row_n)
        assert known is not None
        self._last = known
        return known[1]

    def _before(self, lap: int) -> int:
        """Return how many positions of a lap's first batch belong to the lap before."""
        first = self._start(lap)
        return first - self._bounds(first)[0]

    def _start(self, lap: int) -> int:
        """Return the position at which a lap begins."""
        epoch, within = divmod(lap, self.laps)
        return epoch * self.count + int(self._start_J[within])

    def _aligned(self, position: int) -> tuple[int, int]:
        begin = position // self._batch * self._batch
        return begin, begin + self._batch

    def _refuse_few(self) -> None:
        least = self.count // self.laps
        if least >= self._batch:
            return
        why = f", as one of them is shown in {self.laps} of {self.count}" if self.laps > 1 else ""
        raise ValueError(
            f"batch_size: got {self._batch}, expected at most {least}, the pairs that can be shown "
            f"before one of them is shown again{why}; lower it, or show more pairs"
        )


def drawn_captions(seed: int, lap_n: Rows, row_n: Rows, *, captions: int) -> Rows:
    """Draw one of so many captions for each showing, int64 [n], in [0, captions)."""
    word_n2 = np.stack([lap_n, row_n], axis=1).astype(np.uint64)
    return (hashed(word_n2, salt=f"caption:{seed}") % np.uint64(captions)).astype(np.int64)


def sample_rng(seed: int, epoch: int, row: int) -> np.random.Generator:
    """Return the augmentation's own generator for one showing of one pair.

    `SeedSequence` hashes its entropy, so neighbours are independent and no worker, thread or rank
    has a generator whose state would have to be saved.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, epoch, row, _AUGMENT]))


def num_steps(samples_seen: int, batch_size: int) -> int:
    """Return the number of full batches in `samples_seen`."""
    return samples_seen // batch_size


def _unseen_first(row_n: Rows, shown: Rows) -> Rows:
    """Return rows with those in front that were not shown, both in their order.

    Of G rows at most as many were shown in a batch as it has of the lap before, so the others are
    enough to fill it up.
    """
    is_shown_n = np.isin(row_n, shown)
    return np.concatenate([row_n[~is_shown_n], row_n[is_shown_n]])


def _stride(laps: int) -> int:
    """Return a step that visits all laps, each far from the last few: showings spread evenly."""
    stride = max(1, round(laps * GOLDEN))
    while gcd(stride, laps) > 1:
        stride += 1
    return stride


_AUGMENT = 1  # sets these streams apart from others of the same seed
