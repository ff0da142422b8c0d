"""Charts put values where they belong, and odd input does not break them."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.axes import Axis
from pipeline.report.charts import Dot, Labels, bar, histogram, lines, scatter

LABELS = Labels(title="A <chart> & more", x="x", y="y")
finite = st.floats(-1e6, 1e6, width=32)


@given(low=finite, span=st.floats(1e-3, 1e9))
def test_ticks_are_few_ordered_and_inside(low, span):
    ticks = Axis(low, low + span, 0, 100).ticks()
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= 6
    assert all(low - 1e-6 * span <= t <= low + span * (1 + 1e-6) for t in ticks)


def test_ticks_are_round():
    assert Axis(0, 1, 0, 100).ticks() == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert Axis(-0.03, 0.52, 0, 100).ticks() == [0, 0.2, 0.4]
    assert Axis(3, 4200, 0, 100, log=True).ticks() == [10, 100, 1000]
    assert Axis(1, 200, 0, 100, log=True).ticks() == [1, 3, 10, 30, 100]


def test_an_axis_maps_linearly_or_by_ratio_and_keeps_to_its_ends():
    assert Axis(0, 10, 100, 0).at(2.5) == 75
    assert Axis(1, 10_000, 0, 100, log=True).at(100) == pytest.approx(50)
    assert Axis(0, 10, 0, 100).at(99) == 100


def test_histogram_heights_are_shares_of_each_group():
    rows = {"kept": np.array([1, 3]), "dropped": np.array([50, 50])}
    chart = histogram(np.array([0.0, 1.0, 2.0]), rows, cuts=[], labels=LABELS)
    kept, dropped = (
        [float(y) for y in re.findall(r" ([\d.]+)", path.get("d"))]
        for path in ElementTree.fromstring(chart).iter("path")
        if path.get("class", "").startswith("area")
    )
    floor = kept[0]
    assert (floor - kept[3]) / (floor - kept[1]) == pytest.approx(3, rel=0.01)
    assert (floor - dropped[1]) / (floor - kept[1]) == pytest.approx(2, rel=0.01)


def test_text_is_escaped_and_markup_is_xml():
    chart = lines({"<run>": np.array([[0.0, 1.0], [8.0, 0.5]])}, labels=LABELS)
    title = ElementTree.fromstring(chart).find("title")
    assert title is not None
    assert title.text == "A <chart> & more"
    assert "<run>" not in chart


def test_lines_leave_out_what_is_not_finite_and_average_what_is_too_much():
    x = np.arange(3000.0)
    chart = lines({"a": np.stack([x, x % 2], axis=1), "b": np.full((4, 2), np.nan)}, labels=LABELS)
    (line,) = re.findall(r'class="line s0" d="(.*?)"', chart)
    assert line.count("L") == 299
    assert "nan" not in chart


@pytest.mark.parametrize("y", [0.0, 5.0])
def test_a_single_point_is_drawn(y):
    line = lines({"a": np.array([[0.0, y]])}, labels=LABELS)
    dots = scatter([Dot(1.0, y, y, "one")], labels=LABELS)
    for chart in (line, dots):
        ElementTree.fromstring(chart)
        assert "nan" not in chart
        assert "inf" not in chart
    assert re.search(r'class="line s0" d="M', line)
    assert dots.count("<title>one") == 1
    assert dots.count("<circle") >= 2


def test_bars_cover_their_share_and_what_is_tiny_is_seen():
    assert 'x="25" width="50"' in bar(0.25, 0.75)
    assert 'x="25" width="50"' in bar(0.75, 0.25)
    assert 'width="0.4"' in bar(0, 1e-6)
    assert 'x="99.6" width="0.4"' in bar(1 - 1e-6, 1)
    assert 'width="0"' in bar(0.5, 0.5)
