"""Clusters of a planted pool: the same pairs in the same clusters, however the pool is cut."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from filters.concepts import Flat, Hierarchical, TwoLevel
from pipeline.concepts.clusters import cluster_pairs
from pipeline.tables import embedding
from tests.kept import lumpy, start, told, with_vectors

COLUMNS = ("c_cluster", "c_distance", "c_second", "c_second_distance")
FLAT = Flat(clusters=5, sample=20)


def clustered(home, pool, *, clustering=FLAT, **where):
    remaining, place = start(home, pool, **where)
    return cluster_pairs(
        remaining, embedding="image_embedding", clustering=clustering, prefix="c_", seed=3,
        place=place,
    )  # fmt: skip


def arrays(found):
    return {name: a.tobytes() for name, a in found.concepts.to_arrays().items()}


@pytest.mark.parametrize(
    "clustering",
    [FLAT, TwoLevel(outer=3, inner=2, sample=20), Hierarchical(levels=(6, 2), steps=1)],
)
def test_shards_and_their_order_change_nothing(tmp_path, clustering):
    pool = lumpy(200)
    one = clustered(tmp_path / "1", pool, clustering=clustering)
    for shards in (2, 7):
        order = np.random.default_rng(shards).permutation(200)
        home = tmp_path / str(shards)
        other = clustered(home, pool, clustering=clustering, shards=shards, order=order)
        assert arrays(other) == arrays(one)
        assert told(other.remaining, COLUMNS) == told(one.remaining, COLUMNS)
        assert other.size_K.tolist() == one.size_K.tolist()
        assert other.mean_distance_K.tobytes() == one.mean_distance_K.tobytes()


def test_each_pair_is_with_its_nearest_centroids(tmp_path):
    found = clustered(tmp_path, lumpy(150), shards=2)
    total, pairs = np.zeros(5), np.zeros(5, int)
    for shard in range(2):
        table = found.remaining.scores.good(shard, ["image_embedding", *COLUMNS])
        vectors = embedding(table, "image_embedding").astype(np.float64)
        distance = np.sort(1 - vectors @ found.concepts.centroid_KD.T.astype(float), axis=1)
        nearest = np.argsort(1 - vectors @ found.concepts.centroid_KD.T, axis=1)
        first, near, second, next_ = (table.column(name).to_numpy() for name in COLUMNS)
        assert (first == nearest[:, 0]).all()
        assert (second == nearest[:, 1]).all()
        np.testing.assert_allclose(np.stack([near, next_], 1), distance[:, :2], atol=1e-6)
        np.add.at(total, first, near)
        np.add.at(pairs, first, 1)
    assert found.size_K.tolist() == pairs.tolist()
    np.testing.assert_allclose(found.mean_distance_K, total / pairs, rtol=1e-6)


def test_a_sample_is_told_of_and_is_the_size_asked_for(tmp_path, caplog):
    with caplog.at_level("INFO", "pipeline.concepts"):
        clustered(tmp_path, lumpy(2000), clustering=Flat(clusters=5, sample=100))
    line, result = (r.getMessage() for r in caplog.records)
    chosen, pairs, size = (int(word) for word in line.replace(",", "").split() if word.isdigit())
    assert abs(chosen - 500) < 4 * np.sqrt(500)
    assert (pairs, size) == (1800, chosen * 8)
    assert "5 clusters" in result


def test_what_has_no_direction_stays_in_without_a_cluster(tmp_path):
    pool = lumpy(60)
    vectors = pool.values["image_embedding"].astype(np.float64)
    vectors[:20] = 0
    vectors[20:30] = np.nan
    found = clustered(tmp_path, with_vectors(pool, vectors), shards=2)
    rows = told(found.remaining, COLUMNS)
    for uid, vector, is_ok in zip(pool.uids, vectors, pool.is_ok, strict=True):
        if is_ok:
            assert (rows[uid][0] is None) == (not np.abs(vector).sum() > 0)
    left = sum(len(found.remaining.left(shard, [])) for shard in range(2))
    assert (left, found.size_K.sum()) == (54, 27)


@pytest.mark.parametrize(("vectors", "clusters"), [(np.zeros((20, 4)), 0), (np.ones((20, 4)), 1)])
def test_pools_of_nothing_and_of_one_thing(tmp_path, vectors, clusters):
    found = clustered(tmp_path, with_vectors(lumpy(20), vectors), shards=2)
    assert found.concepts.clusters == clusters
    assert found.size_K.tolist() == [18] * clusters
    second = {row[2:] for row in told(found.remaining, COLUMNS).values()}
    assert second == {(None, None)}


def test_a_second_run_opens_no_table_of_the_pool(tmp_path):
    pool = lumpy(100)
    remaining, place = start(tmp_path, pool, shards=2)
    how = {"embedding": "image_embedding", "clustering": FLAT, "prefix": "c_", "seed": 3}
    first = cluster_pairs(remaining, place=place, **how)
    shutil.rmtree(tmp_path / "scores" / "score-0")
    again = cluster_pairs(remaining, place=place, **how)
    assert again.remaining == replace(first.remaining, scores=again.remaining.scores)
    assert arrays(again) == arrays(first)
    assert again.size_K.tolist() == first.size_K.tolist()
    with pytest.raises(ValueError, match="score-0"):  # another seed is another stage
        cluster_pairs(remaining, place=place, **how | {"seed": 4})
