"""Votes in, p(keep) out: noisy rules become one probability."""

from filters.ensemble.fit import fit_label_model
from filters.ensemble.labelled import Labelled, count_labels
from filters.ensemble.methods import AnyMethod, LatentClass, Majority, Method, Triplet
from filters.ensemble.model import Bayes, LabelModel, Share
from filters.ensemble.moments import Moments, add
from filters.ensemble.patterns import PatternCounts, count, merge

__all__ = [
    "AnyMethod", "Bayes", "LabelModel", "Labelled", "LatentClass", "Majority", "Method", "Moments",
    "PatternCounts", "Share", "Triplet", "add", "count", "count_labels", "fit_label_model", "merge",
]  # fmt: skip
