"""Which pair is shown when: a function of (seed, epoch, index), so the state is one integer."""

import numpy as np
from numpy.typing import NDArray


class Order:
    """The endless sequence of epochs, each a fresh permutation of `count` rows.

    Position g of the sequence lies in epoch g // count. Batches run across the borders of epochs,
    so a run's length in samples does not depend on the size of the subset.
    """

    def __init__(self, count: int, *, seed: int) -> None:
        if count < 1:
            raise ValueError("pairs: got none, expected at least one; loosen the rules")
        self.count = count
        self.seed = seed
        self._epoch = -1
        self._permutation = np.empty(0, np.int64)

    def rows(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return epoch and row of the positions from `start` to `stop` (exclusive)."""
        position = np.arange(start, stop)
        epoch, within = position // self.count, position % self.count
        row = np.empty_like(position)
        for one in np.unique(epoch):
            row[epoch == one] = self._permuted(int(one))[within[epoch == one]]
        return epoch, row

    def _permuted(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._epoch:
            stream = np.random.SeedSequence([self.seed, epoch])
            self._permutation = np.random.default_rng(stream).permutation(self.count)
            self._epoch = epoch
        return self._permutation


def sample_rng(seed: int, epoch: int, row: int) -> np.random.Generator:
    """Return the augmentation's own generator for one showing of one pair.

    `SeedSequence` hashes its entropy, so neighbours are independent and no worker, thread or rank
    has a generator whose state would have to be saved.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, epoch, row, _AUGMENT]))


def num_steps(samples_seen: int, batch_size: int) -> int:
    """Return the number of full batches in `samples_seen`."""
    return samples_seen // batch_size


_AUGMENT = 1  # sets these streams apart from the permutation's
