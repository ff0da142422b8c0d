"""Blurred boxes against the same formula with a true Gaussian, in floats."""

import numpy as np
import pytest

from filters.extract.blur import blur_faces

HEIGHT, WIDTH = 90, 120
CLOSE = 5  # grey levels between three box filters and a Gaussian; the stripes are 30 high
BOX = [0.3, 0.3, 0.55, 0.7]  # 36 to 66 of 120, 27 to 63 of 90: 36 at its longest


def picture():
    """Smooth waves under fine stripes: blurring leaves the waves."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = 110 + 60 * np.sin(x / 17) * np.cos(y / 13)
    channels = [waves + 30 * ((x // 2 + y // 2) % 2), waves, 255 - waves]
    return np.clip(np.stack(channels, 2), 0, 255).astype(np.uint8)


def gaussian(image, deviation):
    """Blur [h, w, c] by a Gaussian of four deviations, edges repeated."""
    reach = int(np.ceil(4 * deviation))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(image, pad, mode="edge")
        image = np.apply_along_axis(np.convolve, axis, padded, kernel, "valid")
    return image


def expected(image, rectangles, longest):
    mask = np.zeros((*image.shape[:2], 1))
    for left, top, right, bottom in rectangles:
        mask[top:bottom, left:right] = 1
    soft = gaussian(mask, 0.1 * longest)
    return image * (1 - soft) + gaussian(image.astype(float), 0.1 * longest) * soft


def test_one_box_is_blurred_as_the_formula_says():
    image = picture()
    found = blur_faces(image, [BOX])
    grown = (int(36 - 3.6), int(27 - 3.6), int(66 + 3.6), int(63 + 3.6))
    assert np.abs(found - expected(image, [grown], 36)).max() < CLOSE
    stripes = found[35:55, 45:58, 0].astype(int) - found[35:55, 45:58, 1]
    assert stripes.max() - stripes.min() <= 2  # of the 30 that they had


def test_nothing_changes_out_of_reach_of_the_box():
    image = picture()
    found = blur_faces(image, [BOX])
    reach = 3.6 + 3 * (3.6 + 1)  # what it grows by, and three box filters
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[int(27 - reach) : int(63 + reach) + 1, int(36 - reach) : int(66 + reach) + 1] = False
    assert outside.mean() > 0.3
    assert np.array_equal(found[outside], image[outside])
    assert (found != image).any()


def test_a_box_at_the_edge_and_one_beyond_it_are_blurred():
    image = picture()
    corner = blur_faces(image, [[0.0, 0.0, 0.3, 0.4]])
    assert np.array_equal(corner, blur_faces(image, [[-0.2, -0.5, 0.3, 0.4]]))
    assert np.abs(corner - expected(image, [(0, 0, 39, 39)], 36)).max() < CLOSE
    assert np.array_equal(blur_faces(image, [[1.1, 1.1, 1.4, 1.4]]), image)


def test_the_largest_box_sets_the_width_for_all():
    image = picture()
    found = blur_faces(image, [[0.05, 0.1, 0.15, 0.2], [0.5, 0.3, 0.9, 0.9]])
    small = (int(6 - 1.2), int(9 - 1.2), int(18 + 1.2), int(18 + 1.2))
    large = (int(60 - 5.4), int(27 - 5.4), int(108 + 5.4), int(81 + 5.4))
    assert np.abs(found - expected(image, [small, large], 54)).max() < CLOSE


@pytest.mark.parametrize("boxes", [[], [[0.5, 0.5, 0.5, 0.5]]])
def test_without_a_box_it_is_a_copy(boxes):
    image = picture()
    found = blur_faces(image, boxes)
    assert np.array_equal(found, image)
    assert found is not image


@pytest.mark.parametrize("box", [[0.1, 0.2, 0.3], [0.5, 0.1, 0.4, 0.2], [0, float("nan"), 1, 1]])
def test_a_box_that_is_none_is_refused(box):
    with pytest.raises(ValueError, match=r"face box: got \[.*expected left <= right"):
        blur_faces(picture(), [box])
