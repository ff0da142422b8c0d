"""Votes in, p(keep) out: noisy rules become one probability."""

from filters.ensemble.analysis import Analysis, analyse
from filters.ensemble.fit import fit_label_model
from filters.ensemble.labelled import Labelled, count_labels
from filters.ensemble.methods import AnyMethod, Majority, Method, Triplet
from filters.ensemble.model import Bayes, LabelModel, Share
from filters.ensemble.moments import Moments, add
from filters.ensemble.patterns import PatternCounts, count, merge
from filters.ensemble.saved import load_label_model

__all__ = [
    "Analysis", "AnyMethod", "Bayes", "LabelModel", "Labelled", "Majority", "Method", "Moments",
    "PatternCounts", "Share", "Triplet", "add", "analyse", "count", "count_labels",
    "fit_label_model", "load_label_model", "merge",
]  # fmt: skip
