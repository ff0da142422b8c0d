"""A JPEG is decoded as fine as its crop needs it and no finer; memory changes no pixel."""

import io
import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from pipeline.pairs import pairs_from_shards
from pipeline.shards import write_shard
from training.config import Augment
from training.input.augment import draw_crop
from training.input.encoded import Encoded
from training.input.order import sample_rng
from training.input.pictures import TOLD, WHOLE, Pictures

SIZES = ((500, 375), (1200, 900), (260, 700), (90, 60))  # 64 px are wanted


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Return smooth pictures of these sizes, each as JPEG, as turned JPEG and as PNG."""
    members = []
    for number, (width, height) in enumerate(SIZES):
        x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
        image = Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))
        turn = Image.Exif()
        turn[0x0112] = 6
        for kind, exif in (("jpg", None), ("jpeg", turn), ("png", None)):
            sink = io.BytesIO()
            image.save(sink, "PNG" if kind == "png" else "JPEG", quality=95, exif=exif or b"")
            key = f"{number}{kind}"
            members += [(f"{key}.{kind}", sink.getvalue()), (f"{key}.txt", b"words")]
    shard = tmp_path_factory.mktemp("sizes") / "00000.tar"
    write_shard(shard, members)
    return pairs_from_shards([str(shard)])


def _pictures(pairs, *, cache_bytes=0, min_area=0.1):
    augment = Augment(min_area=min_area)
    return Pictures(Encoded(pairs), size=64, augment=augment, cache_bytes=cache_bytes)


def test_of_many_broken_pictures_the_first_are_told_once(toy_pairs, caplog):
    pairs = toy_pairs(60, seed=1, corrupt=tuple(range(50)))
    pictures = _pictures(pairs)
    with caplog.at_level(logging.WARNING, logger="training.input.pictures"):
        for _ in range(2):
            assert pictures.show(0, partial(sample_rng, 0, 0, 0))[0] == 50
    told = [record.getMessage() for record in caplog.records]
    assert [text.split(" (")[0] for text in told[:-1]] == [f"pair {i}" for i in range(TOLD)]
    assert told[-1].startswith("further pictures cannot be decoded")


def test_no_crop_is_enlarged_that_need_not_be_and_none_is_cut_from_much_more(pairs):
    factors = set()
    for row in range(len(pairs)):
        whole = Image.open(io.BytesIO(pairs.image_bytes(row)))
        shape = np.asarray(whole).shape
        turned = whole.getexif().get(0x0112) == 6
        height, width = shape[1::-1] if turned else shape[:2]
        for epoch in range(8):
            draw = partial(sample_rng, 0, epoch, row)
            crop, picture = _pictures(pairs).decoded(row, draw)
            factor = round(max(width, height) / max(picture.shape))
            short = crop.short_side(picture.shape[1], picture.shape[0])
            if whole.format == "JPEG":
                assert crop == draw_crop(width, height, augment=Augment(min_area=0.1), rng=draw())
                assert picture.shape[:2] == (-(-height // factor), -(-width // factor))
                assert short >= 63 or factor == 1
                assert short <= 130 or factor == 8
                factors.add(factor)
    assert factors == {1, 2, 4, 8}


def test_squares_are_near_pillows_of_the_whole_picture(pairs):
    for row in range(len(pairs)):
        draw = partial(sample_rng, 0, 0, row)
        shown, square = _pictures(pairs, min_area=0.8).show(row, draw)
        assert shown == row
        crop, picture = _pictures(pairs, min_area=0.8).decoded(row, draw)
        whole = Image.open(io.BytesIO(pairs.image_bytes(row)))
        upright = whole.transpose(Image.Transpose.ROTATE_270) if whole.getexif() else whole
        share = np.array(upright.size * 2) / np.array(picture.shape[1::-1] * 2)
        left, top, right, bottom = np.array(crop.box(*picture.shape[1::-1])) * share
        box = (left, top, min(right, upright.width), min(bottom, upright.height))
        theirs = np.asarray(upright.resize((64, 64), Image.Resampling.BICUBIC, box=box))
        theirs = theirs[:, ::-1] if crop.mirror else theirs
        off = np.abs(square.astype(int) - theirs)
        assert off.mean() < 2.5
        assert off.max() < 30  # steep ramps of small pictures, in colours of half the resolution


def test_what_is_in_memory_gives_the_same_squares(pairs):
    """Crops of one picture want several reductions of it: each is kept on its own."""
    kept, fresh = _pictures(pairs, cache_bytes=2**26), _pictures(pairs)
    for epoch in (0, 1, 2, 0, 1, 2):
        for row in range(len(pairs)):
            draw = partial(sample_rng, 0, epoch, row)
            assert np.array_equal(kept.show(row, draw)[1], fresh.show(row, draw)[1])
    factors = [set(one.decoded) for one in kept._cache.values()]
    assert {WHOLE} in factors
    assert any(len(some) > 1 for some in factors)
    kept.encoded.pairs = replace(pairs, shards=("/nowhere/00000.tar",))
    for row in range(len(pairs)):
        kept.show(row, partial(sample_rng, 0, 1, row))
