"""The analysis of a run's votes as one record, and as the tables that a terminal shows."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from filters.ensemble import Analysis
from filters.ensemble.calibration import Outcomes, brier_score, log_loss, reliability
from pipeline.voted import Voted

DROP, KEEP = 0, 1
SHOWN = ("prior", "groups", "adversarial")  # of what a fit tells, in lines of their own
CLASSES = ("drop", "keep")
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listing:
    """A table of text."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def record_of(voted: Voted) -> Record:
    """Return everything as JSON can hold it; what is not known is None.

    Log-odds are of being good, whatever the vote is for.
    """
    told, names = voted.analysis, voted.rules
    spread = None if told.p_keep_B is None else told.p_keep_B.tolist()
    record = {
        "rows": told.rows,
        "sample": voted.sample or None,
        "model": _model(voted),
        "labels": voted.labels or None,
        "calibration": None if voted.outcomes is None else _calibration(voted.outcomes),
        "abstain_rate": told.abstain_rate,
        "groups": [list(group) for group in voted.groups],
        "adversarial": [names[m] for m in told.adversarial],
        "rules": [_rule(told, m, name) for m, name in enumerate(names)],
        "agreement": told.agreement.tolist(),
        "both_vote": told.both_MM.tolist(),
        "rows_by_votes": None if told.by_votes is None else told.by_votes.tolist(),
        "rows_by_p_keep": spread,
    }
    return _known(record)


def to_json(voted: Voted) -> str:
    """Write the record as strict JSON."""
    return json.dumps(record_of(voted), indent=2, allow_nan=False) + "\n"


def listings(voted: Voted) -> tuple[Listing, ...]:
    """Lay the record out as tables; cells of what is not known are empty."""
    record = record_of(voted)
    rules, numbers = record["rules"], [str(m + 1) for m in range(len(record["rules"]))]
    cast = ("polarity", "coverage", "overlap", "conflict", "keep", "drop")
    learned = ("accuracy", "drop_log_odds", "keep_log_odds", "weight", "share")
    judged = ("labelled", "empirical", "low", "high", "by_chance")
    names = [f"{number} {rule['name']}" for number, rule in zip(numbers, rules, strict=True)]
    tables = [
        Listing("ensemble", ("what", "is"), _summary(record)),
        _columns("votes of each rule", names, rules, cast),
        _columns("trust in each rule", names, rules, learned, notes=_notes(record)),
        *([_columns("labels on each rule", names, rules, judged)] if record["labels"] else []),
        _square("agreement: share of equal votes where both vote", names, record["agreement"]),
        _square("rows on which both vote", names, record["both_vote"]),
    ]
    if record["rows_by_votes"]:
        by_votes = [(str(n), str(rows)) for n, rows in enumerate(record["rows_by_votes"]) if rows]
        tables.append(Listing("rows by number of votes", ("votes", "rows"), tuple(by_votes)))
    if record["rows_by_p_keep"]:
        bins = len(record["rows_by_p_keep"])
        spread = [
            (f"{b / bins:.1f} to {(b + 1) / bins:.1f}", str(rows))
            for b, rows in enumerate(record["rows_by_p_keep"])
        ]
        tables.append(Listing("rows by p(keep)", ("p(keep)", "rows"), tuple(spread)))
    if record["calibration"]:
        bins = record["calibration"]["bins"]
        heads = tuple(head.replace("_", " ") for head in bins[0])
        rows = tuple(tuple(map(_shown, row.values())) for row in bins)
        tables.append(Listing("share to keep by p(keep), of labelled pairs", heads, rows))
    return tuple(tables)


def _model(voted: Voted) -> Record | None:
    if voted.model is None:
        return None
    return {
        "kind": voted.model.kind,
        "prior": voted.model.prior[-1],
        "origin": voted.prior_origin or None,
        "told": voted.model.told,
    }


