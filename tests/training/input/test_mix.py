"""Shares hold for every prefix, weights over an epoch, and no batch has a pair twice."""

import pickle

import numpy as np
import pytest

import training.input.showings
from pipeline.pairs import Pairs
from pipeline.transient import DiskFull
from tests.faulty import small_disk
from training.config import Sampling, Source
from training.input.mix import Mix, Turns, order_of, shown
from training.input.showings import Showings, showings_of


def made(copies=(), weights=None):
    N = len((copies or list(weights.values()))[0])
    return Pairs.of(
        ["s"], shard_N=np.zeros(N), offset_N=np.zeros(N), size_N=np.zeros(N),
        uids=[i.to_bytes(16, "big") for i in range(N)], captions={"caption": ["x"] * N},
        weights=weights, copies=copies,
    )  # fmt: skip


@pytest.mark.parametrize("shares", [(0.7, 0.3), (1, 1, 1), (0.5, 0.3, 0.2), (3.0, 0.01), (2,)])
def test_every_prefix_has_its_shares(shares):
    turns, stop = Turns(shares), 1000
    source = turns.sources(0, stop)
    taken = np.cumsum(source[:, None] == np.arange(len(shares)), axis=0)
    due = np.arange(1, stop + 1)[:, None] * np.array(shares) / sum(shares)
    assert np.abs(taken - due).max() < 1
    for s in range(len(shares)):
        at = np.flatnonzero(source == s)
        assert [turns.position(turn, s) for turn in range(len(at))] == at.tolist()
        assert [turns.before(p, s) for p in (0, 7, 999)] == [
            int((at < p).sum()) for p in (0, 7, 999)
        ]
        most = max(turns.before(p + 16, s) - turns.before(p, s) for p in range(500))
        assert turns.most(s, 16) == most


def test_sources_that_share_pairs_never_show_one_twice_in_a_batch():
    first = Showings(np.array([1]), np.array([0, 60]), np.arange(60))
    second = Showings(np.array([1, 2]), np.array([0, 40, 60]), np.arange(40, 100))
    mix = Mix([first, second], [0.7, 0.3], seed=3, batch_size=24)
    lap, row = mix.rows(0, 24 * 40)
    assert all(len(set(row[k : k + 24].tolist())) == 24 for k in range(0, len(row), 24))
    is_first = Turns([0.7, 0.3]).sources(0, len(row)) == 0
    assert row[is_first].max() < 60
    assert row[~is_first].min() >= 40
    for start, stop in ((0, 5), (23, 26), (100, 400), (7, 7)):
        found = pickle.loads(pickle.dumps(mix)).rows(start, stop)
        assert [f.tolist() for f in found] == [lap[start:stop].tolist(), row[start:stop].tolist()]
    with pytest.raises(ValueError, match=r"all pairs of source 1 of sampling\.mix are in"):
        Mix([first, Showings(np.array([1]), np.array([0, 8]))], [0.9, 0.1], seed=0,
            batch_size=64).rows(0, 640)  # fmt: skip


def test_a_mix_of_an_index_shows_each_subset_by_its_copies():
    pairs = made([[1, 2, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    sampling = Sampling(mix=(Source(subset="a", share=2.0), Source(subset="b")))
    order = order_of(sampling, pairs, seed=0, batch_size=3)
    row = order.rows(0, 12 * 6)[1]
    assert np.bincount(row, minlength=6).tolist() == [12, 24, 12, 8, 8, 8]
    uids = shown(order, pairs, step=4, batch_size=3)
    assert uids["f1"].tolist() == row[12:15].tolist()


@pytest.mark.parametrize("some", [1 << 20, 7])
def test_weights_are_exact_over_an_epoch(monkeypatch, tmp_path, some):
    monkeypatch.setattr(training.input.showings, "SOME", some)
    weight = [1, 0.5, 2, 0, 1, 0.25] * 4
    pairs = made(weights={"w": weight})
    showings = showings_of(pairs, weight="w")
    assert (showings.often_C.tolist(), showings.shown) == ([1, 2, 4, 8], 4 * 19)
    order = order_of(Sampling(weight="w"), pairs, seed=1, batch_size=4)
    lap, row = order.rows(0, 4 * 19 * 5)
    assert np.bincount(row, minlength=24).tolist() == [20 * w for w in weight]
    assert all(len(set(row[k : k + 4].tolist())) == 4 for k in range(0, len(row), 4))
    for number in range(8):  # a pair of weight 2 is in each lap of an epoch
        assert set(range(2, 24, 6)) <= set(row[lap == number].tolist())
    on_disk = Pairs(pairs.shards, pairs.parts, home=str(tmp_path))
    kept = showings_of(on_disk, weight="w")
    assert kept.row_M is not None
    assert kept.row_M.tolist() == showings.row_M.tolist()
    assert isinstance(kept.row_M, np.memmap)
    same = showings_of(made(weights={"w": [3.5] * 9}), weight="w")
    assert (same.row_M, same.most, same.shown) == (None, 1, 9)


def test_a_full_disk_is_named_before_anything_is_written_to_a_map(tmp_path):
    pairs = made(weights={"w": np.resize([0.5, 1.0], 100_000)})
    with small_disk(tmp_path, size=64 * 1024):
        on_disk = Pairs(pairs.shards, pairs.parts, home=str(tmp_path))
        with pytest.raises(DiskFull, match=f"got a full disk at {tmp_path} .*free some"):
            showings_of(on_disk, weight="w")
        assert not list(tmp_path.iterdir())


def test_weights_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"sampling\.weight: got 'v', expected one of w"):
        showings_of(made(weights={"w": [1.0]}), weight="v")
    with pytest.raises(ValueError, match="pairs: got none"):
        showings_of(made(weights={"w": [0.0, 0.0]}), weight="w")
    with pytest.raises(ValueError, match=r"got one of 10000\.0, expected at most 4096"):
        showings_of(made(weights={"w": [1e4, 1.0]}), weight="w")
