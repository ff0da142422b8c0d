"""Crops against torchvision's own and against pictures whose pixels say where they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from filters.open_clip_models import ensure_torchvision
from training.config import Augment
from training.input.augment import central_crop, random_crop, reduce, reduced_side


def _gradient(height: int, width: int) -> np.ndarray:
    """Red rises from left to right, green from top to bottom, blue is noise."""
    x, y = np.linspace(0, 255, width), np.linspace(0, 255, height)
    noise = np.random.default_rng(0).integers(0, 256, (height, width))
    return np.stack([np.tile(x, (height, 1)), np.tile(y[:, None], (1, width)), noise], -1).astype(
        np.uint8
    )


@pytest.mark.parametrize("shape", [(64, 64), (50, 91), (133, 47), (300, 201), (20, 33)])
def test_central_crop_equals_torchvision(shape):
    ensure_torchvision()
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    picture = _gradient(*shape)
    theirs = Compose([Resize(32, InterpolationMode.BICUBIC), CenterCrop(32)])
    expected = np.asarray(theirs(Image.fromarray(picture)))
    np.testing.assert_array_equal(central_crop(picture, 32), expected)


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    min_area=st.floats(0.05, 1),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=50, deadline=None)
def test_random_crop_fits_any_picture(height, width, min_area, seed):
    augment = Augment(min_area=min_area)
    rng = np.random.default_rng(seed)
    crop = random_crop(_gradient(height, width), 16, augment=augment, rng=rng)
    assert crop.shape == (16, 16, 3)
    assert crop.dtype == np.uint8


def test_crops_keep_the_area_they_promise():
    picture, augment = _gradient(256, 256), Augment(min_area=0.5, max_aspect=1.0, flip=0.0)
    spans = []
    for seed in range(200):
        crop = random_crop(picture, 64, augment=augment, rng=np.random.default_rng(seed))
        red, green = crop[..., 0].astype(float), crop[..., 1].astype(float)
        spans.append((np.ptp(red.mean(0)) / 255) * (np.ptp(green.mean(1)) / 255))
    assert 0.45 < min(spans) < 0.55
    assert 0.95 < max(spans) <= 1.0
    assert np.mean(spans) == pytest.approx(0.75, abs=0.04)


def test_flip_mirrors_left_and_right_only():
    picture, rng = _gradient(64, 64), np.random.default_rng
    plain = random_crop(picture, 32, augment=Augment(flip=0.0), rng=rng(5))
    mirrored = random_crop(picture, 32, augment=Augment(flip=1.0), rng=rng(5))
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


def test_reduce_shrinks_the_short_side_and_never_enlarges():
    side = reduced_side(64)
    assert side == 80
    assert reduce(_gradient(200, 400), side).shape == (80, 160, 3)
    small = _gradient(30, 50)
    assert reduce(small, side) is small


def test_a_line_of_pixels_is_not_made_a_wall():
    for shape in ((1, 20_000, 3), (20_000, 1, 3)):
        assert central_crop(np.zeros(shape, np.uint8), 64).shape == (64, 64, 3)
