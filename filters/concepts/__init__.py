"""Embeddings in, concepts out: clusters, near-duplicates inside them, and a share for each."""

from filters.concepts.balanced import balanced_quotas
from filters.concepts.clustering import Concepts, Flat
from filters.concepts.consensus import Consensus
from filters.concepts.copies import near_copies
from filters.concepts.hierarchy import Hierarchical
from filters.concepts.kmeans import assign, spherical_kmeans
from filters.concepts.near_captions import near_caption_of
from filters.concepts.similar import components, greedy_kept, max_similarity_to_earlier
from filters.concepts.two_level import TwoLevel

AnyClustering = Flat | TwoLevel | Hierarchical

__all__ = [
    "AnyClustering",
    "Concepts",
    "Consensus",
    "Flat",
    "Hierarchical",
    "TwoLevel",
    "assign",
    "balanced_quotas",
    "components",
    "greedy_kept",
    "max_similarity_to_earlier",
    "near_caption_of",
    "near_copies",
    "spherical_kmeans",
]
