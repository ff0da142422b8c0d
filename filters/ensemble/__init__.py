"""Votes in, p(keep) out: noisy rules become one probability."""

from filters.ensemble.analysis import Analysis, analyse
from filters.ensemble.fit import fit_label_model
from filters.ensemble.labelled import Labelled, count_labels
from filters.ensemble.methods import (
    AnyMethod,
    Boosted,
    DawidSkene,
    LatentClass,
    LeastSquares,
    Logistic,
    Majority,
    Method,
    NaiveBayes,
    Snorkel,
    Triplet,
    WeightedMajority,
)
from filters.ensemble.model import Bayes, LabelModel, Share
from filters.ensemble.moments import Moments, add
from filters.ensemble.patterns import PatternCounts, count, merge
from filters.ensemble.saved import load_label_model
from filters.ensemble.tally import MOST_PATTERNS, Tally
from filters.ensemble.ties import predict_classes

__all__ = [
    "MOST_PATTERNS", "Analysis", "AnyMethod", "Bayes", "Boosted", "DawidSkene", "LabelModel",
    "Labelled", "LatentClass", "LeastSquares", "Logistic", "Majority", "Method", "Moments",
    "NaiveBayes", "PatternCounts", "Share", "Snorkel", "Tally", "Triplet", "WeightedMajority",
    "add", "analyse", "count", "count_labels", "fit_label_model", "load_label_model", "merge",
    "predict_classes",
]  # fmt: skip
