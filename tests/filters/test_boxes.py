"""Columns of boxes against hand-computed values, pixel counting, and what may not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.extract.objects.boxes import (
    COLUMNS,
    Found,
    columns_of,
    intersection_over_union,
    suppress,
    union_area,
)

GRID = 16
WIDE = (200, 100)


def found(boxes, scores=None, labels=None, named=None, size=WIDE):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(boxes)) if scores is None else scores
    labels = [f"thing {i}" for i in range(len(boxes))] if labels is None else labels
    named = np.zeros((len(boxes), 0), bool) if named is None else np.array(named, bool)
    return Found(boxes, np.array(scores, np.float32), labels, named, size)


def columns(*args, **kwargs):
    return {name: v[0] for name, v in columns_of([found(*args, **kwargs)]).items()}


# Two overlapping boxes of a 200 x 100 picture: a square of 100 pixels, and a strip across.
SQUARE, STRIP = [0.0, 0.0, 0.5, 1.0], [0.0, 0.4, 1.0, 0.6]


def test_every_column_of_two_boxes_by_hand():
    row = columns(
        [STRIP, SQUARE],
        [0.6, 0.8],
        ["strip", "square"],
        [[False, True, False], [True, True, False]],
    )
    assert list(row) == [c.name for c in COLUMNS]
    assert row["object_count"] == 2
    assert row["object_score"] == pytest.approx(0.8)
    assert row["object_score_mean"] == pytest.approx(0.7)
    assert row["object_score_sum"] == pytest.approx(1.4)
    assert row["object_area"] == pytest.approx(0.5)
    assert row["object_union"] == pytest.approx(0.5 + 0.2 - 0.1)
    assert row["object_center"] == pytest.approx(0.25 * np.sqrt(2))
    assert row["object_aspect"] == pytest.approx(1.0)  # 100 x 100 pixels
    assert row["object_ratio"] == pytest.approx((1.0 + 20 / 200) / 2)
    assert row["object_phrases"] == 2
    assert row["object_grounded"] == pytest.approx(2 / 3)
    assert row["object_classes"] == ["square", "strip"]
    assert row["object_scores"] == pytest.approx([0.8, 0.6])
    assert row["object_boxes"] == pytest.approx([*SQUARE, *STRIP])


def test_a_box_in_a_corner_is_as_far_out_as_can_be():
    assert columns([[0, 0, 0, 0]])["object_center"] == pytest.approx(1.0)
    assert columns([[0.25, 0.25, 0.75, 0.75]])["object_center"] == 0.0


def test_a_picture_without_boxes():
    row = columns([], named=np.zeros((0, 2)))
    zero = ("count", "score", "score_mean", "score_sum", "area", "union", "phrases", "grounded")
    assert [row[f"object_{name}"] for name in zero] == [0] * len(zero)
    assert [row[f"object_{name}"] for name in ("center", "aspect", "ratio")] == [None] * 3
    assert (row["object_classes"], row["object_scores"], row["object_boxes"]) == ([], [], [])
    nothing = columns_of([Found.nothing(WIDE, phrases=0)])
    assert nothing["object_grounded"] == [None]


def test_boxes_without_extent_are_counted_and_cover_nothing():
    row = columns([[0.5, 0.5, 0.5, 0.5], [0.9, 0.2, 0.1, 0.8]], size=(10, 10))
    assert (row["object_count"], row["object_area"], row["object_union"]) == (2, 0.0, 0.0)
    assert row["object_aspect"] == 1.0  # a pixel by a pixel
    assert row["object_ratio"] == pytest.approx((1 + 1 / 6) / 2)


def test_dtypes_are_those_of_the_columns():
    both = columns_of([found([SQUARE]), found([STRIP])])
    for column in COLUMNS:
        if column.dtype in {"int32", "float32"} and column.name != "object_grounded":
            assert both[column.name].dtype == column.dtype
    assert both["object_grounded"] == [None, None]


corner = st.integers(0, GRID)
boxes_on_grid = st.lists(st.tuples(corner, corner, corner, corner), max_size=8).map(
    lambda boxes: np.array(boxes, np.float64).reshape(-1, 4) / GRID
)
any_boxes = st.lists(
    st.tuples(*[st.floats(0, 1, width=32)] * 4), max_size=12
).map(lambda boxes: np.array(boxes, np.float32).reshape(-1, 4))  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(boxes_on_grid)
def test_the_union_is_that_of_counting_cells(boxes):
    painted = np.zeros((GRID, GRID), bool)
    for left, top, right, bottom in (boxes * GRID).astype(int):
        painted[top:bottom, left:right] = True
    assert union_area(boxes) == pytest.approx(painted.mean(), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(any_boxes)
def test_the_union_lies_between_the_largest_box_and_the_sum(boxes):
    row = columns(boxes)
    areas = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).astype(np.float64), 1)
    assert row["object_area"] <= row["object_union"] <= 1.0
    assert row["object_union"] <= areas.sum() + 1e-6


@settings(max_examples=50, deadline=None)
@given(any_boxes, st.randoms(use_true_random=False), st.data())
def test_the_order_of_boxes_does_not_matter(boxes, random, data):
    boxes = np.unique(boxes, axis=0)
    scores = np.array(data.draw(st.lists(st.sampled_from([0.3, 0.5, 0.75]), min_size=len(boxes), max_size=len(boxes))))  # fmt: skip  # noqa: E501
    order = list(range(len(boxes)))
    random.shuffle(order)
    labels = [str(i) for i in range(len(boxes))]
    straight = columns(boxes, scores, labels)
    shuffled = columns(boxes[order], scores[order], [labels[i] for i in order])
    for name, value in straight.items():
        if isinstance(value, float | np.floating):
            assert shuffled[name] == pytest.approx(value, rel=1e-6)
        else:
            assert shuffled[name] == value


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
