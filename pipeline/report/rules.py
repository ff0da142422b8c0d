"""The table of rules: what each speaks on, how it stands with the others, how far it is trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from filters.ensemble import Analysis
from filters.ensemble.calibration import reliability
from filters.rules import DROP, KEEP
from pipeline.report.text import decimal, figure, percent, plain
from pipeline.voted import Voted

WHOLE = 0.9995  # a share from here on is shown as 1
TOLD_CHARS = 120


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
        empirical: Share of its labelled votes that are right, None without any.
        between: The interval of `empirical`, and of how many votes, in words.
        drop_log_odds: What a drop vote adds to the log-odds of being good, None if not learned.
        keep_log_odds: The same for a keep vote.
        notes: What stands out: it votes against what it says, or is like others.
    """

    name: str
    says: str
    coverage: float
    overlap: float
    conflict: float
    keep: int
    drop: int
    accuracy: float | None
    empirical: float | None
    between: str
    drop_log_odds: float | None
    keep_log_odds: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnsembleFacts:
    """What holds for all rules together, as (name, value) in words."""

    facts: tuple[tuple[str, str], ...]
    has_labels: bool


def rule_rows(rules: Sequence[dict[str, Any]], voted: Voted | None) -> tuple[RuleRow, ...]:
    """Lay out the analysis of the votes, a row per rule.

    Args:
        rules: M rules as in `rules.json`.
        voted: Their votes, analysed; None where there are none.
    """
    if voted is None:
        return ()
    told = voted.analysis
    return tuple(
        RuleRow(
            name=plain(rule["name"]),
            says=describe(rule),
            coverage=float(told.coverage_M[m]),
            overlap=float(told.overlap_M[m]),
            conflict=float(told.conflict_M[m]),
            keep=int(told.votes_MK[m, KEEP]),
            drop=int(told.votes_MK[m, DROP]),
            accuracy=_known(told.accuracy_M[m]),
            empirical=_known(told.empirical[m]),
            between=_between(told, m),
            drop_log_odds=_known(-told.log_odds_MK[m, DROP]),
            keep_log_odds=_known(told.log_odds_MK[m, KEEP]),
            notes=_notes(voted, m),
        )
        for m, rule in enumerate(rules)
    )


def ensemble_facts(voted: Voted | None) -> EnsembleFacts | None:
    """Say what the model is and what it made of the rules; None without votes."""
    if voted is None:
        return None
    told, model = voted.analysis, voted.model
    facts = []
    if model is not None:
        origin = f", {plain(voted.prior_origin)}" if voted.prior_origin else ""
        prior = f"{decimal(model.prior[-1])}{origin}"
        facts += [("model", plain(model.kind)), ("prior p(keep)", prior)]
        facts += [
            (plain(name.replace("_", " ")), _told(value))
            for name, value in model.told.items()
            if name != "prior" and not isinstance(value, dict | list)
        ]
    names = [plain(name) for name in voted.rules]
    against = ", ".join(names[m] for m in told.adversarial)
    alike = "; ".join(plain(", ".join(group)) for group in voted.groups)
    facts += [
        ("rows without a vote", percent(told.abstain_rate)),
        ("rules that are alike", alike or "none"),
        ("vote against what they say", against or "none"),
    ]
    if voted.labels:
        facts.append(("labels", voted.labels))
    if voted.outcomes is not None:
        error = percent(reliability(voted.outcomes).expected_error)
        facts.append(("expected calibration error", error))
    return EnsembleFacts(tuple(facts), bool(voted.labels))


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


def _notes(voted: Voted, m: int) -> tuple[str, ...]:
    told, names = voted.analysis, voted.rules
    notes = ["votes against what it says"] if m in told.adversarial else []
    twins = [plain(names[i]) for group in told.groups if m in group for i in group if i != m]
    if twins:
        notes.append(f"like {', '.join(twins)}")
    if told.share_M[m] < WHOLE:
        notes.append(f"{percent(float(told.share_M[m]))} of its evidence counts")
    return tuple(notes)


def _between(told: Analysis, m: int) -> str:
    if not told.judged_M[m]:
        return ""
    low, high = told.interval[m].tolist()
    return f"{percent(low)} to {percent(high)}, {told.right_M[m]} of {told.judged_M[m]}"


def _told(value: Any) -> str:
    if isinstance(value, float):
        return figure(value)
    return plain(str(value), limit=TOLD_CHARS)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
