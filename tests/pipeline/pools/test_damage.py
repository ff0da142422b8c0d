import io

import numpy as np
import pytest
from PIL import Image

from pipeline.decode import DecodeError, decode_rgb
from pipeline.pools.damage import Corrupted, Resized, Shrunk, TextOnly, decodes
from pipeline.pools.looks import look


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_corrupted_file_never_decodes(draw, form):
    for seed in range(25):
        data = draw(seed, form=form)
        damaged = Corrupted(seed)(data)
        assert not decodes(damaged)
        assert damaged[:8] == data[:8]  # it still says that it is a picture
        with pytest.raises(DecodeError):
            decode_rgb(damaged)
        with pytest.raises((OSError, SyntaxError, ValueError)):
            Image.open(io.BytesIO(damaged)).load()


def test_corruption_follows_from_the_seed(draw):
    data = draw(0)
    assert Corrupted(5)(data) == Corrupted(5)(data)
    assert len({Corrupted(seed)(data) for seed in range(8)}) == 8


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_resized_copy_has_the_new_size_and_the_same_motif(draw, form):
    data = draw(3, side=200)
    seen = look(Resized(0.5, form)(data))
    assert (seen.width, seen.height) == (100, 100)
    assert seen.extension == {"PNG": "png", "JPEG": "jpg"}[form]
    assert (seen.phash ^ look(data).phash).bit_count() <= 2


def test_a_resized_jpeg_of_a_cut_out_has_white_ground():
    file = io.BytesIO()
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(file, "PNG")
    assert decode_rgb(Resized(0.5, "JPEG")(file.getvalue())).min() > 250


def test_a_shrunk_picture_keeps_its_aspect():
    file = io.BytesIO()
    Image.new("L", (400, 200), 99).save(file, "PNG")
    seen = look(Shrunk(24)(file.getvalue()))
    assert (seen.width, seen.height) == (24, 12)


@pytest.mark.parametrize(
    "text", ["SALE", "A rather long caption, with many words in it " * 4, "w" * 90]
)
def test_text_fills_the_picture_and_stays_inside(text):
    page = decode_rgb(TextOnly(text, (320, 240), "black", "white")(b""))
    ink = np.argwhere(page[:, :, 0] < 128)
    assert page.shape == (240, 320, 3)
    assert len(ink) > 300
    assert np.ptp(ink, axis=0)[1] > 100  # wide enough to be read as text
    assert page[:, 0].min() == page[0].min() == 255
