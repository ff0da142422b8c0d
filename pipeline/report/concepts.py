"""Concepts: how large, how complex, how much of each was kept, and what the extremes look like.

Letters: K concepts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.report.charts import Bubble, Dot, Labels, bubbles, lines, scatter
from pipeline.report.names import names_of
from pipeline.report.picks import Chooser, reason_mask
from pipeline.report.text import decimal
from pipeline.schema import Reason
from pipeline.tables import numbers

EXTREMES = 6  # concepts shown from either end of complexity
TYPICAL = 4  # pictures shown of each, from either end of distance
COPIES = 1  # dropped ones shown of each, beside what they are copies of
MOST_DOTS = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Concept:
    """One concept.

    Attributes:
        number: Its id.
        size: Members before near-copies went.
        quota: Members it may keep.
        kept: Members it kept.
        complexity: d_inter * d_intra (arXiv:2401.04578).
        place: On the map.
        name: The words that set its captions apart.
        easiest: Kept members nearest its centre, as positions in the decisions.
        hardest: Kept members farthest from it, other ones.
        copies: Rows that were dropped as copies of a kept member.
    """

    number: int
    size: int
    quota: int
    kept: int
    complexity: float
    place: tuple[float, float]
    name: str = ""
    easiest: tuple[int, ...] = ()
    hardest: tuple[int, ...] = ()
    copies: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Concepts:
    """All concepts in one chart, some in pictures.

    Attributes:
        total: K.
        drawn: How many of them the chart shows.
        map: Centres projected to a plane, by size and complexity.
        spread: Complexity against size and kept.
        ranks: Size and quota, largest concept first.
        simplest: The least complex that kept a member, least first.
        most_complex: The most complex, most first.
    """

    total: int
    drawn: int
    map: Markup
    spread: Markup
    ranks: Markup
    simplest: tuple[Concept, ...]
    most_complex: tuple[Concept, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of which pictures are needed."""
        shown = (*self.simplest, *self.most_complex)
        return tuple(row for c in shown for row in (*c.easiest, *c.hardest, *c.copies))


def concepts_of(
    decisions: pa.Table, table: pa.Table, choose: Chooser, *, share: float = 1.0
) -> Concepts | None:
    """Summarise the concepts; None if there is none.

    Args:
        decisions: One row per sample, with `concept`, `distance` and `twin`.
        table: `concept, size, quota, complexity, x, y`, a row for each of K concepts.
        choose: Chooses rows of the decisions.
        share: Share of the pool's rows that the decisions are, in (0, 1]: what is kept of a concept
            is estimated from them.
    """
    if not len(table):
        return None
    members = _Members.of(decisions, choose)
    kept_K = np.bincount(members.concept_N[members.kept_N], minlength=len(table))
    every = [
        Concept(
            number=row["concept"],
            size=row["size"],
            quota=row["quota"],
            kept=round(int(kept_K[row["concept"]]) / share),
            complexity=row["complexity"],
            place=(row["x"], row["y"]),
        )
        for row in table.to_pylist()
    ]
    drawn = sorted(every, key=lambda c: (-c.size, c.number))[:MOST_DOTS]
    shown = sorted((c for c in every if c.kept), key=lambda c: (c.complexity, c.number))
    few = min(EXTREMES, (len(shown) + 1) // 2)
    simplest, most_complex = shown[:few], shown[few:][::-1][:EXTREMES]
    wanted = {c.number for c in (*drawn, *simplest, *most_complex)}
    names = names_of(decisions.column("caption").to_pylist(), members.concept_N, wanted=wanted)
    drawn = [replace(c, name=names[c.number]) for c in drawn]
    return Concepts(
        total=len(every),
        drawn=len(drawn),
        map=_map(drawn),
        spread=_spread(drawn),
        ranks=_ranks(drawn),
        simplest=tuple(members.shown(c, names) for c in simplest),
        most_complex=tuple(members.shown(c, names) for c in most_complex),
    )


@dataclass(frozen=True, slots=True)
class _Members:
    """Rows of the decisions by concept.

    Attributes:
        concept_N: Concept of each row, -1 without.
        kept_N: Whether it is in the subset and has one.
        distance_N: To the centre.
        copy_of_N: Concept of the pair that it is a copy of, -1 without.
        choose: Chooses rows.
    """

    concept_N: NDArray[np.int32]
    kept_N: NDArray[np.bool_]
    distance_N: NDArray[np.float64]
    copy_of_N: NDArray[np.int32]
    choose: Chooser

    @classmethod
    def of(cls, decisions: pa.Table, choose: Chooser) -> "_Members":
        concept_N = decisions.column("concept").fill_null(-1).to_numpy()
        kept_N = reason_mask(decisions, Reason.OK) & (concept_N >= 0)
        at = pc.index_in(decisions.column("twin"), value_set=decisions.column("uid").filter(kept_N))
        twin_N = at.fill_null(-1).to_numpy()
        copy_of_N = np.where(twin_N >= 0, np.append(concept_N[kept_N], -1)[twin_N], -1)
        distance_N = numbers(decisions, "distance", np.float64)
        return cls(concept_N, kept_N, distance_N, copy_of_N, choose)

    def shown(self, concept: Concept, names: Mapping[int, str]) -> Concept:
        """Choose what the page shows of a concept."""
        mine_N = self.kept_N & (self.concept_N == concept.number)
        easiest = self.choose.least(self.distance_N, mine_N, TYPICAL)
        mine_N[list(easiest)] = False
        return replace(
            concept,
            name=names[concept.number],
            easiest=easiest,
            hardest=self.choose.least(-self.distance_N, mine_N, TYPICAL),
            copies=self.choose.first(self.copy_of_N == concept.number, COPIES),
        )


def _map(concepts: list[Concept]) -> Markup:
    """Draw where the concepts lie, as far as two dimensions can tell."""
    known = [c for c in concepts if c.size and np.isfinite([*c.place, c.complexity]).all()]
    if not known:
        return Markup()
    largest = max(c.size for c in known)
    low, high = (bound(c.complexity for c in known) for bound in (min, max))
    discs = [
        Bubble(*c.place, c.size / largest, (c.complexity - low) / ((high - low) or 1.0), _told(c))
        for c in known
    ]
    return bubbles(discs, labels=Labels(title="Concepts by likeness, size and complexity"))


def _told(concept: Concept) -> str:
    """Say everything about a concept where the pointer rests."""
    return (
        f"concept {concept.number}{f' ({concept.name})' if concept.name else ''}: complexity "
        f"{decimal(concept.complexity, digits=3)}, {concept.size:,} pairs, quota "
        f"{concept.quota:,}, kept {concept.kept:,}"
    )


def _spread(concepts: list[Concept]) -> Markup:
    dots = [
        Dot(c.complexity, c.size, c.kept, _told(c)) for c in concepts if np.isfinite(c.complexity)
    ]
    labels = Labels(title="Concepts by complexity and size", x="complexity", y="pairs")
    return scatter(dots or [Dot(0.0, 0.0, 0.0, "no concept")], labels=labels)


def _ranks(concepts: list[Concept]) -> Markup:
    """Draw the concepts, largest first; where quotas lie below sizes, pruning had an effect."""
    rank_K = np.arange(1.0, len(concepts) + 1)
    series = {
        "size": np.stack([rank_K, [c.size for c in concepts]], axis=1),
        "quota": np.stack([rank_K, [c.quota for c in concepts]], axis=1),
    }
    return lines(series, labels=Labels(title="Concepts by size", x="rank by size", y="pairs"))
