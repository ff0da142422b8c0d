"""Quotas of a planted pool, against what one array and a loop say of the same centroids."""

from dataclasses import replace

import numpy as np
import pytest

from filters.concepts import Flat, Hierarchical, TwoLevel
from pipeline.columns.remaining import Remaining, reason_column
from pipeline.columns.stages import column_stage
from pipeline.concepts.prune import CLUSTERS, prune
from pipeline.concepts.table import on_a_plane
from pipeline.executors import run_on_ray
from pipeline.executors.local import Local
from pipeline.settings import Concepts
from tests.kept import lumpy, start, told, with_vectors

FLAT = Flat(clusters=6, sample=30)
COLUMNS = ("reason_quota", "concept_cluster", "concept_distance")
ROWS = 240


def pruned(home, pool, *, seed=0, cfg=None, **where):
    remaining, place = start(home, pool, **where)
    cfg = cfg or Concepts(cluster=FLAT, keep=0.4)
    return prune(remaining, cfg, seed=seed, place=place)


def told_in_full(found):
    """Return what is known of every pair, and of every cluster."""
    return told(found.remaining, COLUMNS), found.table.to_pydict()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, pool):
    return told_in_full(pruned(tmp_path_factory.mktemp("whole"), pool))


@pytest.fixture(scope="module")
def pool():
    """Return a pool in lumps; of its good pairs some have no direction, and a few are the same."""
    pool = lumpy(ROWS)
    vectors = pool.values["image_embedding"].astype(np.float64)
    vectors[:6], vectors[10:13] = 0, np.nan
    vectors[20:40] = vectors[20]
    return with_vectors(pool, vectors)


def assigned(pool, centroids):
    """Return uids of good pairs, sorted, their clusters (-1 for none), and distances."""
    uids = np.array(pool.uids, object)[pool.is_ok]
    vectors = pool.values["image_embedding"][pool.is_ok].astype(np.float64)
    order = np.argsort(uids)
    uids, vectors = uids[order], vectors[order]
    products = np.array([[float(v @ c) for c in centroids.astype(np.float64)] for v in vectors])
    has = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    cluster = np.where(has, np.nan_to_num(products).argmax(axis=1), -1)
    return uids, cluster, (1 - products[np.arange(len(uids)), cluster]).astype(np.float32)


def nearest_whole(target, lower, upper, total):
    """Give one more to whoever is farthest below its target, until all is given."""
    quota = lower.copy()
    for _ in range(total - lower.sum()):
        short = np.where(quota < upper, target - quota, -np.inf)
        quota[short.argmax()] += 1
    return quota


def spreads(cfg, centroids, cluster, distance):
    """Return d_inter and d_intra, [2, K]."""
    inter = []
    for j, c in enumerate(centroids.astype(np.float64)):
        near = sorted(1 - c @ o for i, o in enumerate(centroids.astype(np.float64)) if i != j)
        inter.append(np.mean(near[: cfg.neighbours]))
    intra = [np.mean(distance[cluster == j], dtype=np.float64) for j in range(len(centroids))]
    return np.array([inter, intra])


def expected_quotas(cfg, centroids, cluster, distance, total):
    size = np.bincount(cluster[cluster >= 0], minlength=len(centroids))
    if cfg.by == "density":
        weight = np.exp(
            np.prod(spreads(cfg, centroids, cluster, distance), axis=0) / cfg.temperature
        )
    elif cfg.by == "uniform":
        weight = np.ones(len(size))
    elif cfg.by == "size":
        weight = size.astype(float)
    else:
        first = sorted(range(len(cluster)), key=lambda i: (cluster[i] < 0, -distance[i], i))
        weight = np.bincount(cluster[first[:total]], minlength=len(size)).astype(float)
    wanted = max(cfg.minimum, int(cfg.balance * total / len(size)))
    while np.minimum(wanted, size - 1).sum() > total:
        wanted -= 1
    return nearest_whole(weight * (total / weight.sum()), np.minimum(wanted, size - 1), size, total)


