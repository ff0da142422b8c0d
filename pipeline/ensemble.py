"""The label model of a run: what is known of its votes, by its settings, made one."""

import logging

import numpy as np

from filters.ensemble import LabelModel, fit_label_model
from filters.ensemble.end_model import EndModel
from pipeline.config import Ensemble
from pipeline.decide import PKeep
from pipeline.end_model import Known, fit_on_columns, p_keep_by_shard
from pipeline.executors import Executor
from pipeline.labels import Labels, read_labels
from pipeline.votes import Votes

TARGET = "label"

logger = logging.getLogger(__name__)


def labels_for(cfg: Ensemble) -> Labels | None:
    """Read the labels that the settings name, if any; all may be of one class.

    Raises:
        ValueError: The file cannot be read, or a label is neither 0 nor 1.
    """
    if not cfg.labels:
        return None
    labels = read_labels(cfg.labels, target=TARGET, one_kind=True)
    if not (is_class_N := np.isin(labels.target_N, (0.0, 1.0))).all():
        raise ValueError(
            f"labels: got {labels.target_N[~is_class_N][0]:g} in column {TARGET!r} of "
            f"{cfg.labels}, expected 1 for keep or 0 for drop"
        )
    return labels


def fit_votes(votes: Votes, cfg: Ensemble, *, seed: int) -> LabelModel:
    """Fit the label model on counts of votes, and on labels if there are any."""
    if votes.without_votes:
        logger.warning(
            "ensemble.labels: got %d labels of pairs without votes, such as broken pictures, "
            "expected good pairs; they are left out", votes.without_votes,
        )  # fmt: skip
    return fit_label_model(
        votes.counts, model=cfg.model, prior=cfg.prior, seed=seed,
        labelled=votes.labelled, share_copies=cfg.share_copies,
        columns=[rule.columns for rule in votes.rules],
    )  # fmt: skip


def p_keep_of(
    votes: Votes, model: LabelModel, cfg: Ensemble, *, execute: Executor
) -> tuple[EndModel | None, PKeep]:
    """Return the end model, if any, and what tells p(keep) of a shard's good rows."""
    if cfg.end_model is None:
        return None, lambda shard: model.predict(votes.of(shard))
    known = Known(votes.scores, votes, model, cfg.end_model)
    end = fit_on_columns(known, execute=execute)
    return end, p_keep_by_shard(known, end, execute=execute).__getitem__
