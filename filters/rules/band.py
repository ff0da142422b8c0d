"""A number with two cut points."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters.rules.base import ABSTAIN, DROP, KEEP, Cuts


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """Keep beyond one cut point, drop beyond the other, abstain between; keep wins a tie.

    Attributes:
        name: Unique among the rules.
        column: A numeric column.
        direction: Which end of the column is good.
        keep: From here on the vote is keep; None never votes keep.
        drop: From here on the vote is drop; None never votes drop.
        by: Cut points are values of the column, or quantiles of it in [0, 1].
        veto: A drop vote is final, whatever the others say (a hard filter).
    """

    kind: Literal["band"] = "band"
    name: str
    column: str
    direction: Literal["high", "low"] = "high"
    keep: float | None = None
    drop: float | None = None
    by: Literal["value", "quantile"] = "value"
    veto: bool = False

    def __post_init__(self) -> None:
        """Check that the cut points do not cross."""
        if self.keep is None and self.drop is None:
            raise ValueError(
                f"rule {self.name!r}: got neither keep nor drop, expected at least one"
            )
        if any(cut is not None and math.isnan(cut) for cut in (self.keep, self.drop)):
            raise ValueError(
                f"rule {self.name!r}: got keep {self.keep} and drop {self.drop}, expected numbers; "
                "leave out the one that is none"
            )
        if self.by == "quantile":
            for cut in (self.keep, self.drop):
                if cut is not None and not 0 <= cut <= 1:
                    raise ValueError(
                        f"rule {self.name!r}: got quantile {cut}, expected 0 to 1; "
                        'set by = "value" for a cut in the unit of the column'
                    )
        if self.keep is not None and self.drop is not None:
            crossed = self.keep < self.drop if self.direction == "high" else self.keep > self.drop
            if crossed:
                order = "above" if self.direction == "high" else "below"
                raise ValueError(
                    f"rule {self.name!r}: got keep {self.keep} and drop {self.drop}, expected keep "
                    f"{order} drop for direction {self.direction!r}"
                )

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns it reads."""
        return (self.column,)

    @property
    def quantiles(self) -> tuple[tuple[str, float], ...]:
        """Columns and shares of rows whose values `resolve` needs."""
        shares = (self.keep, self.drop) if self.by == "quantile" else ()
        return tuple((self.column, share) for share in shares if share is not None)

    def resolve(self, cuts: Cuts) -> "Band":
        """Replace quantiles by the values they stand for in the whole pool."""
        if self.by == "value":
            return self
        keep, drop = (
            None if share is None else cuts[self.column, share] for share in (self.keep, self.drop)
        )
        return replace(self, keep=keep, drop=drop, by="value")

    def vote(self, columns: Mapping[str, pl.Series]) -> NDArray[np.int8]:
        """Vote on N rows; null and NaN abstain."""
        if not columns[self.column].dtype.is_numeric():
            raise ValueError(
                f"rule {self.name!r}: got column {self.column!r}, which is no number, expected a "
                'numeric column; use kind = "condition" for texts'
            )
        value_N = columns[self.column].cast(pl.Float64).to_numpy()
        # A cut has the precision of its column: 0.28 is to meet what was stored as 0.28.
        exact = np.float32 if columns[self.column].dtype == pl.Float32 else np.float64
        sign = 1.0 if self.direction == "high" else -1.0
        vote_N = np.full(len(value_N), ABSTAIN, np.int8)
        with np.errstate(invalid="ignore"):
            if self.drop is not None:
                vote_N[sign * value_N <= sign * float(exact(self.drop))] = DROP
            if self.keep is not None:
                vote_N[sign * value_N >= sign * float(exact(self.keep))] = KEEP
        return vote_N
