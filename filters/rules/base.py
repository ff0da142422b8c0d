"""What every rule shares: the three votes, and how a pool's values are read."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

KEEP, DROP, ABSTAIN = 1, 0, -1
Read = Callable[[str], Iterable[NDArray[np.float32]]]  # a column's name -> an array per shard
