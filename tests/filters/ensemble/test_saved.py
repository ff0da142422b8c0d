"""A label model that was written comes back to the last bit, or is refused."""

import json

import numpy as np
import pytest

from filters.ensemble import (
    DawidSkene,
    Majority,
    NaiveBayes,
    Triplet,
    WeightedMajority,
    count,
    count_labels,
    fit_label_model,
    load_label_model,
)
from tests.filters.ensemble.planted import ONE_SIDED, planted, symmetric

LABELS, VOTES = planted(ONE_SIDED, rows=500, prior=(0.4, 0.6))
WIDER = np.concatenate([VOTES, np.full((500, 1), -1, np.int8)], axis=1)  # a rule without accuracy
METHODS = [
    Majority(), Majority(ties="winners"), WeightedMajority(), DawidSkene(), NaiveBayes(),
    DawidSkene(abstain="missing", learn_prior=True), Triplet(),
]  # fmt: skip


def saved(method):
    known = count_labels(WIDER, LABELS)
    return fit_label_model(count(WIDER), model=method, prior=0.6, labelled=known)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_written_comes_back_to_the_last_bit(method):
    model = saved(method)
    again = load_label_model(model.to_json())
    assert type(again) is type(model)
    assert again.to_json() == model.to_json()
    assert np.array(again.accuracy).tobytes() == np.array(model.accuracy).tobytes()
    assert np.isnan(again.accuracy[-1])
    assert again.told == model.told
    assert again.predict_proba(WIDER).tobytes() == model.predict_proba(WIDER).tobytes()


def test_four_classes_come_back():
    _, votes = planted(symmetric([0.8, 0.7, 0.7], classes=4), rows=500, prior=(0.25,) * 4)
    model = fit_label_model(count(votes, classes=4), model="dawid_skene", prior=(0.25,) * 4)
    assert load_label_model(model.to_json()) == model


def changed(tree, **fields):
    return json.dumps({**tree, **fields})


BAYES = json.loads(saved(DawidSkene()).to_json())
SHARE = json.loads(saved(Majority()).to_json())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got what is no JSON"),
        ("[" * 100_000, "got what is no JSON"),
        ("[]", "got a list, expected an object"),
        ("{}", "got form None, expected one of Bayes, Share"),
        (changed(BAYES, form="Pickle"), "got form 'Pickle'"),
        (changed(BAYES, form=["Bayes"]), "got form"),
        (changed(BAYES, extra=1), "without or with extra"),
        (json.dumps({k: v for k, v in BAYES.items() if k != "told"}), "without or with told"),
        (changed(BAYES, kind=3), "got 3 as kind, expected str"),
        (changed(BAYES, told={"adversarial": [6]}), r"got rules \[6\], .* numbers below 6"),
        (changed(BAYES, told={"groups": [[0, "1"]]}), r"got rules \[0, '1'\]"),
        (changed(BAYES, told={"groups": 3}), "got groups 3, expected a list of lists"),
        (changed(BAYES, told=[]), r"got \[\] as told, expected dict"),
        (changed(BAYES, prior=[0.4, "0.6"]), r"got '0.6' as prior\[1\], expected float"),
        (changed(BAYES, prior=[0.4, True]), r"got True as prior\[1\]"),
        (changed(BAYES, prior=[0.4, None]), r"got None as prior\[1\]"),
        (changed(BAYES, prior=[0.4, 0.4]), r"got prior \[0.4, 0.4\], .* that add up to 1"),
        (changed(BAYES, prior=[-0.5, 1.5]), "expected probabilities that add up to 1"),
        (changed(BAYES, prior=[]), "expected probabilities that add up to 1"),
        (changed(BAYES, prior=[0.4, 10**400]), r"as prior\[1\]"),
        (changed(BAYES, prior=0.5), "got 0.5 as prior, expected tuple"),
        (changed(BAYES, share=[1.0]), r"got share of shape \(1,\), expected \(6,\)"),
        (changed(BAYES, evidence=BAYES["evidence"][:-1]), r"evidence of shape \(5, 3, 2\)"),
        (changed(BAYES, evidence=[*BAYES["evidence"][:-1], []]), "rows of several lengths"),
        (changed(SHARE, weight=[1.0] * 7), r"got weight of shape \(7,\)"),
        (changed(SHARE, class_weight=[1.0]), r"got class_weight of shape \(1,\)"),
        (changed(SHARE, winners=1), "got 1 as winners, expected bool"),
        (changed(SHARE, weight=[float("inf")] * 6), "Infinity is no number"),
    ],
)
def test_what_is_no_label_model_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        load_label_model(text)
