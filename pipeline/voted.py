"""What a curated run has stored: decisions, rules and votes, label model, labels of a few rows.

Letters: N rows of the decisions, n rows with labels, M rules.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from filters.ensemble import (
    Analysis,
    LabelModel,
    analyse,
    count,
    count_labels,
    load_label_model,
)
from filters.ensemble.calibration import Outcomes
from filters.rules import Primitive
from pipeline.deciding.decisions import REASON, decisions_of
from pipeline.folder import Folder
from pipeline.labelling.answers import LABELS
from pipeline.labels import Labels, read_keep_labels
from pipeline.schema import Reason
from pipeline.scores import Scores
from pipeline.tables import uids
from pipeline.votes import RULES

SCORES = "scores.parquet"
MOST_ROWS = 1_000_000  # of the decisions that one process looks at


@dataclass(frozen=True, slots=True)
class Sample:
    """What was decided on a pool, or on some whole shards of a large one.

    Attributes:
        table: The decisions, in shard order.
        shards: How many shards they are of.
        of: How many the pool has.
    """

    table: pa.Table
    shards: int
    of: int

    @property
    def is_whole(self) -> bool:
        """Whether it is the pool."""
        return self.shards == self.of

    @property
    def told(self) -> str:
        """What it is, in words; "" for the pool itself."""
        if self.is_whole:
            return ""
        return f"a sample: {len(self.table):,} rows, {self.shards:,} of {self.of:,} shards"


@dataclass(frozen=True, slots=True)
class Voted:
    """The votes of a run, analysed.

    Attributes:
        rules: Their M names.
        model: The label model; None if none is stored.
        analysis: Of the scored rows, with the labels if there are any.
        labels: What the labels are, in words; "" without any.
        outcomes: Labels by p(keep); None without any.
        sample: Which rows these are, in words; "" if they are the pool's.
    """

    rules: tuple[str, ...]
    model: LabelModel | None
    analysis: Analysis
    labels: str
    outcomes: Outcomes | None
    sample: str = ""

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
    sample = read_decisions(run, ("uid", "reason", "p_keep"))
    return analyse_votes(sample, rule_names(run), read_model(run), labels_of(run, labels))


def analyse_votes(
    sample: Sample,
    rules: Sequence[str],
    model: LabelModel | None,
    labels: Labels | None = None,
) -> Voted:
    """Analyse the votes of the rows that rules could vote on.

    Of the labels, those of pairs that were shown at random count: shares among the ones that rules
    were unsure of hold for nothing else.

    Args:
        sample: `uid`, `reason`, `p_keep` and a `vote:<rule>` each.
        rules: Names of M rules.
        model: What made the p(keep).
        labels: Of a few rows, 1 keep and 0 drop.

    Raises:
        ValueError: There are no such rows, or the model is of other rules.
    """
    scored = sample.table.filter(pc.is_valid(sample.table.column("p_keep")))
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
        told = _told(fair, row_n, of=labels, sample=sample)
        p_n = scored.column("p_keep").to_numpy()[row_n]
        outcomes = Outcomes.of(p_n, label_n) if len(row_n) else None
    analysis = analyse(count(votes_NM), model=model, labelled=labelled)
    return Voted(tuple(rules), model, analysis, told, outcomes, sample.told)


def read_decisions(run: Folder, columns: Sequence[str], *, most: int = MOST_ROWS) -> Sample:
    """Read columns of the decisions, and the vote of every rule.

    Of a pool of more than `most` rows only some whole shards are read: the first by a hash of their
    identity, at least one, as many as `most` has room for.

    Raises:
        ValueError: Nothing was decided in this run yet, or a file is damaged.
    """
    scores, rules = _decided(run), _primitives(run)
    parts: dict[int, pa.Table] = {}
    rows = 0
    for shard in sorted(range(len(scores)), key=lambda s: _hash(scores.ids[s])):
        part = decisions_of(scores, rules, shard, columns)
        if parts and rows + len(part) > most:
            break
        parts[shard], rows = part, rows + len(part)
    table = pa.concat_tables(parts[shard] for shard in sorted(parts))
    return Sample(table, len(parts), len(scores))


def _decided(run: Folder) -> Scores:
    """Return the scores of a run with what was decided."""
    subset = run / "subset"
    if not subset.exists(SCORES):
        raise ValueError(
            f"run: got {run.url} without subset/{SCORES}, expected a curated run; run "
            "`thresher curate CONFIG --out` on this folder first"
        )
    try:
        scores, why = Scores.load(subset.read(SCORES)), "it has no decisions"
    except (ValueError, KeyError) as error:
        scores, why = None, " ".join(str(error).split())[:200]
    if scores is None or REASON not in scores.columns:
        raise ValueError(
            f"run: got {subset.path(SCORES)} damaged, or of an earlier version ({why}), expected "
            "what a run wrote; run `thresher curate` on this run again, which reads no pixel"
        )
    return scores


def _primitives(run: Folder) -> tuple[Primitive, ...]:
    try:
        return RULES.validate_python(read_rules(run))
    except ValidationError as error:
        first = error.errors()[0]
        raise _damaged_rules(run, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _hash(shard: str) -> bytes:
    return hashlib.blake2b(shard.encode(), digest_size=16).digest()


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
        raise _damaged_rules(run, why)
    return rules


def _damaged_rules(run: Folder, why: str) -> ValueError:
    return ValueError(
        f"run: got {(run / 'subset').path('rules.json')} damaged ({why}), expected what a run "
        "wrote; run `thresher curate` on this run again, which reads no pixel"
    )


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


def _told(fair: Labels, row_n: NDArray[np.int64], *, of: Labels, sample: Sample) -> str:
    """Say which labels count."""
    labels, lacking = len(fair.uid_N), len(fair.uid_N) - len(row_n)
    random = f", the random ones of {len(of.uid_N)}" if labels < len(of.uid_N) else ""
    outside = "" if sample.is_whole else " or outside the sample"
    left_out = f"; {lacking} of pairs without votes{outside} left out" if lacking else ""
    return f"{labels} labels{random}{left_out}"
