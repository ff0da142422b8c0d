"""Ways of fitting a label model; the union below is the registry."""

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.majority import Majority
from filters.ensemble.methods.snorkel import Snorkel
from filters.ensemble.methods.triplet import Triplet

AnyMethod = (
    Majority
    | Snorkel
    | Triplet
)  # fmt: skip

__all__ = ["AnyMethod", "Known", "Majority", "Method", "Snorkel", "Triplet"]
