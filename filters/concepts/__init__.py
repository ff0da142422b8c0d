"""Embeddings in, concepts out: clusters, near-duplicates inside them, and a share for each."""

from filters.concepts.balanced import balanced_quotas
from filters.concepts.clustering import Clustering, Concepts, Flat
from filters.concepts.consensus import Consensus
from filters.concepts.copies import (
    Copies,
    bands,
    closest,
    equal_copies,
    near_copies,
    near_in_groups,
)
from filters.concepts.density import complexity
from filters.concepts.hierarchy import Hierarchical
from filters.concepts.kmeans import Clusters, Trained, assign, spherical_kmeans
from filters.concepts.near_captions import near_caption_of
from filters.concepts.quotas import allocate
from filters.concepts.shares import targets
from filters.concepts.similar import Earlier, components, greedy_kept, max_similarity_to_earlier
from filters.concepts.two_level import TwoLevel

AnyClustering = Flat | TwoLevel | Hierarchical

__all__ = [
    "AnyClustering",
    "Clustering",
    "Clusters",
    "Concepts",
    "Consensus",
    "Copies",
    "Earlier",
    "Flat",
    "Hierarchical",
    "Trained",
    "TwoLevel",
    "allocate",
    "assign",
    "balanced_quotas",
    "bands",
    "closest",
    "complexity",
    "components",
    "equal_copies",
    "greedy_kept",
    "max_similarity_to_earlier",
    "near_caption_of",
    "near_copies",
    "near_in_groups",
    "spherical_kmeans",
    "targets",
]
