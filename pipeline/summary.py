"""`summary.json`: what a run came to, in one small file."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pipeline.config import Curation
from pipeline.flow import Clock, Curated
from pipeline.folder import Folder
from pipeline.health import status
from pipeline.missing import missing_values, without_values
from pipeline.planted import CLEAN, SWAPPED, Found, alignment_auc, drops_by_rule, found_by_kind
from pipeline.schema import Reason


def summarise(
    run: Folder, curated: Curated, *, cfg: Curation, more: Mapping[str, Any], clock: Clock
) -> dict[str, Any]:
    """Gather the run's figures, write them as `summary.json`, and return them.

    Args:
        run: The run folder.
        curated: What curation made.
        cfg: What it was asked for; the `truth` of its data, if given, is measured against.
        more: Further entries, such as `zero_shot`.
        clock: Wall seconds by stage. Where a stage took longer earlier in this folder, that is
            kept: what was done then was not done again.
    """
    reasons = curated.decisions.reasons
    tables = Counter[str]()
    for stage in status(Folder(cfg.data.scores or run.url)):
        tables[stage.stage.rsplit("-", 1)[0]] += stage.output_bytes
    scored = curated.votes.scores  # of the columns that decide, some have no value for good reason
    summary = {
        "pairs_in": curated.decisions.rows,
        "pairs_kept": reasons.get(str(Reason.OK), 0),
        "reasons": dict(reasons),
        "seconds": _seconds(run, clock),
        "bytes": {
            "shards": sum(shard.size for shard in curated.shards),
            **{f"{stage} tables": n for stage, n in tables.items()},
        },
        "subset_sha256": curated.subset_sha256,
        "missing": [asdict(m) for m in missing_values(scored, (*cfg.extract, *cfg.derive))],
        **more,
        **_labelled(curated),
        **(_planted(curated, cfg.data.truth) if cfg.data.truth else {}),
    }
    run.write("summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    return summary


def summarise_training(run: Folder, *, more: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    """Write and return the `summary.json` of a run that curated nothing; see `summarise`."""
    summary = {"seconds": _seconds(run, clock), **more}
    run.write("summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    return summary


def headline(summary: Mapping[str, Any]) -> str:
    """Say what a run came to, on a few lines."""
    lines = []
    if "pairs_in" in summary:
        kept, total = summary["pairs_kept"], summary["pairs_in"]
        subset = summary["subset_sha256"][:12]
        lines.append(f"kept {kept} of {total} pairs ({kept / total:.0%}), subset {subset}")
    if gaps := without_values(summary.get("missing", [])):
        lines.append(gaps)
    for name, metrics in summary.get("zero_shot", {}).items():
        shown = {k: v for k, v in metrics.items() if k.endswith("/main_metric")}
        told = (f"{k.removesuffix('/main_metric')} {v:.3f}" for k, v in shown.items())
        lines.append(" ".join((f"{name:8}", *told)))
    return "\n".join(lines)


def _seconds(run: Folder, clock: Clock) -> dict[str, float]:
    """Return the wall seconds of each stage, as told by `summarise`."""
    before = json.loads(run.read("summary.json") if run.exists("summary.json") else b"{}")
    known = before.get("seconds", {})
    return {stage: max(s, known.get(stage, 0.0)) for stage, s in clock.seconds.items()}


def _labelled(curated: Curated) -> dict[str, Any]:
    votes = curated.votes
    if votes.labelled is None:
        return {}
    drop, keep = votes.labelled.of_class.tolist()
    return {"labels": {"keep": keep, "drop": drop, "without_votes": votes.without_votes}}


def _planted(curated: Curated, truth: str) -> dict[str, Any]:
    decisions, scores = curated.decisions, curated.votes.scores
    found = found_by_kind(truth, decisions.tables(["uid", "reason"]))
    by_rule = drops_by_rule(truth, decisions.tables(["uid"], votes=True))
    scored = (scores.good(shard, ["uid", "alignment"]) for shard in range(len(scores)))
    clean, swapped = found.get(CLEAN), found.get(SWAPPED)
    ratio = swapped.share / clean.share if clean and swapped and clean.share else None
    return {
        "planted": {kind: _told(f) for kind, f in found.items()},
        "planted_rules": {
            rule: {kind: _told(f) for kind, f in by_kind.items()}
            for rule, by_kind in by_rule.items()
        },
        "planted_checks": {
            "alignment_auc": round(alignment_auc(truth, scored), 4),
            "swapped_over_clean": None if ratio is None else round(ratio, 2),
        },
    }


def _told(found: Found) -> dict[str, Any]:
    return {"planted": found.planted, "dropped": found.dropped, "share": round(found.share, 4)}
