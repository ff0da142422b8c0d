"""What there is to say of each cluster, in one small table.

Letters: K clusters, D dimensions.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.concepts.density import complexity
from pipeline.concepts.clusters import Clustered

AXES = 2
NO_SPREAD = 1e-12  # of the largest: an axis along which centroids do not differ


def cluster_table(
    clustered: Clustered, *, quota_K: NDArray[np.int64], complexity_K: NDArray[np.float64]
) -> pa.Table:
    """Return a row for each cluster.

    Args:
        clustered: The clusters, and the pairs in them.
        quota_K: Pairs that each keeps.
        complexity_K: Of each, see `complexities`.

    Returns:
        `concept` int32; `size` and `quota` int64, pairs; `complexity`, `d_intra` and `d_inter`
        float64, null where nothing is near or inside; `x` and `y` float32, where its centroid lies
        on the plane along which centroids differ most; `parent_0`, its parent in the level above,
        `parent_1`, that one's parent, and so on, int32.
    """
    concepts = clustered.concepts
    intra_K = clustered.mean_distance_K
    with np.errstate(divide="ignore", invalid="ignore"):  # within an ulp of what it was made of
        inter_K = np.where(intra_K > 0, complexity_K / intra_K, np.nan)
    plane_K2 = on_a_plane(concepts.centroid_KD)
    columns = {
        "concept": np.arange(concepts.clusters, dtype=np.int32),
        "size": clustered.size_K,
        "quota": quota_K,
        "complexity": complexity_K,
        "d_intra": pa.array(intra_K, from_pandas=True),
        "d_inter": pa.array(
            inter_K if concepts.clusters > 1 else intra_K * np.nan, from_pandas=True
        ),
        "x": plane_K2[:, 0],
        "y": plane_K2[:, 1],
    }
    parent_K = np.arange(concepts.clusters)
    for level, above in enumerate(concepts.parents):
        parent_K = above[parent_K]
        columns[f"parent_{level}"] = parent_K.astype(np.int32)
    return pa.table(columns)


def complexities(clustered: Clustered, *, neighbours: int) -> NDArray[np.float64]:
    """Return d_inter * d_intra of each cluster over the pairs still in, float64 [K]."""
    return complexity(
        clustered.concepts.centroid_KD,
        mean_distance_K=clustered.mean_distance_K,
        neighbours=neighbours,
    )


def on_a_plane(centroid_KD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Project centroids on their first two principal axes, float32 [K, 2].

    An axis has the sign that makes its largest component positive; one along which centroids do
    not differ, or which is not there, gives zeros.
    """
    plane_K2 = np.zeros((len(centroid_KD), AXES), np.float32)
    if len(centroid_KD) <= 1:
        return plane_K2
    centred_KD = centroid_KD.astype(np.float64)
    centred_KD -= centred_KD.mean(axis=0)
    variance_D, axis_DD = np.linalg.eigh(centred_KD.T @ centred_KD)
    for at, (variance, axis_D) in enumerate(
        zip(variance_D[: -AXES - 1 : -1], axis_DD.T[::-1], strict=False)
    ):
        if variance > NO_SPREAD * variance_D[-1]:
            plane_K2[:, at] = centred_KD @ axis_D * np.sign(axis_D[np.abs(axis_D).argmax()])
    return plane_K2
