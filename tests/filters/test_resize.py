"""Resizing against Pillow, and what must hold of any antialiased resize."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from filters.extract.base import center_crop, letterbox, normalised, resize

SIDE = st.integers(1, 90)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def by_pillow(picture, size, mode):
    return np.asarray(Image.fromarray(picture).resize(size, getattr(Image.Resampling, mode)))


@settings(max_examples=100, deadline=None)
@given(height=SIDE, width=SIDE, size=st.tuples(SIDE, SIDE))
def test_a_bilinear_resize_is_pillow_s_within_the_rounding_of_two_passes(height, width, size):
    # Each result rounds twice, so it is within one level of the exact one, and two are within two.
    picture = noise(height, width)
    found = resize(picture, size)
    assert found.shape == (size[1], size[0], 3)
    assert np.abs(found.astype(int) - by_pillow(picture, size, "BILINEAR")).max() <= 2


@pytest.mark.parametrize("size", [(224, 168), (1100, 900)])
def test_a_bilinear_resize_is_pillow_s_within_a_grey_level_nearly_everywhere(size):
    picture = noise(375, 500)
    off = np.abs(resize(picture, size).astype(int) - by_pillow(picture, size, "BILINEAR"))
    assert (off > 1).mean() < 1e-5


@settings(max_examples=100, deadline=None)
@given(height=SIDE, width=SIDE, size=st.tuples(SIDE, SIDE))
def test_a_bicubic_resize_is_pillow_s_within_two_where_nothing_is_clipped(height, width, size):
    picture = noise(height, width) // 3 + 85
    found = resize(picture, size, mode="bicubic")
    assert np.abs(found.astype(int) - by_pillow(picture, size, "BICUBIC")).max() <= 2


def test_extreme_shapes_are_pillow_s_too():
    for picture, size in ((noise(3, 40_000), (224, 1)), (noise(2000, 2), (5, 7))):
        found = resize(picture, size)
        assert np.abs(found.astype(int) - by_pillow(picture, size, "BILINEAR")).max() <= 1


def test_what_is_finer_than_the_result_can_show_goes_grey():
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[:, ::3] = 255  # a third of a pixel's frequency, beyond the 1/6 that 100 pixels show
    inner = resize(stripes, (100, 100))[5:-5, 5:-5].astype(float)
    assert inner.std() < 3
    assert inner.mean() == pytest.approx(85, abs=1)


def test_bits_do_not_depend_on_threads_or_on_how_the_picture_lies_in_memory():
    picture = noise(375, 500)
    expected = resize(picture, (224, 168), mode="bicubic")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert np.array_equal(resize(picture, (224, 168), mode="bicubic"), expected)
    finally:
        torch.set_num_threads(threads)
    frozen = picture.copy()
    frozen.flags.writeable = False
    assert np.array_equal(resize(frozen, (224, 168), mode="bicubic"), expected)
    mirrored = np.ascontiguousarray(picture[:, ::-1])[:, ::-1]
    assert np.array_equal(resize(mirrored, (224, 168), mode="bicubic"), expected)


def test_a_letterbox_keeps_the_aspect_and_pads_with_white():
    square = letterbox(np.zeros((50, 100, 3), np.uint8), 40)
    assert square.shape == (40, 40, 3)
    assert (square[20] == 0).all()
    assert (square[:9] == 255).all()
    assert letterbox(np.zeros((1, 5000, 3), np.uint8), 40).shape == (40, 40, 3)


def test_a_centre_crop_is_square_for_any_aspect():
    for size in ((10, 300), (300, 10), (64, 64)):
        assert center_crop(np.zeros((*size, 3), np.uint8), 32).shape == (32, 32, 3)


def test_a_centre_crop_takes_the_middle():
    picture = np.zeros((30, 90, 3), np.uint8)
    picture[:, 30:60] = noise(30, 30)
    assert np.array_equal(center_crop(picture, 30), picture[:, 30:60])


def test_normalising_by_hand():
    picture = noise(4, 5)
    mean, std = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)
    found = normalised(picture, mean, std)
    assert found.shape == (3, 4, 5)
    assert found.flags.c_contiguous
    for c in range(3):
        by_hand = (picture[:, :, c].astype(np.float64) - mean[c]) / std[c]
        assert found[c] == pytest.approx(by_hand, abs=1e-6)
