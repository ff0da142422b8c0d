"""Coverage, overlap and conflict equal what Snorkel's analysis says of the same votes."""

import json

import numpy as np
import pytest

from pipeline.report.rules import describe, rule_rows


def test_shares_are_those_of_snorkel(run):
    from snorkel.labeling import LFAnalysis

    rules = json.loads((run.folder / "subset").read("rules.json"))
    rows = rule_rows(run.decisions, rules, {})
    expected = LFAnalysis(run.votes_NM.astype(np.float64))
    assert [r.coverage for r in rows] == pytest.approx(expected.lf_coverages())
    assert [r.overlap for r in rows] == pytest.approx(expected.lf_overlaps())
    assert [r.conflict for r in rows] == pytest.approx(expected.lf_conflicts())
    assert [r.keep for r in rows] == list((run.votes_NM == 1).sum(axis=0))
    assert [r.drop for r in rows] == list((run.votes_NM == 0).sum(axis=0))
    assert 0 < rows[0].conflict < rows[0].overlap < rows[0].coverage < 1


def test_what_the_model_learned_stands_beside(run):
    subset = run.folder / "subset"
    rules, model = (json.loads(subset.read(f"{n}.json")) for n in ("rules", "label_model"))
    rows = rule_rows(run.decisions, rules, model)
    assert [(r.drop_log_odds, r.keep_log_odds) for r in rows] == [(-2, 1.5), (-0.5, 0), (0.25, 3)]
    assert [r.accuracy for r in rows] == [0.9, None, 0.75]


def test_rules_in_words(run):
    rules = json.loads((run.folder / "subset").read("rules.json"))
    assert [describe(rule) for rule in rules] == [
        "brightness: keep >= 120, drop <= 60",
        "drop if words < 3",
        "sharpness: keep <= 5, drop >= 5000",
    ]
