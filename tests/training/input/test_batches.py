"""The loader gives the same batches whatever its threads, cache and starting point."""

import dataclasses
import io
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.pairs import Pairs
from training.config import Augment, Loader, Loss, Train
from training.input.batches import Batches
from training.input.making import Maker
from training.input.order import Order
from training.parallel.ranks import ALONE, Ranks


def _batches(pairs, *, first=0, last=6, seed=4, ranks=ALONE, **how):
    return list(_made_of(pairs, seed=seed, ranks=ranks, **how).iterate(first, last))


def _made_of(pairs, *, batch_size=10, seed=4, ranks=ALONE, **how):
    order = Order(len(pairs), seed=seed, batch_size=min(batch_size, len(pairs)))
    return Batches(
        pairs, None, order=order, size=24, batch_size=batch_size, augment=Augment(),
        loader=Loader(**how), ranks=ranks,
    )  # fmt: skip


def _same(a, b):
    return all(
        torch.equal(x.pixels_BHWC, y.pixels_BHWC) and np.array_equal(x.row_B, y.row_B)
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize(
    "how",
    [
        {"threads": 1, "prefetch": 1, "cache_bytes": 0},
        {"threads": 4, "prefetch": 9, "cache_bytes": 0},
        {"threads": 3, "prefetch": 2, "cache_bytes": 20_000},
        {"threads": 2, "prefetch": 4, "cache_bytes": 2**30},
    ],
)
def test_threads_prefetch_and_cache_change_nothing(toy_pairs, how):
    pairs = toy_pairs(23, seed=1)
    assert _same(_batches(pairs), _batches(pairs, **how))


def test_starting_late_gives_the_rest(toy_pairs):
    pairs = toy_pairs(23, seed=1)
    assert _same(_batches(pairs)[4:], _batches(pairs, first=4))


def test_other_seed_other_batches(toy_pairs):
    pairs = toy_pairs(23, seed=1)
    assert not _same(_batches(pairs), _batches(pairs, seed=5))


def test_a_batch_shows_the_pictures_it_names(toy_pairs):
    """Every toy picture has a ground colour of its own, and its crop shows it."""
    pairs = toy_pairs(12, seed=2)
    batch = _batches(pairs, last=1)[0]
    for crop, row in zip(batch.pixels_BHWC.numpy(), batch.row_B, strict=True):
        whole = np.asarray(Image.open(io.BytesIO(pairs.image_bytes(row))))
        assert (crop == whole[0, 0]).all(axis=-1).any()


def test_the_cache_stays_within_its_bound(toy_pairs):
    pairs = toy_pairs(23, seed=1)
    batches = _made_of(pairs, seed=0, cache_bytes=20_000)
    list(batches.iterate(0, 6))
    kept = batches.maker.pictures._cache.values()
    assert 0 < sum(p.nbytes for one in kept for p in one.decoded.values()) <= 20_000


def test_what_was_filled_in_beforehand_is_not_read_again(toy_pairs):
    pairs = toy_pairs(23, seed=1)
    batches = _made_of(pairs, threads=2)
    batches.fill(0, 6)
    batches.maker.encoded.pairs = dataclasses.replace(pairs, shards=("/nowhere/00000.tar",))
    assert _same(list(batches.iterate(0, 6)), _batches(pairs))


def test_filling_stops_at_the_bound_and_at_what_will_be_shown(toy_pairs):
    pairs = toy_pairs(23, seed=1)
    short = _made_of(pairs, batch_size=5, threads=2)
    short.fill(0, 2)
    shown = short.recipe.order.rows(0, 10)[1].tolist()
    assert sorted(short.maker.pictures._cache) == sorted(shown)


def test_a_corrupt_picture_is_replaced_and_disturbs_nobody(toy_pairs, caplog):
    good, bad = toy_pairs(23, seed=3), toy_pairs(23, seed=3, corrupt=(5, 6, 22))
    with caplog.at_level(logging.WARNING, logger="training.input.pictures"):
        with_bad = _batches(bad)
    without = _batches(good)
    for a, b in zip(without, with_bad, strict=True):
        broken = np.isin(a.row_B, (5, 6, 22))
        np.testing.assert_array_equal(
            a.pixels_BHWC.numpy()[~broken], b.pixels_BHWC.numpy()[~broken]
        )
        stand_in = {5: 7, 6: 7, 22: 0}
        assert [stand_in[r] for r in a.row_B[broken].tolist()] == b.row_B[broken].tolist()
        assert b.replaced == broken.sum()
    assert sum(b.replaced for b in with_bad) > 3
    assert len(caplog.records) == 3
    assert all(f"({bad.shards[0]}, byte " in record.getMessage() for record in caplog.records)
    assert _same(with_bad, _batches(bad, threads=3, cache_bytes=0))


def test_nothing_but_corrupt_pictures_is_refused(toy_pairs):
    with pytest.raises(ValueError, match="got 3 pictures none of which can be decoded"):
        _batches(toy_pairs(3, seed=1, corrupt=(0, 1, 2)))


def test_a_shard_that_vanished_is_an_error_of_the_run(toy_pairs):
    pairs = dataclasses.replace(toy_pairs(3, seed=1), shards=("/nowhere/00000.tar",))
    with pytest.raises(FileNotFoundError, match=r"shard /nowhere/00000\.tar.*put the shard back"):
        _batches(pairs)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_shares_of_all_ranks_are_the_whole_batch(toy_pairs, count):
    pairs = toy_pairs(23, seed=3, corrupt=(5,))
    parts = [_batches(pairs, ranks=Ranks(rank=r, count=count)) for r in range(count)]
    for whole, *shares in zip(_batches(pairs), *parts, strict=True):
        assert torch.equal(whole.pixels_BHWC, torch.cat([s.pixels_BHWC for s in shares]))
        assert np.concatenate([s.row_B for s in shares]).tolist() == whole.row_B.tolist()
        assert shares[0].start == whole.start
        assert [s.start + len(s) for s in shares[:-1]] == [s.start for s in shares[1:]]
        assert sum(s.replaced for s in shares) == whole.replaced


def test_a_step_is_made_when_it_is_wanted_and_not_long_before(toy_pairs, monkeypatch):
    """Memory is bounded: no more than `prefetch` batches are ahead of the model."""
    made = []
    make = Maker.make
    monkeypatch.setattr(Maker, "make", lambda *args: made.append(args[1].start) or make(*args))
    batches = _made_of(toy_pairs(23, seed=1), batch_size=5, threads=2, prefetch=3)
    coming = batches.iterate(0, 40)
    next(coming)
    coming.close()
    assert len(made) <= 1 + 3


@pytest.mark.parametrize("value", [0.0, 1e-45, 1e38])
def test_weights_that_would_teach_nothing_are_refused(tiny_model, value):
    pairs = Pairs.of(
        ["s"], shard_N=[0] * 20, offset_N=[0] * 20, size_N=[0] * 20,
        uids=[i.to_bytes(16, "big") for i in range(20)], captions={"caption": ["x"] * 20},
        weights={"w": [value] * 20},
    )  # fmt: skip
    cfg = Train(model=tiny_model, loss=Loss(weight="w"), batch_size=4)
    with pytest.raises(ValueError, match=r"loss\.weight: got 'w', whose largest value is"):
        Batches.of(cfg, pairs, None, size=8, seed=0, ranks=ALONE)
