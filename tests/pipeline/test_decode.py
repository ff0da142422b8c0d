"""Pictures of every mode come out as RGB; hostile ones cost a reason and no memory."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.decode import DecodeError, decode_picture, decode_rgb
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
    with pytest.raises(DecodeError, match="cannot identify"):
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
