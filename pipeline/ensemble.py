"""The label model of a run: what is known of its votes, by its settings, made one."""

import logging
from collections.abc import Mapping

from filters.ensemble import LabelModel, fit_label_model
from filters.ensemble.end_model import EndModel
from filters.extract import Column
from filters.extract.base import Values
from pipeline.columns.stages import Place, column_stage
from pipeline.config import Ensemble
from pipeline.end_model import Known, fit_on_columns
from pipeline.labels import Labels, read_keep_labels
from pipeline.scores import Scores
from pipeline.votes import Votes

P_KEEP = Column("p_keep", "float64", "", "[0, 1]", "how sure the ensemble is of the pair")

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


def keep_probability(
    votes: Votes, model: LabelModel, cfg: Ensemble, *, place: Place
) -> tuple[EndModel | None, Scores]:
    """Return the end model, if any, and the scores with every good pair's p(keep)."""
    known, end = None, None
    if cfg.end_model is not None:
        known = Known(votes.scores, votes, model, cfg.end_model)
        end = fit_on_columns(known, execute=place.execute)
    stage = column_stage(
        votes.scores, "p_keep", [P_KEEP], place=place, reads=votes.scores.columns, version=1,
        model=model.to_json(), end="" if end is None else end.to_json(),
        use="" if cfg.end_model is None else cfg.end_model.use,
    )  # fmt: skip
    if stage.is_whole:
        return end, stage.known()
    return end, stage.fill(_p_keep, (votes, model, known, end))


def _p_keep(
    shared: tuple[Votes, LabelModel, Known | None, EndModel | None], scores: Scores, shard: int
) -> Mapping[str, Values]:
    del scores
    votes, model, known, end = shared
    if known is None or end is None:
        return {P_KEEP.name: model.predict(votes.of(shard))}
    return {P_KEEP.name: known.predict(end, shard)}
