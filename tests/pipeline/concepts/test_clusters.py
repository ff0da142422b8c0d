"""Clusters of a planted pool: the same pairs to the same clusters, however the pool is cut."""

import numpy as np

from filters.concepts.clustering import Flat
from pipeline.concepts.clusters import cluster_pairs
from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.remaining import Remaining
from pipeline.stages import Place
from tests.scored import planted, scored

SETTINGS = {"embedding": "image_embedding", "prefix": "c_", "seed": 3}
FLAT = Flat(clusters=5, sample=20)


def clustered(home, pool, *, shards, order=None, clustering=FLAT):
    scores, found = scored(home, pool, shards=shards, order=order)
    place = Place(found, Folder(str(home)), run_local)
    return cluster_pairs(Remaining(scores), clustering=clustering, place=place, **SETTINGS)


def by_uid(found):
    names = ["uid", "c_cluster", "c_distance", "c_second", "c_second_distance"]
    remaining = found.remaining
    parts = [remaining.left(shard, names) for shard in range(len(remaining.scores))]
    return sorted(tuple(row[n] for n in names) for p in parts for row in p.to_pylist())


def test_any_sharding(tmp_path):
    pool = planted(300)
    one = clustered(tmp_path / "1", pool, shards=1)
    for shards in (2, 7):
        order = np.random.default_rng(shards).permutation(300)
        other = clustered(tmp_path / str(shards), pool, shards=shards, order=order)
        assert by_uid(other) == by_uid(one)
        assert (other.concepts.centroid_KD == one.concepts.centroid_KD).all()
        assert other.size_K.tolist() == one.size_K.tolist()
        assert other.distance_K.tolist() == one.distance_K.tolist()
    assert one.size_K.sum() == pool.is_ok.sum()
