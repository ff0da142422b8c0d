"""Quads and masks of text against brute force on small pictures."""

import numpy as np
import pytest

from filters.extract.text.finder import largest
from filters.extract.text.masking import SURROUND_PIXELS, SURROUND_SHARE, masked
from filters.extract.text.quads import covered, covered_share, in_reading_order

HALF = np.array([[0, 0], [1, 0], [1, 0.5], [0, 0.5]], np.float32)
SLANTED = np.array([[0.3, 0.1], [0.9, 0.4], [0.8, 0.7], [0.2, 0.4]], np.float32)


def inside_by_hand(quad, x, y):
    """Tell whether a point is in a convex quad: on one side of all its sides."""
    turns = [
        (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        for (ax, ay), (bx, by) in zip(quad, np.roll(quad, -1, 0), strict=True)
    ]
    return min(turns) >= 0 or max(turns) <= 0


def distance_by_hand(quad, x, y):
    """Furthest that a point lies beyond the straight line through a side of a quad."""
    centre = quad.mean(0)
    beyond = []
    for a, b in zip(quad, np.roll(quad, -1, 0), strict=True):
        normal = np.array([b[1] - a[1], a[0] - b[0]]) / np.hypot(*(b - a))
        if normal @ (centre - a) > 0:
            normal = -normal
        beyond.append(normal @ (np.array([x, y]) - a))
    return max(beyond)


def masked_by_hand(picture, quads):
    height, width = picture.shape[:2]
    pixels = [(r, c) for r in range(height) for c in range(width)]
    quads = [q.astype(np.float64) * (width, height) for q in quads]
    holds = [{p for p in pixels if inside_by_hand(q, p[1] + 0.5, p[0] + 0.5)} for q in quads]
    free = set(pixels) - set().union(*holds)
    filled = picture.copy()
    for quad, held in zip(quads, holds, strict=True):
        a, b, c, d = (np.hypot(*side) for side in np.roll(quad, -1, 0) - quad)
        margin = max(SURROUND_PIXELS, SURROUND_SHARE * min(a + c, b + d) / 2)
        low, high = np.floor(quad.min(0) - margin), np.ceil(quad.max(0) + margin)
        around = [
            (r, c)
            for r, c in free
            if (low <= (c, r)).all() and (high > (c, r)).all()
            and distance_by_hand(quad, c + 0.5, r + 0.5) <= margin
        ]  # fmt: skip
        from_where = around or list(free) or list(held)
        colour = np.mean([picture[p] for p in from_where], axis=0)
        for p in held:
            filled[p] = np.rint(colour)
    return filled


@pytest.mark.parametrize("seed", range(6))
def test_masking_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (14, 19, 3), np.uint8)
    corner = rng.uniform(0, 0.7, (2, 2))
    across = rng.uniform(0.1, 0.5, 2)
    boxes = [
        [[x, y], [x + a, y + 0.1], [x + a, y + 0.3], [x, y + 0.2]]
        for (x, y), a in zip(corner, across, strict=True)
    ]
    quads = np.array([SLANTED, *boxes], np.float32)[seed % 3 :]
    assert np.array_equal(masked(picture, quads), masked_by_hand(picture, quads))


def test_masking_changes_nothing_but_the_text():
    plain = np.full((80, 200, 3), (245, 245, 220), np.uint8)
    picture = plain.copy()
    picture[20:60:3, 30:150:2] = 0  # what a letter is made of
    region = np.array([[[0.02, 0.1], [0.8, 0.1], [0.8, 0.9], [0.02, 0.9]]], np.float32)
    assert np.array_equal(masked(picture, region), plain)
    noise = np.random.default_rng(0).integers(0, 256, (80, 200, 3), np.uint8)
    outside = ~covered(region, (200, 80))
    assert np.array_equal(masked(noise, region)[outside], noise[outside])
    assert not np.array_equal(masked(noise, region), noise)
    assert masked(noise, region[:0]) is noise


def test_a_picture_of_one_colour_stays_itself():
    plain = np.full((20, 30, 3), (200, 7, 255), np.uint8)
    everything = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    point = np.full((4, 2), 0.5, np.float32)
    for quads in ([SLANTED], [HALF, SLANTED], [everything], [point]):
        assert np.array_equal(masked(plain, np.array(quads)), plain)


def test_covered_equals_brute_force_also_grown():
    for quad in (HALF, SLANTED, SLANTED[::-1]):
        pixels = quad * np.array([17, 23], np.float32)
        expected = [
            [inside_by_hand(pixels, c + 0.5, r + 0.5) for c in range(17)] for r in range(23)
        ]
        assert np.array_equal(covered(quad[None], (17, 23)), expected)
    square = np.array([[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]], np.float32)
    assert covered(square[None], (10, 10)).sum() == 4
    assert covered(square[None], (10, 10), grow=1).sum() == 16


def test_covered_share_of_known_quads():
    triangle = np.array([[0, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    assert covered_share(HALF[None]) == pytest.approx(0.5, abs=0.01)
    assert covered_share(triangle[None]) == pytest.approx(0.5, abs=0.01)
    assert covered_share(np.stack([HALF, triangle])) == pytest.approx(0.625, abs=0.01)
    assert covered_share(np.zeros((0, 4, 2), np.float32)) == 0.0


def test_reading_order_is_by_rows():
    box = np.array([[0, 0], [0.2, 0], [0.2, 0.1], [0, 0.1]], np.float32)
    places = [(0.5, 0.52), (0.1, 0.9), (0.1, 0.5), (0.1, 0.1)]
    ordered = in_reading_order(np.array([box + place for place in places], np.float32))
    expected = [(0.1, 0.1), (0.1, 0.5), (0.5, 0.52), (0.1, 0.9)]
    assert ordered[:, 0].tolist() == pytest.approx(np.array(expected), abs=1e-6)


def test_the_largest_quads_are_read_in_their_order():
    quads = np.array([HALF * share for share in (0.1, 0.9, 0.3, 0.5)], np.float32)
    assert largest(quads, 2) == [1, 3]
    assert largest(quads, 9) == [0, 1, 2, 3]
    assert largest(quads[:0], 2) == []
