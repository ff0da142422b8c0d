"""Ties are broken as Snorkel does, or by uid."""

from hashlib import sha1
from itertools import product

import numpy as np
import pytest
from snorkel.utils import probs_to_preds

from filters.ensemble import predict_classes

LEVELS = (0.0, 0.2, 0.2 + 4e-6, 0.2 + 2e-5, 0.5)


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize(("ours", "theirs"), [("abstain", "abstain"), ("row", "random")])
def test_every_small_matrix_is_decided_as_by_snorkel(classes, ours, theirs):
    proba = np.array(list(product(LEVELS, repeat=classes)))
    got = predict_classes(proba, ties=ours)
    assert (got == probs_to_preds(proba, tie_break_policy=theirs)).all()


def test_a_uid_decides_alike_wherever_its_row_is():
    rng = np.random.default_rng(0)
    uid = np.array([rng.bytes(15) + b"\0" for _ in range(300)], "S16")
    proba = np.array([[0.5, 0.5, 0.0], [0.1, 0.45, 0.45], [1 / 3, 1 / 3, 1 / 3]])[
        np.arange(300) % 3
    ]
    decided = predict_classes(proba, ties="uid", uid_N=uid)
    order = rng.permutation(300)
    again = predict_classes(
        proba[order], ties="uid", uid_N=[bytes(u).ljust(16, b"\0") for u in uid[order]]
    )
    assert (again == decided[order]).all()
    first = int(sha1(uid[0].rstrip(b"\0")).hexdigest(), 16) % 2
    assert decided[0] == first
    assert [set(decided[k::3]) for k in range(3)] == [{0, 1}, {1, 2}, {0, 1, 2}]


@pytest.mark.parametrize(
    ("proba", "options", "message"),
    [
        (np.ones((2, 1)), {}, r"got probabilities \(2, 1\)"),
        (np.array([[np.nan, 1.0]]), {}, "not finite"),
        (
            np.ones((2, 2)),
            {"ties": "uid", "uid_N": [b"a"]},
            "got 1 uids, expected one of each of 2",
        ),
    ],
)
def test_what_cannot_be_decided_is_refused(proba, options, message):
    with pytest.raises(ValueError, match=message):
        predict_classes(proba, **options)
