"""Ways of fitting a label model; the union below is the registry."""

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.boosted import Boosted
from filters.ensemble.methods.least_squares import LeastSquares
from filters.ensemble.methods.logistic import Logistic
from filters.ensemble.methods.majority import Majority
from filters.ensemble.methods.triplet import Triplet

AnyMethod = (
    Majority
    | Triplet
    | LeastSquares
    | Logistic
    | Boosted
)  # fmt: skip

__all__ = [
    "AnyMethod", "Boosted", "Known", "LeastSquares", "Logistic", "Majority", "Method", "Triplet",
]  # fmt: skip
