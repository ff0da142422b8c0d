"""Every scored row is in exactly one bin of every histogram that has a value for it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from filters.rules import Band
from pipeline.report.histograms import distributions

TOLD = re.compile(r"<title>[^<]* to [^<]*: kept ([\d,]+), dropped ([\d,]+)</title>")


@pytest.fixture
def drawn(run):
    rules = [{"kind": "band", "name": "r", "column": "words", "keep": None, "drop": 2.5}]
    return {d.column: d for d in distributions(run.scores, run.decisions, rules)}


def test_quantities_are_drawn_and_hashes_and_strings_are_not(drawn):
    assert list(drawn) == ["brightness", "sharpness", "words"]
    assert drawn["brightness"].meaning == "mean grey level"


def test_bins_hold_every_row_once(drawn):
    for column, d in drawn.items():
        bins = np.array([[int(n) for n in told] for told in TOLD.findall(d.chart)])
        assert (bins.sum(axis=0) == (d.kept, d.dropped)).all(), column
        assert d.kept + d.dropped + d.without == 27  # of 30, three were not scored
    assert (drawn["brightness"].kept, drawn["brightness"].without) == (17, 1)  # row 2 is NaN
    assert (drawn["words"].kept, drawn["words"].dropped) == (18, 9)


def test_whole_numbers_have_a_bin_each(drawn):
    bins = [tuple(map(int, told)) for told in TOLD.findall(drawn["words"].chart)]
    assert bins == [*[(3, 1)] * 4, (2, 2), (2, 2), (2, 1)]  # i % 7 of rows 0 to 17 and 18 to 26


def test_cut_points_are_marked(drawn):
    assert "<title>r: drop from 2.5</title>" in drawn["words"].chart
    assert "cut" not in drawn["brightness"].chart


def test_a_cut_far_outside_widens_the_axis(run):
    rule = Band(name="far", column="brightness", drop=-400.0)
    rules = [{"kind": "band", "name": rule.name, "column": rule.column, "drop": rule.drop}]
    (chart,) = (
        d.chart for d in distributions(run.scores, run.decisions, rules) if d.column == "brightness"
    )
    assert ">\u2212400<" in chart


def test_scores_of_another_pool_are_refused(run):
    swapped = replace(run.scores, ids=(run.scores.ids[0], run.scores.ids[0]))
    with pytest.raises(ValueError, match="got 14 scored rows in shard 1, expected 13"):
        distributions(swapped, run.decisions, [])
