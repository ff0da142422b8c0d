"""Which rows the galleries show: the first by uid, which is a fair sample, or the extremes.

Letters: N rows of the decisions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.rules import DROP
from pipeline.report.funnel import MEANING
from pipeline.report.rules import describe
from pipeline.report.text import plain
from pipeline.schema import Reason
from pipeline.tables import numbers, uids

MOST = 12  # pictures of a gallery
BY_P_KEEP = (Reason.LOW_P_KEEP, Reason.OVER_BUDGET)  # what p(keep) decides


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """Rows of one gallery.

    Attributes:
        title: Heading.
        about: What the rows have in common and how they were chosen.
        total: Rows that it was chosen from.
        rows: Positions in the decisions.
        columns: Score columns to show with each.
        voter: Rule whose vote to show with each; "" shows none.
    """

    title: str
    about: str
    total: int
    rows: tuple[int, ...]
    columns: tuple[str, ...] = ()
    voter: str = ""


@dataclass(frozen=True, slots=True)
class Chooser:
    """Chooses at most `MOST` rows.

    Attributes:
        by_uid_N: Rows in order of uid; ties stay in shard order.
    """

    by_uid_N: NDArray[np.int64]

    @classmethod
    def of(cls, decisions: pa.Table) -> "Chooser":
        """Order the rows of the decisions."""
        uid_N = uids(decisions)
        return cls(np.argsort(uid_N, kind="stable"))

    def first(self, chosen_N: NDArray[np.bool_], most: int = MOST) -> tuple[int, ...]:
        """Return the first chosen rows by uid."""
        rows = self.by_uid_N[chosen_N[self.by_uid_N]]
        return tuple(int(row) for row in rows[:most])

    def least(
        self, value_N: NDArray[np.float64], chosen_N: NDArray[np.bool_], most: int = MOST
    ) -> tuple[int, ...]:
        """Return the chosen rows of least value, ties by uid; NaN comes last."""
        rows = self.by_uid_N[chosen_N[self.by_uid_N]]
        order = np.argsort(value_N[rows], kind="stable")
        return tuple(int(row) for row in rows[order[:most]])


def pick_kept(decisions: pa.Table, choose: Chooser) -> tuple[Pick, ...]:
    """Pick a sample of what is kept, and the kept rows that came closest to being dropped."""
    kept_N = reason_mask(decisions, Reason.OK)
    total = int(kept_N.sum())
    if not total:
        return ()
    return (
        Pick(
            title="Kept",
            about="a sample: the first by uid",
            total=total,
            rows=choose.first(kept_N),
        ),
        Pick(
            title="Kept, barely",
            about="of those kept, the lowest p(keep)",
            total=total,
            rows=choose.least(numbers(decisions, "p_keep", np.float64), kept_N),
        ),
    )


def pick_reasons(decisions: pa.Table, choose: Chooser) -> tuple[Pick, ...]:
    """Pick dropped rows for each reason that occurs; where p(keep) decides, both of its ends."""
    picks = []
    present = set(pc.unique(decisions.column("reason")).to_pylist())
    for reason in (r for r in Reason if r in present and r != Reason.OK):
        mask_N = reason_mask(decisions, reason)
        total, meaning = int(mask_N.sum()), MEANING[reason]
        if reason not in BY_P_KEEP:
            rows = choose.first(mask_N)
            picks.append(Pick(title=reason, about=f"{meaning}; by uid", total=total, rows=rows))
            continue
        p_keep_N = numbers(decisions, "p_keep", np.float64)
        ends: Mapping[str, NDArray[np.float64]] = {"lowest": p_keep_N, "nearest the cut": -p_keep_N}
        picks += [
            Pick(
                title=f"{reason}, {end}",
                about=meaning,
                total=total,
                rows=choose.least(value_N, mask_N),
            )
            for end, value_N in ends.items()
        ]
    return tuple(picks)


def pick_rules(
    decisions: pa.Table, rules: Sequence[dict[str, Any]], choose: Chooser
) -> tuple[Pick, ...]:
    """Pick a sample of each rule's drop votes, with the columns that it looked at."""
    picks = []
    for rule in rules:
        mask_N = vote_mask(decisions, rule["name"], DROP)
        if mask_N.any():
            picks.append(
                Pick(
                    title=plain(rule["name"]),
                    about=f"{describe(rule)}; by uid",
                    total=int(mask_N.sum()),
                    rows=choose.first(mask_N),
                    columns=columns_of(rule),
                )
            )
    return tuple(picks)


def columns_of(rule: dict[str, Any]) -> tuple[str, ...]:
    """Return the columns that a rule looks at."""
    return (rule["column"],) if rule["kind"] == "band" else tuple(rule["columns"])


def vote_mask(decisions: pa.Table, rule: str, vote: int) -> NDArray[np.bool_]:
    """Mark the rows on which a rule casts a vote, bool [N]."""
    return _equals(decisions, f"vote:{rule}", vote)


def reason_mask(decisions: pa.Table, reason: str) -> NDArray[np.bool_]:
    """Mark the rows with a reason, bool [N]."""
    return _equals(decisions, "reason", str(reason))


def _equals(decisions: pa.Table, column: str, value: str | int) -> NDArray[np.bool_]:
    return pc.equal(decisions.column(column), value).fill_null(False).to_numpy()
