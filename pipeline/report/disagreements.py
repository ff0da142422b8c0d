"""Where a rule and the ensemble disagree most: one of the two is wrong, and a look tells which.

Letters: N rows of the decisions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from filters.rules import DROP, KEEP
from pipeline.labelling.choice import cut_of
from pipeline.report.picks import Chooser, Pick, columns_of, vote_mask
from pipeline.report.rules import describe
from pipeline.report.text import decimal, plain
from pipeline.tables import numbers

MOST_A_SIDE = 4  # pictures of one rule and vote
MOST = 120  # pictures of all rules, a page's worth; with many rules each has fewer


def pick_disagreements(
    decisions: pa.Table, rules: Sequence[dict[str, Any]], choose: Chooser
) -> tuple[Pick, ...]:
    """Pick, for each rule, its keep votes of least p(keep), then its drop votes of most.

    Only votes that the cut went against count; ties go by uid.
    """
    p_keep_N, cut = numbers(decisions, "p_keep", np.float64), cut_of(decisions)
    a_side = max(1, min(MOST_A_SIDE, MOST // (2 * max(len(rules), 1))))
    picks = []
    for rule in rules:
        kept_N = vote_mask(decisions, rule["name"], KEEP) & (p_keep_N < cut)
        dropped_N = vote_mask(decisions, rule["name"], DROP) & (p_keep_N >= cut)
        if not (kept_N.any() or dropped_N.any()):
            continue
        rows = (
            *choose.least(p_keep_N, kept_N, a_side),
            *choose.least(-p_keep_N, dropped_N, a_side),
        )
        about = (
            f"{kept_N.sum():,} that it keeps have p(keep) below {decimal(cut)}, "
            f"{dropped_N.sum():,} that it drops do not; {describe(rule)}"
        )
        picks.append(
            Pick(
                title=plain(rule["name"]),
                about=about,
                total=int(kept_N.sum() + dropped_N.sum()),
                rows=rows,
                columns=columns_of(rule),
                voter=rule["name"],
            )
        )
    return tuple(picks)