@pytest.mark.parametrize(
    "how",
    [
        {"by": "density"},
        {"by": "density", "temperature": 0.01, "neighbours": 2, "keep": 0.9},
        {"by": "density", "balance": 1.0, "minimum": 3},
        {"by": "density", "keep": 0.01},
        {"by": "uniform", "minimum": 1000},
        {"by": "size", "keep": 0.5, "which": "easy"},
        {"by": "ssp"},
        {"by": "ssp", "balance": 0.9},
    ],
)
def test_quotas_and_what_is_kept_are_those_of_a_loop(tmp_path, pool, how):
    cfg = Concepts(**{"cluster": FLAT, "keep": 0.4} | how)
    found = pruned(tmp_path, pool, cfg=cfg, shards=3)
    centroid_KD = found.concepts.centroid_KD
    uids, cluster, distance = assigned(pool, centroid_KD)
    pairs = int((cluster >= 0).sum())
    total = max(1, int(cfg.keep * pairs))
    quota = expected_quotas(cfg, centroid_KD, cluster, distance, total)
    assert found.table.column("quota").to_pylist() == quota.tolist()
    assert found.table.column("size").to_numpy().sum() == pairs
    told_of = [found.table.column(name).to_numpy() for name in ("d_inter", "d_intra")]
    np.testing.assert_allclose(told_of, spreads(cfg, centroid_KD, cluster, distance), rtol=1e-6)
    sign = -1 if cfg.which == "hard" else 1
    reason = np.where(cluster < 0, "no_embedding", "quota").astype(object)
    for j, kept in enumerate(quota):
        members = sorted(np.flatnonzero(cluster == j), key=lambda i: (sign * distance[i], uids[i]))
        reason[members[:kept]] = "ok"
    rows = told(found.remaining, ["reason_quota"])
    assert [rows[uid][0] for uid in uids] == reason.tolist()


SETTINGS = [
    Concepts(cluster=FLAT, keep=0.4),
    Concepts(cluster=FLAT, keep=0.3, by="ssp", which="easy", balance=0.5),
    Concepts(cluster=FLAT, keep=0.5, by="uniform", which="random"),
    Concepts(cluster=TwoLevel(outer=3, inner=3, sample=20), keep=0.5, by="balanced"),
]


@pytest.mark.parametrize("cfg", SETTINGS)
def test_shards_their_order_and_how_many_answer_change_nothing(tmp_path, pool, cfg, monkeypatch):
    one = told_in_full(pruned(tmp_path / "1", pool, cfg=cfg))
    monkeypatch.setattr("pipeline.concepts.ranked.PARTITION_ROWS", 30)  # some clusters are larger
    order = np.random.default_rng(7).permutation(ROWS)
    assert told_in_full(pruned(tmp_path / "7", pool, cfg=cfg, shards=7, order=order)) == one


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_ray_decides_as_this_process_does(tmp_path, pool, ray_data):
    cfg = Concepts(cluster=TwoLevel(outer=3, inner=3, sample=20), keep=0.4, by="ssp")
    here = pruned(tmp_path / "here", pool, cfg=cfg, shards=3)
    there = pruned(tmp_path / "there", pool, cfg=cfg, shards=3, execute=run_on_ray("local"))
    assert told_in_full(here) == told_in_full(there)


def test_random_ones_are_others_with_another_seed(tmp_path, pool):
    cfg = Concepts(cluster=Flat(clusters=1), keep=0.5, which="random")
    kept = []
    for seed in (0, 1):
        found = pruned(tmp_path / str(seed), pool, cfg=cfg, seed=seed)
        rows = told(found.remaining, ["reason_quota"])
        kept.append({uid for uid, (reason,) in rows.items() if reason == "ok"})
    pairs = found.table.column("size")[0].as_py()
    assert len(kept[0]) == len(kept[1]) == pairs // 2
    assert abs(len(kept[0] & kept[1]) - pairs / 4) < 4 * np.sqrt(pairs) / 4


def test_balanced_children_differ_by_one_at_most(tmp_path, pool):
    cfg = Concepts(cluster=Hierarchical(levels=(8, 3), steps=1), keep=0.5, by="balanced")
    table = pruned(tmp_path, pool, cfg=cfg, shards=2).table
    size, quota, parent = (table.column(n).to_numpy() for n in ("size", "quota", "parent_0"))
    assert quota.sum() == size.sum() // 2
    assert (quota <= size).all()
    groups = [parent == p for p in np.unique(parent)]
    unsaturated = [quota[g][quota[g] < size[g]] for g in groups]
    assert all(np.ptp(q) <= 1 for q in unsaturated if len(q))
    above = [quota[g].sum() for g in groups if quota[g].sum() < size[g].sum()]
    assert np.ptp(above) <= 1


