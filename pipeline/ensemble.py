"""The label model of a run: what is known of its votes, by its settings, made one."""

import logging

from filters.ensemble import LabelModel, fit_label_model
from filters.ensemble.end_model import EndModel
from pipeline.config import Ensemble
from pipeline.decide import PKeep
from pipeline.end_model import Known, fit_on_columns, p_keep_by_shard
from pipeline.executors import Executor
from pipeline.labels import Labels, read_keep_labels
from pipeline.votes import Votes

logger = logging.getLogger(__name__)


def labels_for(cfg: Ensemble) -> Labels | None:
    """Read the labels that the settings name, if any; all may be of one class.

    Raises:
        ValueError: The file cannot be read, or a label is neither 0 nor 1.
    """
    return read_keep_labels(cfg.labels) if cfg.labels else None


def fit_votes(votes: Votes, cfg: Ensemble, *, seed: int) -> LabelModel:
    """Fit the label model on counts of votes, and on labels if there are any."""
    if votes.without_votes:
        logger.warning(
            "ensemble.labels: got %d labels of pairs without votes, such as broken pictures, "
            "expected good pairs; they are left out", votes.without_votes,
        )  # fmt: skip
    return fit_label_model(
        votes.counts, model=cfg.model, prior=cfg.prior, seed=seed,
        labelled=votes.labelled, at_random=votes.at_random, share_copies=cfg.share_copies,
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
