"""An SQL condition for each of the two votes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters.rules.base import ABSTAIN, DROP, KEEP, Cuts


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

    @property
    def quantiles(self) -> tuple[tuple[str, float], ...]:
        """None."""
        return ()

    def resolve(self, cuts: Cuts) -> "Condition":
        """Return itself; a condition has no quantiles."""
        del cuts
        return self

    def vote(self, columns: Mapping[str, pl.Series]) -> NDArray[np.int8]:
        """Vote on N rows; NaN counts as null, where polars calls it larger than all numbers."""
        frame = pl.DataFrame({name: columns[name] for name in self.columns})
        frame = frame.with_columns(pl.selectors.float().fill_nan(None))
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
