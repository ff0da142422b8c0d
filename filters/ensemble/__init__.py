"""Votes in, p(keep) out: noisy rules become one probability."""

from filters.ensemble.fit import fit_label_model
from filters.ensemble.model import LabelModel
from filters.ensemble.patterns import PatternCounts, count, merge

__all__ = ["LabelModel", "PatternCounts", "count", "fit_label_model", "merge"]
