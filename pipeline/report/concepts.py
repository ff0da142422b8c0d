"""Concepts: how large, how complex, how much of each was kept, and what the extremes look like.

Letters: K concepts.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.report.charts import Dot, Labels, lines, scatter
from pipeline.report.picks import Chooser, reason_mask
from pipeline.report.text import decimal
from pipeline.schema import Reason
from pipeline.tables import numbers

EXTREMES = 6  # concepts shown from either end of complexity
TYPICAL = 4  # pictures shown of each
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
        rows: Kept members nearest its centre, as positions in the decisions.
    """

    number: int
    size: int
    quota: int
    kept: int
    complexity: float
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Concepts:
    """All concepts in one chart, some in pictures.

    Attributes:
        total: K.
        drawn: How many of them the chart shows.
        spread: Complexity against size and kept.
        ranks: Size and quota, largest concept first.
        simplest: The least complex that kept a member, least first.
        most_complex: The most complex, most first.
    """

    total: int
    drawn: int
    spread: Markup
    ranks: Markup
    simplest: tuple[Concept, ...]
    most_complex: tuple[Concept, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of which pictures are needed."""
        return tuple(row for c in (*self.simplest, *self.most_complex) for row in c.rows)


def concepts_of(
    decisions: pa.Table, table: pa.Table, choose: Chooser, *, share: float = 1.0
) -> Concepts | None:
    """Summarise the concepts; None if there is none.

    Args:
        decisions: One row per sample, with `concept` and `distance`.
        table: `concept, size, quota, complexity`, a row for each of K concepts.
        choose: Chooses rows of the decisions.
        share: Share of the pool's rows that the decisions are, in (0, 1]: what is kept of a concept
            is estimated from them.
    """
    kept_N = reason_mask(decisions, Reason.OK)
    concept_N = decisions.column("concept").fill_null(-1).to_numpy()
    kept_K = np.bincount(concept_N[kept_N & (concept_N >= 0)], minlength=len(table))
    every = [
        Concept(
            number=row["concept"],
            size=row["size"],
            quota=row["quota"],
            kept=round(int(kept_K[row["concept"]]) / share),
            complexity=row["complexity"],
        )
        for row in table.to_pylist()
    ]
    if not every:
        return None
    shown = sorted((c for c in every if c.kept), key=lambda c: (c.complexity, c.number))
    few = min(EXTREMES, (len(shown) + 1) // 2)
    distance_N = numbers(decisions, "distance", np.float64)

    def with_rows(concept: Concept) -> Concept:
        members_N: NDArray[np.bool_] = kept_N & (concept_N == concept.number)
        rows = choose.least(distance_N, members_N, TYPICAL)
        return replace(concept, rows=rows)

    drawn = sorted(every, key=lambda c: (-c.size, c.number))[:MOST_DOTS]
    return Concepts(
        total=len(every),
        drawn=len(drawn),
        spread=_spread(drawn),
        ranks=_ranks(drawn),
        simplest=tuple(with_rows(c) for c in shown[:few]),
        most_complex=tuple(with_rows(c) for c in shown[few:][::-1][:EXTREMES]),
    )


def _spread(concepts: list[Concept]) -> Markup:
    dots = [
        Dot(
            c.complexity,
            c.size,
            c.kept,
            f"concept {c.number}: complexity {decimal(c.complexity, digits=3)}, "
            f"{c.size:,} pairs, quota {c.quota:,}, kept {c.kept:,}",
        )
        for c in concepts
        if np.isfinite(c.complexity)
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
