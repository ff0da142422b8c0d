"""The table of rules says what the analysis says, in words that a reader can check."""

import json
from dataclasses import replace

import pytest

from filters.ensemble import load_label_model
from pipeline.report.rules import describe, ensemble_facts, rule_rows
from pipeline.voted import Sample, analyse_run, analyse_votes


@pytest.fixture
def rules(run):
    return json.loads((run.folder / "subset").read("rules.json"))


@pytest.fixture
def model(run):
    return load_label_model((run.folder / "subset").read("label_model.json").decode())


def voted(run, rules, model):
    return analyse_votes(Sample(run.decisions, 2, 2), [rule["name"] for rule in rules], model)


def test_votes_are_counted(run, rules):
    rows = rule_rows(rules, voted(run, rules, None))
    assert [r.coverage for r in rows] == pytest.approx((run.votes_NM >= 0).mean(axis=0))
    assert [r.keep for r in rows] == list((run.votes_NM == 1).sum(axis=0))
    assert [r.drop for r in rows] == list((run.votes_NM == 0).sum(axis=0))
    assert 0 < rows[0].conflict < rows[0].overlap < rows[0].coverage < 1


def test_what_the_model_learned_stands_beside(run, rules):
    rows = rule_rows(rules, analyse_run(run.folder))
    odds = [(r.drop_log_odds, r.keep_log_odds) for r in rows]
    assert odds == [(-2, 1.5), (-0.5, None), (0.25, 3)]  # the second never keeps
    assert [r.accuracy for r in rows] == [0.9, None, 0.75]
    assert [(r.empirical, r.between) for r in rows] == [(None, "")] * 3


def test_what_stands_out_is_said(run, rules, model):
    against = ((0.0, 0.0), (0.0, 1.0), (0.0, -1.0))
    odd = replace(
        model,
        evidence=(model.evidence[0], model.evidence[1], against),
        share=(1.0, 0.5, 1.0),
        told={
            "prior": {"origin": "<labels>"},
            "loss": 0.123456,
            "curve": {"a": 1},
            "groups": [[1, 2]],
            "adversarial": [2],
        },
    )
    found = voted(run, rules, odd)
    notes = [row.notes for row in rule_rows(rules, found)]
    assert notes == [
        (),
        ("like <b>sharp</b>", "50.0 % of its evidence counts"),
        ("votes against what it says", "like few words"),
    ]
    facts = dict(ensemble_facts(found).facts)
    assert facts["prior p(keep)"] == "0.70, <labels>"
    assert facts["loss"] == "0.1235"
    assert "curve" not in facts
    assert facts["vote against what they say"] == "<b>sharp</b>"
    assert facts["rules that are alike"] == "few words, <b>sharp</b>"


def test_no_votes_no_rows(rules):
    assert rule_rows(rules, None) == ()
    assert ensemble_facts(None) is None


def test_rules_in_words(rules):
    assert [describe(rule) for rule in rules] == [
        "brightness: keep >= 120, drop <= 60",
        "drop if words < 3",
        "sharpness: keep <= 5, drop >= 5000",
    ]
