"""Embeddings in, concepts out: clusters, near-duplicates inside them, and a share for each."""

from filters.concepts.balanced import balanced_quotas
from filters.concepts.clustering import Clustering, Concepts, Flat
from filters.concepts.consensus import Consensus
from filters.concepts.density import complexity
from filters.concepts.duplicates import duplicate_of
from filters.concepts.hierarchy import Hierarchical
from filters.concepts.kmeans import Clusters, Trained, assign, spherical_kmeans
from filters.concepts.near_captions import near_caption_of
from filters.concepts.quotas import allocate
from filters.concepts.shares import targets
from filters.concepts.two_level import TwoLevel

AnyClustering = Flat | TwoLevel | Hierarchical

__all__ = [
    "AnyClustering",
    "Clustering",
    "Clusters",
    "Concepts",
    "Consensus",
    "Flat",
    "Hierarchical",
    "Trained",
    "TwoLevel",
    "allocate",
    "assign",
    "balanced_quotas",
    "complexity",
    "duplicate_of",
    "near_caption_of",
    "spherical_kmeans",
    "targets",
]
