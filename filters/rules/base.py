"""What every rule shares: the three votes, and what it is told of the whole pool."""

from collections.abc import Mapping

KEEP, DROP, ABSTAIN = 1, 0, -1
Cuts = Mapping[tuple[str, float], float]  # (column, share of its rows) -> that quantile
