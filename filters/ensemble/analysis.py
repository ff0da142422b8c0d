"""What votes say of the rules that cast them, and what a label model makes of them.

Snorkel's LFAnalysis and more. Everything is read off distinct patterns and how often they occur
(Ratner et al., arXiv:1711.10160, section 2.2, has coverage, overlaps and conflicts). What nobody
can know is NaN.
Letters: P distinct patterns, M rules, K classes, B bins of p(keep).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filters.ensemble.calibration import wilson
from filters.ensemble.groups import groups
from filters.ensemble.labelled import Labelled
from filters.ensemble.model import Bayes, LabelModel, Share
from filters.ensemble.moments import Moments
from filters.ensemble.patterns import PatternCounts

BINS = 10  # of p(keep)
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """Rules one by one, in pairs, and all together; shares are of the rows, in [0, 1].

    Attributes:
        rows: N.
        votes_MK: Rows on which each rule votes each class.
        coverage_M: Rows on which it votes.
        overlap_M: Rows on which it votes and so does another; NaN from moments alone.
        conflict_M: Rows on which it votes and another votes otherwise; NaN from moments alone.
        both_MM: Rows on which both rules vote; the diagonal has the rows on which one does.
        equal_MM: Rows on which both vote the same class.
        by_votes: Rows by the number of rules that vote, [M + 1]; None from moments alone.
        accuracy_M: Learned P(vote is right | votes).
        log_odds_MK: What a vote for class k adds to the log-odds of class k against its strongest
            rival, over what abstaining adds; below 0 the vote speaks against what it says.
        against_M: Its votes speak against what it says, as the model has learned them.
        weight_M: Weight of a vote where votes are counted.
        share_M: Share of its evidence that counts; below 1 in a group of which the model knows.
        groups: Rules that read the same or vote alike (groups.py), as the fit found them; where it
            did not look, as the votes alone show them.
        judged_M: Labelled rows on which it votes.
        right_M: Those on which it votes the label.
        chance_M: Share of its labelled votes that would be right if they had nothing to do with the
            labels; NaN for a rule that casts none of them.
        p_keep_B: Rows by the label model's p(keep), `BINS` equal bins over [0, 1]; None without a
            model, or from moments alone.
    """

    rows: int
    votes_MK: Ints
    coverage_M: Floats
    overlap_M: Floats
    conflict_M: Floats
    both_MM: Ints
    equal_MM: Ints
    by_votes: Ints | None
    accuracy_M: Floats
    log_odds_MK: Floats
    against_M: NDArray[np.bool_]
    weight_M: Floats
    share_M: Floats
    groups: tuple[tuple[int, ...], ...]
    judged_M: Ints
    right_M: Ints
    chance_M: Floats
    p_keep_B: Ints | None

    @property
    def polarity(self) -> tuple[tuple[int, ...], ...]:
        """Classes that each rule votes at all."""
        return tuple(tuple(int(k) for k in np.flatnonzero(row)) for row in self.votes_MK)

    @property
    def abstain_rate(self) -> float:
        """Share of the rows on which no rule votes; NaN from moments alone."""
        return float("nan") if self.by_votes is None else float(self.by_votes[0] / self.rows)

    @property
    def agreement(self) -> Floats:
        """P(equal | both vote), [M, M]; NaN for rules that never vote on one row."""
        return _ratio(self.equal_MM, self.both_MM)

    @property
    def empirical(self) -> Floats:
        """Share of the labelled votes that are right, [M]; NaN for a rule that casts none."""
        return _ratio(self.right_M, self.judged_M)

    @property
    def interval(self) -> Floats:
        """Wilson's 95 % interval of `empirical`, [M, 2]; 0 to 1 for a rule that casts none."""
        return np.stack(wilson(self.right_M, self.judged_M), axis=1)

    @property
    def adversarial(self) -> tuple[int, ...]:
        """Rules whose votes speak against what they say, as learned or as labelled.

        Labelled: the whole interval lies below what the same votes would get right by chance.
        Accuracy alone would blame a rule that only drops: in a good pool it is wrong more often
        than right, and still tells something.
        """
        labelled_M = self.interval[:, 1] < self.chance_M  # False without labels
        return tuple(int(m) for m in np.flatnonzero(self.against_M | labelled_M))


