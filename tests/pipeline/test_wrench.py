"""Data sets in WRENCH's layout are read whole or refused, and label models measured on them."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from typer.testing import CliRunner

from filters.ensemble import count, fit_label_model
from pipeline.commands import filters_app
from pipeline.folder import Folder
from pipeline.wrench import load_split, measure, score
from tests.filters.ensemble.planted import planted, symmetric

CLASSES = {"0": "ham", "1": "spam"}
ROWS = {
    "7": {"label": 1, "weak_labels": [1, -1, 0], "data": {"text": "buy"}},
    "3": {"label": 0, "weak_labels": [0, 0, -1], "data": {"text": "hello"}},
    "5": {"label": None, "weak_labels": [-1, -1, -1], "data": {"text": ""}},
}


def write(folder, classes=CLASSES, **splits):
    for name, tree in {"label": classes, **splits}.items():
        text = tree if isinstance(tree, str) else json.dumps(tree)
        (folder / f"{name}.json").write_text(text)
    return Folder(str(folder))


def rows_of(labels, votes):
    return {
        str(i): {"label": int(label), "weak_labels": row.tolist(), "data": {}}
        for i, (label, row) in enumerate(zip(labels, votes, strict=True))
    }


@pytest.fixture
def data_set(tmp_path):
    """Six rules of three classes."""
    tables = symmetric([0.85, 0.75, 0.8, 0.7, 0.65, 0.75], classes=3)
    drawn = [planted(tables, rows=300, prior=(0.2, 0.3, 0.5), seed=i) for i in range(3)]
    splits = dict(zip(("train", "valid", "test"), (rows_of(*d) for d in drawn), strict=True))
    return write(tmp_path, {"0": "a", "1": "b", "2": "c"}, **splits), drawn


def test_rows_come_in_the_order_of_the_file(tmp_path):
    split = load_split(write(tmp_path, train=ROWS), "train")
    assert split.votes_NM.dtype == np.int8
    assert split.votes_NM.tolist() == [[1, -1, 0], [0, 0, -1], [-1, -1, -1]]
    assert split.label_N is not None
    assert split.label_N.tolist() == [1, 0, -1]
    assert (split.classes, split.texts) == (("ham", "spam"), ("buy", "hello", ""))
    assert split.labelled is not None
    assert split.labelled.of_class.tolist() == [1, 1]


def test_labels_and_texts_may_be_absent(tmp_path):
    bare = {row: {"weak_labels": item["weak_labels"]} for row, item in ROWS.items()}
    split = load_split(write(tmp_path, train=bare), "train")
    assert split.label_N is split.texts is split.labelled is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "train.json: got no rows"),
        ("{", "train.json: got no proper JSON"),
        ("[1]", "got a list, expected an object by id"),
        ('{"1": {"weak_labels": [0]}, "1": {"weak_labels": [1]}}', "a key comes twice"),
        ({"4": {"label": 1}}, "got row '4' without `weak_labels`"),
        ({"4": {"weak_labels": [1, 0]}, "5": {"weak_labels": [1]}}, "got 1 weak_labels in row '5'"),
        ({"4": {"weak_labels": []}}, "got 0 weak_labels in row '4'"),
        ({"4": {"weak_labels": [2, 0]}}, r"got weak_labels \[2, 0\] in row '4', .* 0 to 1"),
        ({"4": {"weak_labels": [-2, 0]}}, r"got weak_labels \[-2, 0\]"),
        ({"4": {"weak_labels": [0.5]}}, r"got weak_labels \[0.5\]"),
        ({"4": {"weak_labels": [True]}}, r"got weak_labels \[True\]"),
        ({"4": {"weak_labels": [0], "label": 2}}, "got label 2 in row '4'"),
        ({"4": {"weak_labels": [0], "label": "spam"}}, "got label 'spam' in row '4'"),
    ],
)
def test_what_is_no_split_is_refused(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        load_split(write(tmp_path, train=rows), "train")


@pytest.mark.parametrize("classes", [{}, {"0": "one"}, {"0": "a", "2": "b"}, {"a": 0, "b": 1}])
def test_class_numbers_have_no_gaps(tmp_path, classes):
    with pytest.raises(ValueError, match=r"label.json: got classes .* expected 0, 1 and so on"):
        load_split(write(tmp_path, classes, train=ROWS), "train")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"test.json: got no such file"):
        measure(write(tmp_path, train=ROWS))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_scores_are_those_of_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    labels, says = rng.integers(0, min(classes, 4), (2, 200))
    average = "binary" if classes == 2 else "macro"
    options = {} if classes == 2 else {"labels": range(classes)}
    expected = f1_score(labels, says, average=average, zero_division=0, **options)
    assert score(says, labels, classes) == pytest.approx((accuracy_score(labels, says), expected))


def test_models_are_fitted_on_train_and_measured_on_test(data_set):
    folder, ((_, train), (valid_labels, _), (labels, test)) = data_set
    found = {figures.model: figures for figures in measure(folder)}
    assert "got 3 classes, expected 2" in found["triplet"].why_not
    prior = (np.bincount(valid_labels) + 1) / 303
    model = fit_label_model(count(train, classes=3), model="dawid_skene", prior=prior.tolist())
    right = np.mean(model.predict_proba(test).argmax(axis=1) == labels)
    assert found["dawid_skene"].accuracy == pytest.approx(right, abs=1e-12)
    assert found["dawid_skene"].accuracy > 0.8


def test_a_model_that_was_asked_for_has_to_fit(data_set):
    folder, _ = data_set
    with pytest.raises(ValueError, match="got 3 classes, expected 2"):
        measure(folder, ["triplet"])


def test_the_command_prints_a_line_for_each_model(data_set):
    folder, _ = data_set
    command = ["wrench", folder.url, "--model", "majority", "--model", "naive_bayes"]
    printed = CliRunner().invoke(filters_app(), command)
    assert printed.exit_code == 0, printed.output
    head, *lines = [line.split("\t") for line in printed.stdout.splitlines()]
    assert head == ["model", "accuracy", "F1", "why not"]
    figures = measure(folder, ["majority", "naive_bayes"])
    assert lines == [[f.model, f"{f.accuracy:.4f}", f"{f.f1:.4f}", ""] for f in figures]
