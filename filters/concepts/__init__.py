"""Embeddings in, concepts out: clusters, near-duplicates inside them, and a share for each."""

from filters.concepts.consensus import Consensus
from filters.concepts.density import complexity
from filters.concepts.duplicates import duplicate_of
from filters.concepts.kmeans import Clusters, assign, spherical_kmeans
from filters.concepts.near_captions import near_caption_of
from filters.concepts.quotas import allocate
from filters.concepts.shares import targets

__all__ = [
    "Clusters",
    "Consensus",
    "allocate",
    "assign",
    "complexity",
    "duplicate_of",
    "near_caption_of",
    "spherical_kmeans",
    "targets",
]
