"""The table of rules: how much of the pool each speaks on, agrees with the others, and is trusted.

Letters: P distinct vote patterns, M rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.ensemble import count
from pipeline.report.text import figure, plain


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleRow:
    """One rule; shares are of the scored rows, in [0, 1].

    Attributes:
        name: Its name.
        says: What it says, in words.
        coverage: Rows on which it votes.
        overlap: Rows on which it votes and so does another.
        conflict: Rows on which it votes and another votes otherwise.
        keep: Its keep votes, rows.
        drop: Its drop votes, rows.
        accuracy: Learned P(vote is right), None if not learned.
        drop_log_odds: What a drop vote adds to the log-odds of being good, None if not learned.
        keep_log_odds: The same for a keep vote.
    """

    name: str
    says: str
    coverage: float
    overlap: float
    conflict: float
    keep: int
    drop: int
    accuracy: float | None = None
    drop_log_odds: float | None = None
    keep_log_odds: float | None = None


def rule_rows(
    decisions: pa.Table, rules: Sequence[dict[str, Any]], model: dict[str, Any]
) -> tuple[RuleRow, ...]:
    """Summarise votes as Snorkel's LFAnalysis does (Ratner et al., arXiv:1711.10160, section 2.2).

    Args:
        decisions: With `p_keep`, null where no rule could vote, and a `vote:<rule>` per rule.
        rules: M rules as in `rules.json`.
        model: The label model as in `label_model.json`, `{}` without one.
    """
    scored = decisions.filter(pc.is_valid(decisions.column("p_keep")))
    if not rules or not len(scored):
        return ()
    votes = [scored.column(f"vote:{rule['name']}").to_numpy().astype(np.int8) for rule in rules]
    patterns = count(np.stack(votes, axis=1))
    vote_PM, rows_P = patterns.votes_PM, patterns.count_P
    keep_PM, drop_PM = vote_PM == 1, vote_PM == 0
    keeps_P1 = keep_PM.sum(axis=1, keepdims=True)
    drops_P1 = drop_PM.sum(axis=1, keepdims=True)
    voted_PM = keep_PM | drop_PM
    overlap_PM = voted_PM & (keeps_P1 + drops_P1 > 1)
    conflict_PM = (keep_PM & (drops_P1 > 0)) | (drop_PM & (keeps_P1 > 0))
    coverage_M, overlap_M, conflict_M = (
        rows_P @ mask / len(scored) for mask in (voted_PM, overlap_PM, conflict_PM)
    )
    return tuple(
        RuleRow(
            name=plain(rule["name"]),
            says=describe(rule),
            coverage=float(coverage_M[i]),
            overlap=float(overlap_M[i]),
            conflict=float(conflict_M[i]),
            keep=int(rows_P @ keep_PM[:, i]),
            drop=int(rows_P @ drop_PM[:, i]),
            **_learned(model, i),
        )
        for i, rule in enumerate(rules)
    )


def describe(rule: dict[str, Any]) -> str:
    """Say a rule in words: `alignment: keep >= 0.2, drop <= 0.05`."""
    if rule["kind"] == "condition":
        parts = [f"{vote} if {rule[vote]}" for vote in ("keep", "drop") if rule.get(vote)]
        return plain("; ".join(parts), limit=300)
    keep, drop = (">=", "<=") if rule.get("direction", "high") == "high" else ("<=", ">=")
    cuts = [
        f"{vote} {sign} {figure(rule[vote])}"
        for vote, sign in (("keep", keep), ("drop", drop))
        if rule.get(vote) is not None
    ]
    return f"{plain(rule['column'])}: {', '.join(cuts)}"


def _learned(model: dict[str, Any], i: int) -> dict[str, float | None]:
    if not model:
        return {}
    learned = {"accuracy": model["accuracy"][i]}
    if "evidence" in model:  # of keep over drop, beyond what abstaining says
        abstain, drop, keep = (good - bad for bad, good in model["evidence"][i])
        learned |= {"drop_log_odds": drop - abstain, "keep_log_odds": keep - abstain}
    return learned
