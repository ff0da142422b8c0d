"""Pictures of every mode come out as RGB; hostile ones cost a reason and no memory."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.decode import (
    DecodeError,
    decode_exact,
    decode_picture,
    decode_rgb,
    picture_bounds,
)
from pipeline.schema import Reason
from tests.toy import draw, encoded, huge_png

RED = (255, 0, 0)


def centre(data, **options):
    rgb = decode_rgb(data, **options)
    return tuple(int(v) for v in rgb[rgb.shape[0] // 2, rgb.shape[1] // 2])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_formats_are_known_by_content(kind):
    colour = centre(encoded(draw("square", "red"), kind))
    assert np.allclose(colour, RED, atol=8)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_modes_become_rgb(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    rgb = decode_rgb(encoded(draw("square", "red").convert(mode), kind))
    assert rgb.shape == (80, 96, 3)
    assert rgb.dtype == np.uint8


def test_cmyk_and_grey_jpegs_decode():
    for mode in ("CMYK", "L"):
        assert decode_rgb(encoded(draw("square", "red", mode=mode), "JPEG")).shape == (80, 96, 3)


def test_sixteen_bit_grey_is_scaled_not_clipped():
    half = Image.fromarray(np.full((4, 4), 32896, np.uint16))
    assert centre(encoded(half)) == (128, 128, 128)


def test_transparency_lies_on_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert centre(encoded(clear)) == (255, 255, 255)


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert centre(data) == RED


def test_orientation_is_honoured():
    picture = draw("square", "red", size=(60, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode_picture(encoded(picture, "JPEG", exif=exif.tobytes()))
    assert decoded.rgb.shape == (60, 30, 3)
    assert (decoded.width, decoded.height) == (30, 60)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_reduced_picture_keeps_its_short_side_and_its_original_size(kind):
    picture = draw("square", "red", size=(1600, 1200))
    decoded = decode_picture(encoded(picture, kind), min_side=250)
    assert 250 <= min(decoded.rgb.shape[:2]) < 600
    assert (decoded.width, decoded.height) == (1600, 1200)
    small = decode_picture(encoded(draw("square", "red"), kind), min_side=250)
    assert small.rgb.shape == (80, 96, 3)


def test_pixels_are_bounded_by_the_header_alone():
    with pytest.raises(DecodeError, match="10000000000 pixels") as found:
        decode_rgb(huge_png(100_000, 100_000))
    assert found.value.reason is Reason.TOO_MANY_PIXELS
    with pytest.raises(DecodeError) as found:
        decode_rgb(huge_png(2000, 1000), max_pixels=1_999_999)
    assert "got 2000 x 1000" in str(found.value)
    assert found.value.reason is Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_truncated_pictures_are_decode_errors(kind, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(DecodeError) as found:
        decode_rgb(data[: int(len(data) * share)])
    assert found.value.reason is Reason.DECODE_ERROR


def test_formats_that_start_other_programs_are_not_decoded():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    with pytest.raises(DecodeError, match="no picture of a known format"):
        decode_rgb(postscript)


def test_junk_never_raises_anything_else():
    rng = np.random.default_rng(1)
    good = encoded(draw("circle", "red"))
    for _ in range(200):
        data = bytearray(good)
        for at in rng.integers(8, len(data), 20):
            data[at] = rng.integers(256)
        try:
            decode_rgb(bytes(data))
        except DecodeError:
            continue


def test_a_jpeg_agrees_with_pillow():
    data = encoded(draw("triangle", "blue", size=(200, 150)), "JPEG", quality=95)
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16)
    assert np.abs(decode_rgb(data).astype(np.int16) - theirs).max() <= 2


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_undone_as_pillow_does(orientation):
    noise = np.random.default_rng(0).integers(0, 255, (5, 9, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(
        Image.fromarray(noise).resize((90, 50)), "JPEG", exif=exif.tobytes(), subsampling=0
    )
    theirs = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), np.int16)
    found = decode_picture(data)
    assert found.rgb.shape == theirs.shape
    assert np.abs(found.rgb.astype(np.int16) - theirs).max() <= 2
    assert (found.width, found.height) == (theirs.shape[1], theirs.shape[0])


def test_exif_data_is_found_behind_other_segments_and_junk_in_it_is_no_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = encoded(draw("square", "red", size=(60, 30)), "JPEG")
    turned = encoded(draw("square", "red", size=(60, 30)), "JPEG", exif=exif.tobytes())
    comment = b"\xff\xfe" + (2 + 60_000).to_bytes(2, "big") + b"x" * 60_000
    assert decode_rgb(turned[:2] + comment + turned[2:]).shape == (60, 30, 3)
    junk = b"\xff\xe1" + (2 + 14).to_bytes(2, "big") + b"Exif\0\0" + b"\xee" * 8
    assert decode_rgb(plain[:2] + junk + plain[2:]).shape == (30, 60, 3)


@pytest.mark.parametrize(("short", "reduced"), [(199, 199), (200, 100), (399, 200), (1601, 201)])
def test_a_jpeg_is_halved_as_often_as_its_short_side_allows(short, reduced):
    data = encoded(draw("square", "red", size=(short * 2, short)), "JPEG")
    assert decode_rgb(data, min_side=100).shape[0] == reduced


def test_an_exact_decode_is_pillow_s_and_ignores_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(draw("circle", "green", size=(200, 150)), "JPEG", exif=exif.tobytes())
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode_exact(data), theirs)
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (decode_exact(encoded(clear)) == RED).all()  # `decode_picture` puts it on white


def test_an_exact_decode_is_bounded_and_gives_a_reason_too():
    with pytest.raises(DecodeError, match="got 2000 x 1000") as found:
        decode_exact(huge_png(2000, 1000), max_pixels=1_999_999)
    assert found.value.reason is Reason.TOO_MANY_PIXELS
    with pytest.raises(DecodeError) as found:
        decode_exact(b"\xff\xd8 no picture")
    assert found.value.reason is Reason.DECODE_ERROR


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_bounds_are_read_off_the_header(kind):
    assert picture_bounds(encoded(draw("square", "red", size=(70, 30)), kind)) == (70, 30)


def test_bounds_need_no_data_behind_the_header_and_junk_has_none():
    assert picture_bounds(huge_png(12_000, 9_000)) == (12_000, 9_000)
    assert picture_bounds(huge_png(100_000, 90_000)) is None  # Pillow takes it for a bomb
    cmyk = encoded(draw("square", "red", mode="CMYK", size=(70, 30)), "JPEG")
    assert picture_bounds(cmyk) == (70, 30)
    assert [picture_bounds(data) for data in (b"", b"\xff\xd8", b"GIF89a", b"words")] == [None] * 4
