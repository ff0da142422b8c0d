"""Columns in, votes out: 1 keep, 0 drop, -1 abstain.

A rule says what one signal alone would do. It may be sure in one direction only, and where it is
not sure it abstains: weighing the votes is the ensemble's job.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters.quantiles import quantile

KEEP, DROP, ABSTAIN = 1, 0, -1
Read = Callable[[str], Iterable[NDArray[np.float32]]]


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

    def resolve(self, read: Read) -> "Band":
        """Replace quantiles by the values they stand for in the whole pool."""
        if self.by == "value":
            return self
        at = {
            share: quantile(lambda: read(self.column), share)
            for share in (self.keep, self.drop)
            if share is not None
        }
        cut = {None: None, **at}
        return replace(self, keep=cut[self.keep], drop=cut[self.drop], by="value")

    def vote(self, columns: Mapping[str, pl.Series]) -> NDArray[np.int8]:
        """Vote on N rows; null and NaN abstain."""
        if not columns[self.column].dtype.is_numeric():
            raise ValueError(
                f"rule {self.name!r}: got column {self.column!r}, which is no number, expected a "
                'numeric column; use kind = "condition" for texts'
            )
        value_N = columns[self.column].cast(pl.Float64).to_numpy()
        sign = 1.0 if self.direction == "high" else -1.0
        vote_N = np.full(len(value_N), ABSTAIN, np.int8)
        with np.errstate(invalid="ignore"):
            if self.drop is not None:
                vote_N[sign * value_N <= sign * self.drop] = DROP
            if self.keep is not None:
                vote_N[sign * value_N >= sign * self.keep] = KEEP
        return vote_N


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """Keep where one SQL condition holds, drop where another does, abstain elsewhere.

    Where both hold, drop wins. A condition over a null is not true.

    Attributes:
        name: Unique among the rules.
        columns: Columns that the conditions use.
        keep: SQL expression for keep, `""` never votes keep.
        drop: SQL expression for drop, `""` never votes drop.
        veto: A drop vote is final, whatever the others say (a hard filter).
    """

    kind: Literal["condition"] = "condition"
    name: str
    columns: tuple[str, ...]
    keep: str = ""
    drop: str = ""
    veto: bool = False

    def __post_init__(self) -> None:
        """Check that it can vote at all, and that the conditions parse."""
        if not (self.keep or self.drop):
            raise ValueError(
                f"rule {self.name!r}: got neither keep nor drop, expected at least one"
            )
        for condition in filter(None, (self.keep, self.drop)):
            used = set(self._parse(condition).meta.root_names())
            if not used <= set(self.columns):
                raise ValueError(
                    f"rule {self.name!r}: got a condition on {sorted(used)}, expected columns = "
                    f"{sorted(used | set(self.columns))}; list every column it uses"
                )

    def resolve(self, read: Read) -> "Condition":
        """Return itself; a condition has no quantiles."""
        del read
        return self

    def vote(self, columns: Mapping[str, pl.Series]) -> NDArray[np.int8]:
        """Vote on N rows."""
        frame = pl.DataFrame({name: columns[name] for name in self.columns})
        vote_N = np.full(frame.height, ABSTAIN, np.int8)
        for condition, vote in ((self.keep, KEEP), (self.drop, DROP)):
            if condition:
                vote_N[self._holds(frame, condition)] = vote
        return vote_N

    def _holds(self, frame: pl.DataFrame, condition: str) -> NDArray[np.bool_]:
        try:
            holds = frame.with_columns(self._parse(condition).alias(" holds"))[" holds"]
        except pl.exceptions.PolarsError as error:
            raise ValueError(
                f"rule {self.name!r}: got {condition!r}, expected a condition that suits its "
                f"columns ({error})"
            ) from error
        if holds.dtype != pl.Boolean:
            raise ValueError(
                f"rule {self.name!r}: got {condition!r}, which is of type {holds.dtype}, expected "
                "a comparison that is true or false"
            )
        return holds.fill_null(value=False).to_numpy()

    def _parse(self, condition: str) -> pl.Expr:
        try:
            return pl.sql_expr(condition)
        except pl.exceptions.PolarsError as error:
            raise ValueError(
                f"rule {self.name!r}: got {condition!r}, expected an SQL condition such as "
                f"\"language <> 'en' AND language_score > 0.9\" ({error})"
            ) from error


AnyRule = Band | Condition
