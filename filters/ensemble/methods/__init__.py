"""Ways of fitting a label model; the union below is the registry."""

from filters.ensemble.methods.base import Known, Method
from filters.ensemble.methods.latent_class import LatentClass
from filters.ensemble.methods.majority import Majority
from filters.ensemble.methods.triplet import Triplet

AnyMethod = (
    LatentClass
    | Majority
    | Triplet
)  # fmt: skip

__all__ = ["AnyMethod", "Known", "LatentClass", "Majority", "Method", "Triplet"]
