"""Label models on a public benchmark: data sets in WRENCH's layout, accuracy and F1 of each model.

A folder has `label.json`, the names of the classes by number, and `train.json`, `valid.json` and
`test.json`, an object by id: `{"0": {"label": 1, "weak_labels": [1, -1, 0], "data": {...}}, ...}`
(Zhang et al., arXiv:2109.11377). Letters: N rows, M rules, K classes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from filters.ensemble import (
    AnyMethod,
    Labelled,
    count,
    count_labels,
    fit_label_model,
    predict_classes,
)
from pipeline.folder import Folder

LABELS = "label.json"
UNLABELLED = -1
BINARY = 2
MOST_CLASSES = 127  # votes are int8


@dataclass(frozen=True, slots=True)
class Split:
    """One of train, valid and test.

    Attributes:
        votes_NM: int8 [N, M] of {-1 abstain, 0, ..., K - 1}, rows in the order of the file.
        label_N: int64 [N], -1 where a row has none; None if no row has one.
        classes: K names.
        texts: N texts, or None unless every row has one.
    """

    votes_NM: NDArray[np.int8]
    label_N: NDArray[np.int64] | None
    classes: tuple[str, ...]
    texts: tuple[str, ...] | None

    @property
    def labelled(self) -> Labelled | None:
        """Count the rows with labels by pattern; None if there are none."""
        if self.label_N is None:
            return None
        has_N = self.label_N != UNLABELLED
        return count_labels(self.votes_NM[has_N], self.label_N[has_N], classes=len(self.classes))


@dataclass(frozen=True, slots=True)
class Figures:
    """How a label model did on test.

    Attributes:
        model: Its kind.
        accuracy: Of the rows with labels, NaN if it could not be fitted.
        f1: With two classes of class 1, else the mean over classes; NaN if it was not fitted.
        why_not: Why it could not be fitted, or "".
    """

    model: str
    accuracy: float
    f1: float
    why_not: str = ""


def load_split(folder: Folder, split: str) -> Split:
    """Read one split of a data set.

    Raises:
        ValueError: A file is not there or no such JSON, rows have different numbers of votes, or a
            vote or label is no class.
    """
    classes = _classes(_object(folder, LABELS), folder.path(LABELS))
    name = f"{split}.json"
    rows, where = _object(folder, name), folder.path(name)
    if not rows:
        raise ValueError(f"{where}: got no rows, expected at least one; take another split")
    for row, item in rows.items():
        if not isinstance(item, dict) or not isinstance(item.get("weak_labels"), list):
            raise ValueError(  # noqa: TRY004
                f"{where}: got row {row!r} without `weak_labels`, expected a list"
            )
    votes = {row: item["weak_labels"] for row, item in rows.items()}
    width = len(next(iter(votes.values())))
    for row, cast in votes.items():
        if len(cast) != width or not cast:
            raise ValueError(
                f"{where}: got {len(cast)} weak_labels in row {row!r}, expected one or more and as "
                f"many as in the first row ({width})"
            )
        _require_classes(
            cast, len(classes), f"{where}: got weak_labels {cast!r:.40} in row {row!r}"
        )
    label_N = _labels(rows, len(classes), where)
    return Split(
        np.array(list(votes.values()), np.int8), label_N, classes, _texts(list(rows.values()))
    )


def measure(folder: Folder, models: Sequence[str] = ()) -> tuple[Figures, ...]:
    """Fit label models on train and measure them on test.

    The prior is the share of each class among the labels of valid, one added to each, or uniform
    without them; models that need labels get those. Ties go by row number, as in WRENCH's metrics.

    Args:
        folder: Where the data set is.
        models: Kinds; none stands for all, and then one that cannot be fitted says why.

    Raises:
        ValueError: A file is not as it should be, test has no labels, or a model that was asked for
            cannot be fitted.
    """
    train, test = load_split(folder, "train"), load_split(folder, "test")
    if test.label_N is None:
        raise ValueError(f"{folder.path('test.json')}: got no labels, expected some to measure by")
    if train.votes_NM.shape[1] != test.votes_NM.shape[1]:
        raise ValueError(
            f"{folder.url}: got {train.votes_NM.shape[1]} rules in train and "
            f"{test.votes_NM.shape[1]} in test, expected as many"
        )
    labelled = load_split(folder, "valid").labelled if folder.exists("valid.json") else None
    share_K = np.ones(len(train.classes)) + (0 if labelled is None else labelled.of_class)
    counts = count(train.votes_NM, classes=len(train.classes))
    figures = []
    for kind in models or [method().kind for method in get_args(AnyMethod)]:
        try:
            model = fit_label_model(
                counts, model=kind, prior=(share_K / share_K.sum()).tolist(), labelled=labelled
            )
        except ValueError as error:
            if models:
                raise
            figures.append(Figures(kind, np.nan, np.nan, str(error)))
            continue
        class_N = predict_classes(model.predict_proba(test.votes_NM), ties="row")
        has_N = test.label_N != UNLABELLED
        figures.append(Figures(kind, *score(class_N[has_N], test.label_N[has_N], len(share_K))))
    return tuple(figures)


def score(
    class_N: NDArray[np.int64], label_N: NDArray[np.int64], classes: int
) -> tuple[float, float]:
    """Return accuracy, and F1 of class 1, or its mean over classes if there are more than two.

    A class that is neither a label nor predicted has an F1 of 0, as in scikit-learn.
    """
    confusion_KK = np.zeros((classes, classes), np.int64)
    np.add.at(confusion_KK, (label_N, class_N), 1)
    hit_K = np.diagonal(confusion_KK)
    f1_K = 2 * hit_K / np.maximum(confusion_KK.sum(axis=0) + confusion_KK.sum(axis=1), 1)
    return float(hit_K.sum() / len(label_N)), float(f1_K[1] if classes == BINARY else f1_K.mean())


def _object(folder: Folder, name: str) -> dict[str, Any]:
    """Return a JSON object, whose keys differ."""
    where = folder.path(name)
    try:
        tree = json.loads(folder.read(name), object_pairs_hook=_distinct)
    except FileNotFoundError:
        raise ValueError(
            f"{where}: got no such file, expected a data set in WRENCH's layout; it has "
            "label.json, train.json and test.json"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: got no proper JSON ({error}), expected an object") from error
    if not isinstance(tree, dict):
        raise ValueError(  # noqa: TRY004
            f"{where}: got a {type(tree).__name__}, expected an object by id"
        )
    return tree


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _classes(names: dict[str, Any], where: str) -> tuple[str, ...]:
    """Return the names of the classes 0, 1, ..."""
    wanted = [str(k) for k in range(len(names))]
    if not BINARY <= len(names) <= MOST_CLASSES or sorted(names) != sorted(wanted):
        raise ValueError(
            f"{where}: got classes {', '.join(names)!r:.60}, expected 0, 1 and so on, at least two"
        )
    return tuple(str(names[k]) for k in wanted)


def _labels(rows: dict[str, Any], classes: int, where: str) -> NDArray[np.int64] | None:
    """Return the label of each row; null, -1 and no key at all are none."""
    labels = []
    for row, item in rows.items():
        label = item.get("label")
        label = UNLABELLED if label is None else label
        _require_classes([label], classes, f"{where}: got label {label!r:.40} in row {row!r}")
        labels.append(label)
    label_N = np.array(labels, np.int64)
    return None if (label_N == UNLABELLED).all() else label_N


def _require_classes(values: list[Any], classes: int, got: str) -> None:
    if not all(type(value) is int and UNLABELLED <= value < classes for value in values):
        raise ValueError(f"{got}, expected -1 (none) or a class, 0 to {classes - 1}")


def _texts(items: list[dict[str, Any]]) -> tuple[str, ...] | None:
    data = [item.get("data") for item in items]
    texts = [entry.get("text") if isinstance(entry, dict) else None for entry in data]
    found = tuple(text for text in texts if isinstance(text, str))
    return found if len(found) == len(items) else None
