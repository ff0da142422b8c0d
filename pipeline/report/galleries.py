"""Galleries: rows of the decisions as cards: picture, caption, uid, and why it is in or out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import ABSTAIN, DROP, KEEP
from pipeline.report.picks import BY_P_KEEP, Pick
from pipeline.report.text import decimal, figure, plain
from pipeline.report.thumbnails import Thumbnail
from pipeline.samples import uid_hex
from pipeline.schema import Reason
from pipeline.scores import Scores

FACT_CHARS = 60
VOTES = {KEEP: "keep", DROP: "drop", ABSTAIN: "abstain"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One row.

    Attributes:
        uid: 32 hex digits.
        caption: Plain, cut; "" where there is none.
        reason: What became of it.
        picture: Its thumbnail.
        facts: (name, value) of what decided it.
        twin: The pair that a duplicate is a copy of.
    """

    uid: str
    caption: str
    reason: str
    picture: Thumbnail
    facts: tuple[tuple[str, str], ...] = ()
    twin: "Card | None" = None


@dataclass(frozen=True, slots=True)
class Gallery:
    """A pick with its cards."""

    pick: Pick
    cards: tuple[Card, ...]


def twin_rows(decisions: pa.Table, rows: Iterable[int]) -> Mapping[int, int]:
    """Return, for those of the rows that are copies, the row of what they are a copy of."""
    copies = [row for row in rows if decisions.column("twin")[row].is_valid]
    twins = [decisions.column("twin")[row].as_py() for row in copies]
    uids = decisions.column("uid")
    is_twin = pc.is_in(uids, value_set=pa.array(twins, uids.type))
    is_first = pc.not_equal(decisions.column("reason"), str(Reason.REPEATED_UID))
    found = np.flatnonzero(pc.and_(is_twin, is_first).to_numpy())
    row_of = {uids[int(row)].as_py(): int(row) for row in found}
    return {copy: row_of[twin] for copy, twin in zip(copies, twins, strict=True) if twin in row_of}


@dataclass(frozen=True, slots=True)
class CardMaker:
    """Makes cards of rows.

    Attributes:
        decisions: One row per sample, in shard order.
        scores: Where further columns are.
        thumbnails: Pictures by row; every row asked for, and its twin, is in it.
        twins: Rows of twins by row.
    """

    decisions: pa.Table
    scores: Scores
    thumbnails: Mapping[int, Thumbnail]
    twins: Mapping[int, int]

    def gallery(self, pick: Pick) -> Gallery:
        """Make the cards of a pick."""
        cards = [
            self.pair(row, (*self._vote(row, pick.voter), *self._columns(row, pick.columns)))
            for row in pick.rows
        ]
        return Gallery(pick, tuple(cards))

    def pair(self, row: int, columns: tuple[tuple[str, str], ...] = ()) -> Card:
        """Make the card of a row, and beside it that of what it is a copy of."""
        twin = self.card(self.twins[row]) if row in self.twins else None
        return replace(self.card(row, columns), twin=twin)

    def card(self, row: int, columns: tuple[tuple[str, str], ...] = ()) -> Card:
        """Make one card; `columns` come before what the decision itself tells."""
        sample: dict[str, Any] = self.decisions.slice(row, 1).to_pylist()[0]
        return Card(
            uid=uid_hex(sample["uid"]),
            caption=plain(sample["caption"] or ""),
            reason=sample["reason"],
            picture=self.thumbnails[row],
            facts=(*columns, *_facts(sample)),
        )

    def _vote(self, row: int, voter: str) -> tuple[tuple[str, str], ...]:
        if not voter:
            return ()
        vote = self.decisions.column(f"vote:{voter}")[row].as_py()
        return (("it says", VOTES[vote]),)

    def _columns(self, row: int, columns: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """Read a row's score columns; rows of scores and of decisions are in the same order."""
        if not columns:
            return ()
        shard = self.decisions.column("shard")[row].as_py()
        start = pc.index(self.decisions.column("shard"), shard).as_py()
        values = self.scores.read(shard, columns).slice(row - start, 1).to_pylist()[0]
        return tuple((plain(name), _shown(values[name])) for name in columns)


def _facts(sample: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Say why: p(keep), and for what had too little of it the rules that voted against it."""
    facts = []
    if sample["p_keep"] is not None:
        facts.append(("p(keep)", decimal(sample["p_keep"])))
    if sample["reason"] in BY_P_KEEP:
        votes = {n.removeprefix("vote:"): v for n, v in sample.items() if n.startswith("vote:")}
        against = [name for name, vote in votes.items() if vote == DROP]
        facts.append(("against", plain(", ".join(against), limit=FACT_CHARS)))
    return tuple(facts)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return figure(value)
    return plain(str(value), limit=FACT_CHARS)
