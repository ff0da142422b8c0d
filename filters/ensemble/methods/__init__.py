"""Ways of fitting a label model; the union below is the registry."""

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.boosted import Boosted
from filters.ensemble.methods.dawid_skene import DawidSkene
from filters.ensemble.methods.latent_class import LatentClass
from filters.ensemble.methods.least_squares import LeastSquares
from filters.ensemble.methods.logistic import Logistic
from filters.ensemble.methods.majority import Majority
from filters.ensemble.methods.naive_bayes import NaiveBayes
from filters.ensemble.methods.snorkel import Snorkel
from filters.ensemble.methods.triplet import Triplet
from filters.ensemble.methods.weighted_majority import WeightedMajority

AnyMethod = (
    Majority
    | WeightedMajority
    | DawidSkene
    | NaiveBayes
    | LatentClass
    | Snorkel
    | Triplet
    | LeastSquares
    | Logistic
    | Boosted
)  # fmt: skip

__all__ = [
    "AnyMethod", "Boosted", "DawidSkene", "Known", "LatentClass", "LeastSquares", "Logistic",
    "Majority", "Method", "NaiveBayes", "Snorkel", "Triplet", "WeightedMajority",
]  # fmt: skip
