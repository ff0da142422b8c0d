"""Embeddings in, concepts out: clusters, near-duplicates inside them, and a share for each."""

from filters.concepts.consensus import Consensus
from filters.concepts.copies import (
    Copies,
    bands,
    closest,
    equal_copies,
    near_copies,
    near_in_groups,
)
from filters.concepts.kmeans import Clusters, assign, spherical_kmeans
from filters.concepts.near_captions import near_caption_of
from filters.concepts.quotas import allocate, complexity, targets
from filters.concepts.similar import Earlier, components, greedy_kept, max_similarity_to_earlier

__all__ = [
    "Clusters",
    "Consensus",
    "Copies",
    "Earlier",
    "allocate",
    "assign",
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
