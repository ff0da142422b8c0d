import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from filters.extract.image import dct_basis
from filters.extract.image import perceptual_hash as phash
from pipeline.pools.item import Picture
from pipeline.pools.looks import look, look_at
from pipeline.pools.near_copies import RADIUS


def bits_apart(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def test_the_basis_is_scipys_transform():
    grey = np.random.default_rng(0).uniform(0, 255, (32, 32))
    basis = dct_basis()
    np.testing.assert_allclose(basis @ grey @ basis.T, dctn(grey, norm="ortho")[:8, :8])


def test_the_highest_bit_is_the_mean_brightness():
    assert phash(np.full((32, 32), 255.0) + np.eye(32)) >> 63 == 1


def test_rounding_does_not_reach_the_hash_of_a_symmetric_picture():
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    rings = 128 + 100 * np.cos(9 * np.hypot(x, y))
    noisy = rings + np.random.default_rng(0).uniform(-2, 2, rings.shape)
    one, other = (look(_png(g.astype(np.uint8))).phash for g in (rings, noisy))
    assert bits_apart(one, other) <= 2


@pytest.mark.parametrize("factor", [0.4, 0.6, 0.9])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_resized_and_reencoded_copies_are_near(draw, factor, form):
    for seed in range(20):
        original = draw(seed, side=200)
        with Image.open(io.BytesIO(original)) as image:
            side = round(200 * factor)
            file = io.BytesIO()
            image.resize((side, side), Image.Resampling.LANCZOS).save(file, form)
        assert bits_apart(look(original).phash, look(file.getvalue()).phash) <= RADIUS


def test_different_pictures_are_far(draw):
    hashes = [look(draw(seed)).phash for seed in range(40)]
    assert min(bits_apart(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > RADIUS


def test_transparency_lies_on_white():
    disc = np.zeros((64, 64, 4), np.uint8)
    disc[16:48, 16:48, 3] = 255  # a black square on nothing
    on_white = np.full((64, 64, 3), 255, np.uint8)
    on_white[16:48, 16:48] = 0
    assert look(_png(disc)).phash == look(_png(on_white)).phash


def test_size_and_format_come_from_the_content(draw):
    seen = look(draw(1, side=77, form="JPEG"))
    assert (seen.extension, seen.width, seen.height) == ("jpg", 77, 77)


def test_a_flat_picture_has_no_hash():
    seen = look(_png(np.full((50, 40, 3), 200, np.uint8)))
    assert (seen.width, seen.height, seen.phash) == (40, 50, None)


def test_a_picture_too_large_to_decode_is_only_measured(tmp_path):
    header = struct.pack(">IIBBBBB", 10_000, 10_001, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    idat = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    path = tmp_path / "large.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + idat)
    (seen,) = look_at([Picture(str(path))])
    assert (seen.width, seen.height, seen.phash) == (10_000, 10_001, None)


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_junk_is_no_picture(data):
    assert look(data).extension == "bin"
    assert look(data).phash is None


def test_many_are_looked_at_in_order(draw, tmp_path):
    for seed in range(6):
        (tmp_path / f"{seed}.png").write_bytes(draw(seed))
    seen = look_at([Picture(str(tmp_path / f"{seed}.png")) for seed in range(6)])
    assert seen == [look(draw(seed)) for seed in range(6)]


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