def analyse(
    votes: PatternCounts | Moments,
    *,
    model: LabelModel | None = None,
    labelled: Labelled | None = None,
) -> Analysis:
    """Analyse the votes of M rules.

    Args:
        votes: Distinct patterns, or pairs of votes where the patterns were too many.
        model: What was fitted on them.
        labelled: Rows with labels.

    Raises:
        ValueError: Model or labels are of other rules or classes.
    """
    moments = votes if isinstance(votes, Moments) else Moments.of(votes)
    rules, classes = moments.rules, moments.classes
    _require_same(rules, classes, model, labelled)
    both_MM = moments.pair_MKMK.sum(axis=(1, 3))
    unknown_M = np.full(rules, np.nan)
    counts = votes if isinstance(votes, PatternCounts) else None
    overlap_M, conflict_M = (unknown_M, unknown_M) if counts is None else _company(counts)
    nothing = np.zeros((rules, classes, classes), np.int64)
    judged_MKK = nothing if labelled is None else labelled.judged
    of_class_K = np.zeros(classes, np.int64) if labelled is None else labelled.of_class
    judged_MK, judged_M = judged_MKK.sum(axis=2), judged_MKK.sum(axis=(1, 2))
    return Analysis(
        rows=moments.rows,
        votes_MK=moments.votes,
        coverage_M=np.diag(both_MM) / max(moments.rows, 1),
        overlap_M=overlap_M,
        conflict_M=conflict_M,
        both_MM=both_MM,
        equal_MM=np.einsum("iaja->ij", moments.pair_MKMK),
        by_votes=None if counts is None else _by_votes(counts),
        accuracy_M=unknown_M if model is None else np.array(model.accuracy, np.float64),
        log_odds_MK=_log_odds(model, moments.votes),
        against_M=_against(model, moments.rules),
        weight_M=np.array(model.weight, np.float64) if isinstance(model, Share) else unknown_M,
        share_M=np.ones(rules) if model is None else np.array(model.share, np.float64),
        groups=_groups(model, moments),
        judged_M=judged_M,
        right_M=np.einsum("mkk->m", judged_MKK),
        chance_M=_ratio(judged_MK @ of_class_K, judged_M * of_class_K.sum()),
        p_keep_B=None if model is None or counts is None else _spread(model, counts),
    )


def _require_same(
    rules: int, classes: int, model: LabelModel | None, labelled: Labelled | None
) -> None:
    if model is not None and (len(model.share), model.classes) != (rules, classes):
        raise ValueError(
            f"analysis: got a label model of {len(model.share)} rules and {model.classes} classes, "
            f"expected {rules} and {classes} as in the votes; curate this run again"
        )
    if labelled is not None and (labelled.votes_PM.shape[1], labelled.classes) != (rules, classes):
        raise ValueError(
            f"analysis: got labels of {labelled.votes_PM.shape[1]} rules and {labelled.classes} "
            f"classes, expected {rules} and {classes} as in the votes; count them on the same run"
        )


def _company(counts: PatternCounts) -> tuple[Floats, Floats]:
    """Return the overlap and the conflict of each rule, float64 [M]."""
    voted_PM = counts.votes_PM >= 0
    votes_P1 = voted_PM.sum(axis=1, keepdims=True)
    same_PM = np.zeros(voted_PM.shape, np.int64)
    for k in range(counts.classes):
        is_k_PM = counts.votes_PM == k
        same_PM += is_k_PM * is_k_PM.sum(axis=1, keepdims=True)
    rows = max(counts.rows, 1)
    overlap_M = counts.count_P @ (voted_PM & (votes_P1 > 1)) / rows
    return overlap_M, counts.count_P @ (voted_PM & (same_PM < votes_P1)) / rows


def _by_votes(counts: PatternCounts) -> Ints:
    by_votes = np.zeros(counts.rules + 1, np.int64)
    np.add.at(by_votes, (counts.votes_PM >= 0).sum(axis=1), counts.count_P)
    return by_votes


def _log_odds(model: LabelModel | None, votes_MK: Ints) -> Floats:
    """Return what each vote adds for its own class, float64 [M, K]; NaN where it is never cast."""
    odds_MK = np.full(votes_MK.shape, np.nan)
    if not isinstance(model, Bayes):
        return odds_MK
    evidence = np.array(model.evidence)  # [M, K + 1, K]
    added_MKK = evidence[:, 1:] - evidence[:, :1]
    for k in range(model.classes):
        rivals_MK = np.delete(added_MKK[:, k], k, axis=1)
        odds_MK[:, k] = added_MKK[:, k, k] - rivals_MK.max(axis=1)
    return np.where(votes_MK > 0, odds_MK, np.nan)


def _against(model: LabelModel | None, rules: int) -> NDArray[np.bool_]:
    """Tell of each rule whether it speaks against itself, as the fit says."""
    against_M = np.zeros(rules, bool)
    if model is not None:
        against_M[list(model.told.get("adversarial", ()))] = True
    return against_M


def _groups(model: LabelModel | None, moments: Moments) -> tuple[tuple[int, ...], ...]:
    """Return the groups of two and more."""
    if model is not None and "groups" in model.told:
        found = model.told["groups"]
    else:
        found = groups(moments) if moments.rows else []
    return tuple(tuple(sorted(group)) for group in found if len(group) > 1)


def _spread(model: LabelModel, counts: PatternCounts) -> Ints:
    p_keep_P = model.predict(counts.votes_PM)
    bin_P = np.minimum((p_keep_P * BINS).astype(np.int64), BINS - 1)
    rows_B = np.zeros(BINS, np.int64)
    np.add.at(rows_B, bin_P, counts.count_P)
    return rows_B


def _ratio(above: Ints, below: Ints) -> Floats:
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