def _calibration(outcomes: Outcomes) -> Record:
    """Say how far p(keep) is from the share of labelled pairs that are to be kept."""
    curve = reliability(outcomes)
    columns = (curve.mean_B, curve.share_B, curve.low_B, curve.high_B, curve.count_B)
    names = ("p_keep", "share", "low", "high", "labelled")
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {
        "expected_error": curve.expected_error,
        "greatest_error": curve.greatest_error,
        "brier_score": brier_score(outcomes),
        "log_loss": log_loss(outcomes),
        "bins": [dict(zip(names, row, strict=True)) for row in rows],
    }


def _rule(told: Analysis, m: int, name: str) -> Record:
    low, high = told.interval[m].tolist() if told.judged_M[m] else (None, None)
    return {
        "name": name,
        "polarity": [CLASSES[k] for k in told.polarity[m]],
        "coverage": float(told.coverage_M[m]),
        "overlap": float(told.overlap_M[m]),
        "conflict": float(told.conflict_M[m]),
        "keep": int(told.votes_MK[m, KEEP]),
        "drop": int(told.votes_MK[m, DROP]),
        "accuracy": float(told.accuracy_M[m]),
        "drop_log_odds": 0.0 - float(told.log_odds_MK[m, DROP]),
        "keep_log_odds": float(told.log_odds_MK[m, KEEP]),
        "weight": float(told.weight_M[m]),
        "share": float(told.share_M[m]),
        "labelled": int(told.judged_M[m]) if told.judged_M.any() else None,
        "empirical": float(told.empirical[m]),
        "low": low,
        "high": high,
        "by_chance": float(told.chance_M[m]),
    }


def _summary(record: Record) -> tuple[tuple[str, str], ...]:
    model = record["model"] or {
        "kind": "none stored",
        "prior": None,
        "origin": "",
        "told": {},
    }
    told = [
        (f"model: {name.replace('_', ' ')}", _shown(value))
        for name, value in model["told"].items()
        if name not in SHOWN and not isinstance(value, dict | list)
    ]
    return (
        ("model", model["kind"]),
        ("prior", _shown(model["prior"]) + (f" ({model['origin']})" if model["origin"] else "")),
        *told,
        ("rows", str(record["rows"]) + (f", of {record['sample']}" if record["sample"] else "")),
        ("rows without a vote", _shown(record["abstain_rate"])),
        ("rules that are alike", "; ".join(", ".join(g) for g in record["groups"]) or "none"),
        ("vote against what they say", ", ".join(record["adversarial"]) or "none"),
        ("labels", record["labels"] or "none; `thresher label RUN` makes some"),
        *(
            (name.replace("_", " "), _shown(value))
            for name, value in (record["calibration"] or {}).items()
            if name != "bins"
        ),
    )


def _notes(record: Record) -> list[str]:
    notes = []
    for rule in record["rules"]:
        twins = [n for g in record["groups"] if rule["name"] in g for n in g if n != rule["name"]]
        said = ["votes against what it says"] if rule["name"] in record["adversarial"] else []
        notes.append("; ".join([*said, *([f"like {', '.join(twins)}"] if twins else [])]))
    return notes


def _columns(
    title: str,
    names: Sequence[str],
    rules: Sequence[Record],
    columns: Sequence[str],
    *,
    notes: Sequence[str] = (),
) -> Listing:
    """Lay out fields of the rules; those that no rule has are left out."""
    kept = [c for c in columns if any(rule[c] is not None for rule in rules)]
    rows = [(n, *(_shown(r[c]) for c in kept)) for n, r in zip(names, rules, strict=True)]
    heads = ("rule", *(c.replace("_", " ") for c in kept))
    if any(notes):
        rows = [(*row, note) for row, note in zip(rows, notes, strict=True)]
        heads = (*heads, "note")
    return Listing(title, heads, tuple(rows))


def _square(title: str, names: Sequence[str], values: Sequence[Sequence[Any]]) -> Listing:
    rows = [(name, *map(_shown, row)) for name, row in zip(names, values, strict=True)]
    return Listing(title, ("rule", *(name.split(" ")[0] for name in names)), tuple(rows))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return "; ".join(_shown(item) for item in value)
    return str(value)


def _known(value: Any) -> Any:
    """Replace NaN by None."""
    if isinstance(value, dict):
        return {name: _known(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_known(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
