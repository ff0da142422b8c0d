"""Crops against torchvision's own and against pictures whose pixels say where they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from filters.open_clip_models import ensure_torchvision
from training.config import Augment
from training.input.augment import Crop, central_crop, draw_crop, random_crop


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
    crop = draw_crop(
        width, height, augment=Augment(min_area=min_area), rng=np.random.default_rng(seed)
    )
    left, top, right, bottom = crop.box(width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    square = random_crop(_gradient(height, width), crop, 16)
    assert square.shape == (16, 16, 3)
    assert square.dtype == np.uint8


@given(width=st.integers(1, 2000), height=st.integers(1, 2000), seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_a_crop_is_the_same_part_of_a_reduced_picture(width, height, seed):
    crop = draw_crop(width, height, augment=Augment(), rng=np.random.default_rng(seed))
    fine = np.array(crop.box(width, height))
    coarse = np.array(crop.box(-(-width // 2), -(-height // 2)))
    assert np.abs(fine - 2 * coarse).max() <= 4


def test_crops_keep_the_area_they_promise():
    augment = Augment(min_area=0.5, max_aspect=1.0, flip=0.0)
    crops = [
        draw_crop(256, 256, augment=augment, rng=np.random.default_rng(s)) for s in range(2000)
    ]
    areas = [crop.width * crop.height for crop in crops]
    assert 0.5 <= min(areas) < 0.51
    assert 0.99 < max(areas) <= 1.0
    assert np.mean(areas) == pytest.approx(0.75, abs=0.01)
    boxes = np.array([crop.box(256, 256) for crop in crops])
    assert boxes[:, :2].min() == 0
    assert boxes[:, 2:].max() == 256


def test_shapes_of_crops_lie_within_the_bound_on_both_sides():
    augment = Augment(min_area=0.3, max_aspect=4 / 3)
    crops = [draw_crop(400, 300, augment=augment, rng=np.random.default_rng(s)) for s in range(500)]
    aspects = [crop.width * 400 / (crop.height * 300) for crop in crops]
    assert 0.75 - 1e-9 < min(aspects) < 0.78
    assert 1.3 < max(aspects) < 4 / 3 + 1e-9
    assert 0.4 < np.mean([crop.mirror for crop in crops]) < 0.6


@pytest.mark.parametrize("size", [16, 224])
def test_a_crop_is_what_pillow_makes_of_the_box(size):
    """Two grey levels for the rounding of two passes; noise overshoots, and is clipped later."""
    picture = _gradient(300, 201)
    crop = Crop(width=0.7, height=0.8, left=0.3, top=0.9, mirror=False)
    image = Image.fromarray(picture)
    theirs = image.resize((size, size), Image.Resampling.BICUBIC, box=crop.box(201, 300))
    off = np.abs(random_crop(picture, crop, size).astype(int) - np.asarray(theirs))
    assert off[..., :2].max() <= 2
    assert off.mean() < 1


@pytest.mark.parametrize("size", [7, 64, 224])
def test_flip_mirrors_left_and_right_only(size):
    picture = _gradient(64, 64)
    plain, mirrored = (
        random_crop(picture, Crop(0.5, 0.7, 0.2, 0.6, mirror), size) for mirror in (False, True)
    )
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


def test_a_line_of_pixels_is_not_made_a_wall():
    for shape in ((1, 20_000, 3), (20_000, 1, 3)):
        assert central_crop(np.zeros(shape, np.uint8), 64).shape == (64, 64, 3)