def test_all_are_kept_and_the_clusters_known(tmp_path, pool):
    found = pruned(tmp_path, pool, cfg=Concepts(cluster=FLAT), shards=2)
    assert found.remaining.reason == "status"
    assert found.table.column("quota").equals(found.table.column("size"))
    assert np.isfinite(found.table.column("complexity").to_numpy()).all()


@pytest.mark.parametrize(
    ("rows", "clusters", "vectors"),
    [(12, 50, None), (12, 3, np.zeros((12, 4))), (12, 3, np.ones((12, 4))), (1, 3, None)],
)
def test_few_pairs_none_with_a_direction_and_all_the_same(tmp_path, rows, clusters, vectors):
    pool = lumpy(rows)
    pool = pool if vectors is None else with_vectors(pool, vectors)
    cfg = Concepts(cluster=Flat(clusters=clusters), keep=0.5)
    found = pruned(tmp_path, pool, cfg=cfg, shards=min(rows, 2))
    reasons = [reason for (reason,) in told(found.remaining, ["reason_quota"]).values()]
    pairs = int(found.table.column("size").to_numpy().sum())
    assert pairs == (0 if vectors is not None and not vectors.any() else pool.is_ok.sum())
    assert reasons.count("ok") == min(pairs, max(1, pairs // 2))
    assert reasons.count("no_embedding") == pool.is_ok.sum() - pairs
    assert found.table.column("quota").to_numpy().sum() == reasons.count("ok")


class Killed(Local):
    """Ends after so many results."""

    def __init__(self, results):
        self.left = results

    def map(self, function, shared, items, *, weights):
        for result in super().map(function, shared, items, weights=weights):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield result


# A pass over 3 shards is three tasks: count, sample, assign, add up, move, cut (one), write.
@pytest.mark.parametrize("results", [4, 7, 13, 15, 17])
def test_what_was_killed_goes_on(tmp_path, pool, whole, results):
    with pytest.raises(KeyboardInterrupt):
        pruned(tmp_path, pool, shards=3, execute=Killed(results))
    assert told_in_full(pruned(tmp_path, pool, shards=3)) == whole
    again = pruned(tmp_path, pool, shards=3, execute=Killed(0))  # no pass may give a result
    assert told_in_full(again) == whole


def test_a_damaged_table_of_clusters_is_told(tmp_path, pool):
    whole = told_in_full(pruned(tmp_path, pool, shards=3))
    (table,) = tmp_path.glob(f"scores/quota-*/{CLUSTERS}")
    table.write_bytes(table.read_bytes()[:-9])
    with pytest.raises(ValueError, match=rf"clusters: got .*{CLUSTERS}, .*; delete it to have it"):
        pruned(tmp_path, pool, shards=3)
    table.unlink()
    assert told_in_full(pruned(tmp_path, pool, shards=3)) == whole


def test_a_plane_shows_what_differs_most():
    points = np.array([[3, 0, 1], [-3, 0, 1], [0, 1, 1], [0, -1, 1]], np.float32)
    assert on_a_plane(points).tolist() == [[3, 0], [-3, 0], [0, 1], [0, -1]]
    assert on_a_plane(points[:1]).tolist() == [[0, 0]]
    assert on_a_plane(points[[0, 0]]).tolist() == [[0, 0], [0, 0]]
    assert on_a_plane(points[:2, :1]).tolist() == [[3, 0], [-3, 0]]


def _veto_few_words(_, scores, shard):
    words = scores.good(shard, ["words"]).column("words").to_numpy()
    return {"reason_few": np.where(words < 2, "veto", "ok").tolist()}


def test_pairs_that_were_out_before_stay_so_and_do_not_count(tmp_path, pool):
    remaining, place = start(tmp_path / "all", pool, shards=2)
    stage = column_stage(
        remaining.scores, "few", [reason_column("few")], place=place, reads=["words"], version=1
    )
    left = Remaining(stage.fill(_veto_few_words, None), "reason_few")
    found = prune(left, SETTINGS[1], seed=0, place=place)
    fewer = replace(pool, is_ok=pool.is_ok & (pool.values["words"] >= 2))
    alone = pruned(tmp_path / "fewer", fewer, cfg=SETTINGS[1])
    rows = told(found.remaining, COLUMNS)
    assert told(alone.remaining, COLUMNS) == {u: r for u, r in rows.items() if r[0] != "veto"}
    assert {r[1:] for r in rows.values() if r[0] == "veto"} == {(None, None)}
    assert found.table.equals(alone.table)
