"""What a curated run has stored of its votes: decisions, rules, label model, labels of a few rows.

Letters: N rows of the decisions, n rows with labels, M rules.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.ensemble import (
    Analysis,
    LabelModel,
    analyse,
    count,
    count_labels,
    load_label_model,
)
from filters.ensemble.calibration import Outcomes
from pipeline.folder import Folder
from pipeline.labelling.answers import LABELS
from pipeline.labels import Labels, read_keep_labels
from pipeline.schema import Reason
from pipeline.tables import read, uids

DECISIONS = "decisions.parquet"


@dataclass(frozen=True, slots=True)
class Voted:
    """The votes of a run, analysed.

    Attributes:
        rules: Their M names.
        model: The label model; None if none is stored.
        analysis: Of the scored rows, with the labels if there are any.
        labels: What the labels are, in words; "" without any.
        outcomes: Labels by p(keep); None without any.
    """

    rules: tuple[str, ...]
    model: LabelModel | None
    analysis: Analysis
    labels: str
    outcomes: Outcomes | None

    @property
    def prior_origin(self) -> str:
        """Where the prior is from, such as "given" or "estimated"; "" if the fit does not say."""
        told = {} if self.model is None else self.model.told
        prior = told.get("prior")
        return str(prior.get("origin", "")) if isinstance(prior, dict) else ""

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Groups of rules that read the same or vote alike, by name."""
        return tuple(tuple(self.rules[m] for m in group) for group in self.analysis.groups)


def analyse_run(run: Folder, *, labels: str = "") -> Voted:
    """Analyse the votes of a curated run; reads stored votes and no pixel.

    Args:
        run: Its folder.
        labels: Parquet with `uid` and `label`; "" takes the run's own, if it has any.

    Raises:
        ValueError: Nothing was decided in it yet, no row was voted on, or a file is damaged.
    """
    decisions = read_decisions(run, ("uid", "reason", "p_keep"))
    return analyse_votes(decisions, rule_names(run), read_model(run), labels_of(run, labels))


def analyse_votes(
    decisions: pa.Table,
    rules: Sequence[str],
    model: LabelModel | None,
    labels: Labels | None = None,
) -> Voted:
    """Analyse the votes of the rows that rules could vote on.

    Of the labels, those of pairs that were shown at random count: shares among the ones that rules
    were unsure of hold for nothing else.

    Args:
        decisions: `uid`, `reason`, `p_keep` and a `vote:<rule>` each.
        rules: Names of M rules.
        model: What made the p(keep).
        labels: Of a few rows, 1 keep and 0 drop.

    Raises:
        ValueError: There are no such rows, or the model is of other rules.
    """
    scored = decisions.filter(pc.is_valid(decisions.column("p_keep")))
    if not rules or not len(scored):
        raise ValueError(
            f"votes: got {len(scored)} rows and {len(rules)} rules, expected at least one of each; "
            "`thresher status` shows why rows are out"
        )
    votes_NM = votes_of(scored, rules)
    labelled, told, outcomes = None, "", None
    if labels is not None:
        fair = labels.at_random()
        row_n, label_n = _rows_of(scored, fair)
        labelled = count_labels(votes_NM[row_n], label_n)
        told = _told(len(fair.uid_N), of=len(labels.uid_N), lacking=len(fair.uid_N) - len(row_n))
        p_n = scored.column("p_keep").to_numpy()[row_n]
        outcomes = Outcomes.of(p_n, label_n) if len(row_n) else None
    analysis = analyse(count(votes_NM), model=model, labelled=labelled)
    return Voted(tuple(rules), model, analysis, told, outcomes)


def read_decisions(run: Folder, columns: Sequence[str]) -> pa.Table:
    """Read columns of the decisions, and the vote of every rule.

    Raises:
        ValueError: Nothing was decided in this run yet, or the file is damaged.
    """
    subset = run / "subset"
    if not subset.exists(DECISIONS):
        raise ValueError(
            f"run: got {run.url} without subset/{DECISIONS}, expected a curated run; run "
            "`thresher curate CONFIG --out` on this folder first"
        )
    votes = [f"vote:{rule}" for rule in rule_names(run)]
    return read(subset.path(DECISIONS), [*columns, *votes])


def read_rules(run: Folder) -> list[dict[str, Any]]:
    """Return the rules as they voted, quantiles resolved to values; `[]` without any.

    Raises:
        ValueError: The file is damaged.
    """
    subset = run / "subset"
    if not subset.exists("rules.json"):
        return []
    try:
        rules, why = json.loads(subset.read("rules.json")), "no list of rules with names"
    except ValueError as error:
        rules, why = None, str(error)
    if not isinstance(rules, list) or not all(map(_has_name, rules)):
        raise ValueError(
            f"run: got {subset.path('rules.json')} damaged ({why}), expected what a run wrote; run "
            "`thresher curate` on this run again, which reads no pixel"
        )
    return rules


def _has_name(rule: object) -> bool:
    return isinstance(rule, dict) and isinstance(rule.get("name"), str)


def rule_names(run: Folder) -> list[str]:
    """Return the names of the rules, in the order of the label model."""
    return [rule["name"] for rule in read_rules(run)]


def read_model(run: Folder) -> LabelModel | None:
    """Return the label model of a run; None if it has none.

    Raises:
        ValueError: It is of an earlier version, or damaged.
    """
    subset = run / "subset"
    if not subset.exists("label_model.json"):
        return None
    try:
        return load_label_model(subset.read("label_model.json").decode("utf-8", "replace"))
    except ValueError as error:
        raise ValueError(
            f"{error}: {subset.path('label_model.json')}; run `thresher curate` on this run again, "
            "which reads no pixel"
        ) from error


def labels_of(run: Folder, place: str = "") -> Labels | None:
    """Return the labels of a run; None without any, or if every answer was taken back.

    Args:
        run: A run folder, whose own `labels.parquet` is taken if there is one.
        place: Another file instead.

    Raises:
        ValueError: It cannot be read, or has labels other than 0 and 1, or uids that are none.
    """
    if not place and not run.exists(LABELS):
        return None
    labels = read_keep_labels(place or run.path(LABELS), least=0)
    return labels if len(labels.uid_N) else None


def votes_of(table: pa.Table, rules: Sequence[str]) -> NDArray[np.int8]:
    """Return the votes of rows that have some, int8 [N, M]."""
    return np.stack([table.column(f"vote:{r}").to_numpy().astype(np.int8) for r in rules], axis=1)


def _rows_of(scored: pa.Table, labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that have a label, each uid's first, and their labels, int64 [n] both."""
    first_N = pc.not_equal(scored.column("reason"), str(Reason.REPEATED_UID)).to_numpy()
    place_N = labels.places(uids(scored))
    row_n = np.flatnonzero(first_N & (place_N >= 0))
    return row_n, labels.target_N[place_N[row_n]].astype(np.int64)


def _told(labels: int, *, of: int, lacking: int) -> str:
    """Say which labels count."""
    random = f", the random ones of {of}" if labels < of else ""
    return f"{labels} labels{random}" + (
        f"; {lacking} of pairs without votes left out" if lacking else ""
    )
