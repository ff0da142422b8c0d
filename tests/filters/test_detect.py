"""NanoDet: its head and suppression against planted boxes and brute force; the real network."""

import numpy as np
import pytest

from filters.extract import Batch
from filters.extract.detect import (
    BINS,
    COCO_CLASSES,
    SIDE,
    STRIDES,
    Objects,
    detections,
    head,
    intersection_over_union,
    place_centres,
    suppress,
)
from pipeline.weights import model_file

PLACES = [(SIDE // s) ** 2 for s in STRIDES]


def planted_outputs(count, boxes):
    """Build the six outputs of a network that sees `boxes`: (row, class, level, place, bins)."""
    scores = [np.zeros((count, p, 80), np.float32) for p in PLACES]
    sides = [np.full((count, p, 4, BINS), -20.0, np.float32) for p in PLACES]
    for level in sides:
        level[..., 0] = 20.0
    for row, kind, level, place, bins in boxes:
        scores[level][row, place, kind] = 0.9
        sides[level][row, place] = -20.0
        for side, value in enumerate(bins):
            sides[level][row, place, side, value] = 20.0
    flat = [s.reshape(count, -1, 4 * BINS) for s in sides]
    return [scores[2], flat[2], scores[1], scores[0], flat[1], flat[0]]  # in no order


def test_a_planted_box_is_decoded():
    place, stride = 10 * (SIDE // 16) + 12, 16
    outputs = planted_outputs(2, [(1, 16, 1, place, (3, 2, 4, 5))])
    scores, sides = head(outputs, count=2)
    assert detections(scores[0], sides[0], threshold=0.5).score_n.size == 0
    found = detections(scores[1], sides[1], threshold=0.5)
    x, y = 12 * stride + 7.5, 10 * stride + 7.5
    expected = np.array([x - 48, y - 32, x + 64, y + 80]) / SIDE
    assert found.box_n4[0] == pytest.approx(expected, abs=1e-4)
    assert [COCO_CLASSES[c] for c in found.class_n] == ["dog"]


def test_places_cover_the_picture_evenly():
    centres = place_centres()
    assert len(centres) == sum(PLACES) == 2100
    assert centres[0].tolist() == [3.5, 3.5]
    assert centres[1].tolist() == [11.5, 3.5]  # x runs fastest
    assert centres[: PLACES[0]].mean(0) == pytest.approx([SIDE / 2 - 0.5] * 2)


def test_overlap_by_hand():
    box = np.array([0, 0, 2, 2], np.float32)
    others = np.array([[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6], [1, 1, 1, 1]], np.float32)
    assert intersection_over_union(box, others) == pytest.approx([1 / 7, 1, 0, 0])


def test_suppression_equals_brute_force():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 0.7, (60, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.1, 0.3, (60, 2))], 1).astype(np.float32)
    scores, classes = rng.random(60).astype(np.float32), rng.integers(0, 3, 60)
    kept = suppress(boxes, scores, classes, overlap=0.3)
    assert (np.diff(scores[kept]) <= 0).all()
    for i in range(60):
        better = [k for k in kept if scores[k] > scores[i] and classes[k] == classes[i]]
        overlaps = [intersection_over_union(boxes[i], boxes[[k]])[0] for k in better]
        assert (i in kept) == (max(overlaps, default=0) <= 0.3)


def test_the_classes_are_coco_s():
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert (COCO_CLASSES[0], COCO_CLASSES[15], COCO_CLASSES[79]) == ("person", "cat", "toothbrush")


@pytest.mark.network
def test_the_real_network_gives_the_same_boxes_alone_and_in_a_batch():
    score = Objects(threshold=0.1).load({"nanodet": model_file("nanodet")}, threads=1)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (90, 120, 3), np.uint8) for _ in range(3)]
    batch = Batch(pictures, [(120, 90)] * 3, ["x"] * 3)
    together = score(batch)
    for i in range(3):
        alone = score(batch.row(i))
        assert alone["object_count"][0] == together["object_count"][i]
        assert alone["object_boxes"][0] == pytest.approx(together["object_boxes"][i], abs=1e-4)
