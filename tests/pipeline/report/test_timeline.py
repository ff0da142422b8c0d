"""The timeline draws what the ledger says, no more than fits, and is readable after a pause."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ledger import SCHEMA
from pipeline.report.lanes import WIDE, bars
from pipeline.report.pauses import WorkAxis, rates
from pipeline.report.timeline import MOST_LANES, timeline_of
from pipeline.scores import Scores, Source

DAY = 86_400.0
spans = st.lists(st.tuples(st.floats(0, 40), st.floats(0.01, 20)), min_size=1, max_size=40)


def records(rows: list[tuple[str, str, float, float]], *, stage: str = "score-1") -> pa.Table:
    """Return a ledger's table from (shard, cell, start, took); 10 rows each."""
    return pa.Table.from_pylist(
        [
            {
                "shard": shard, "stage": stage, "rows": 10, "reasons": "{}", "sha256": bytes(32),
                "output_bytes": 1, "input_bytes": 1, "cell": cell, "took": took,
                "seconds": json.dumps({"decode": took, "embed": took / 2}),
                "at": 1.7e9 + start + took, "struck": False,
            }
            for shard, cell, start, took in rows
        ],
        SCHEMA,
    )  # fmt: skip


def scores_of(done: pa.Table) -> Scores:
    """Return scores of all its shards, with two columns."""
    ids = tuple(done.column("shard").to_pylist())
    digests = np.ones((len(ids), 32), np.uint8)
    return Scores(ids, ids, (Source("run/scores/score-1", ("width", "height"), digests),))


def laid_out(pairs: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Turn (pause, length) into starts and ends, one after the other."""
    gap, length = np.array(pairs).T
    end = np.cumsum(gap + length)
    return end - length, end


@given(spans)
def test_bars_merge_only_what_cannot_be_told_apart(pairs):
    start, end = laid_out(pairs)
    expected: list[list[float]] = []
    was_wide = True
    for a, b in zip(start, end, strict=True):
        is_wide = b - a >= WIDE
        if was_wide or is_wide or a - expected[-1][1] >= 1:
            expected.append([a, b])
        else:
            expected[-1][1] = b
        was_wide = is_wide
    lefts, rights = bars(start, end)
    assert np.stack([lefts, rights], axis=1).tolist() == expected


@given(st.integers(1, 5000))
def test_bars_are_never_more_than_pixels(shards):
    edges = np.linspace(0, 422, shards + 1)
    lefts, _ = bars(edges[:-1], edges[1:])
    assert len(lefts) <= 422 / WIDE


def test_long_pauses_are_cut_and_short_ones_stay():
    start = np.array([0.0, 60.0, 104.0, 104.0 + DAY])
    end = np.array([50.0, 100.0, 154.0, 154.0 + DAY])
    axis = WorkAxis.of(start, end, low=100.0, high=500.0)
    assert axis.total_s == pytest.approx(50 + 40 + 50 + 50 + 4)  # 4 s are under 5 % of 190 s
    assert [length for _, length in axis.pauses] == pytest.approx([10, DAY - 50])
    px = axis.px(np.array([0.0, 50.0, 60.0, 154.0, 104.0 + DAY, 154.0 + DAY]))
    assert px[[0, -1]] == pytest.approx([100, 500])
    assert px[2] - px[1] == pytest.approx(8)
    assert px[4] - px[3] == pytest.approx(8)
    assert (px[1] - px[0]) / (px[5] - px[4]) == pytest.approx(1)
    assert axis.wall(px) == pytest.approx([0, 50, 60, 154, 104 + DAY, 154 + DAY])


def test_many_pauses_leave_most_of_the_axis_to_the_work():
    start = np.arange(1000) * DAY
    axis = WorkAxis.of(start, start + 1, low=0.0, high=100.0)
    assert np.diff(axis.px_2J)[::2].sum() == pytest.approx(80)


@given(spans, st.integers(1, 30))
def test_rates_add_up_to_the_rows(pairs, bins):
    start, end = laid_out(pairs)
    rows = np.arange(1.0, len(start) + 1)
    axis = WorkAxis.of(start, end, low=0.0, high=100.0)
    edges = np.linspace(0, 100, bins + 1)
    rate = rates(start, end, rows, axis, edges)
    assert (rate * np.diff(axis.work(axis.wall(edges)))).sum() == pytest.approx(rows.sum())


def test_shares_are_of_the_time_that_cells_were_there():
    done = records([("0", "a", 0, 10), ("1", "a", 15, 5), ("2", "b", 5, 10), ("3", "b", 15, 5)])
    timeline = timeline_of(done, scores_of(done))
    assert timeline is not None
    assert (timeline.cells, timeline.shards, timeline.pauses) == (2, 4, 0)
    assert timeline.busy == pytest.approx(30 / 35)
    assert [(s.step, s.seconds) for s in timeline.steps] == [("decode", 30), ("embed", 15)]
    assert [s.share for s in timeline.steps] == pytest.approx([30 / 35, 15 / 35])
    assert timeline.rows_per_s == pytest.approx(40 / 20)
    assert timeline.stages == ("score-1: width, height",)
    assert [s.shard for s in timeline.slowest] == ["0", "2", "1", "3"]
    slow = timeline.slowest[1]
    assert (slow.cell, slow.rows, slow.step) == (2, 10, "decode")
    assert (slow.started_s, slow.took_s) == pytest.approx((5, 10))


def test_what_other_runs_did_and_what_no_cell_did_is_left_out():
    own = records([("0", "a", 0, 10), ("1", "b", 0, 10)])
    others = records([("2", "a", 0, 500)])
    stages = records([("0", "a", 0, 500)], stage="score-2")
    relation = records([("0", "", 900, 0)])
    timeline = timeline_of(pa.concat_tables([own, others, stages, relation]), scores_of(own))
    assert timeline is not None
    assert (timeline.shards, timeline.work_s) == (2, pytest.approx(10))
    assert timeline_of(others, scores_of(own)) is None
    assert timeline_of(SCHEMA.empty_table(), scores_of(own)) is None


def test_a_long_run_on_many_cells_makes_a_small_chart_and_says_what_is_not_drawn():
    rng = np.random.default_rng(0)
    took = rng.lognormal(0, 0.5, (100, 1000))
    start = np.cumsum(took, axis=1) - took
    start[:, 500:] += 3 * DAY
    rows = [
        (f"{c:03d}-{i:04d}", f"cell{c:03d}", start[c, i], took[c, i])
        for c in range(100)
        for i in range(1000)
    ]
    done = records(rows)
    timeline = timeline_of(done, scores_of(done))
    assert timeline is not None
    assert len(timeline.chart) < 100_000
    lanes = re.findall(r'class="shards', timeline.chart)
    assert len(lanes) == MOST_LANES
    assert timeline.rest is not None
    assert (timeline.rest.cells, timeline.rest.shards) == (100 - MOST_LANES, 68_000)
    drawn = took.sum() - timeline.rest.seconds
    assert drawn == pytest.approx(np.sort(took.sum(axis=1))[-MOST_LANES:].sum())
    assert timeline.pauses == 1
    shuffled = done.take(rng.permutation(len(done)))
    again = timeline_of(shuffled, scores_of(done))
    assert again is not None
    assert (again.chart, again.slowest) == (timeline.chart, timeline.slowest)


def test_names_are_escaped_and_the_chart_has_a_label():
    done = records([("<b>0</b>", "a<script>", 0, 10)])
    timeline = timeline_of(done, scores_of(done))
    assert timeline is not None
    svg = ElementTree.fromstring(timeline.chart)
    title = svg.find("title")
    assert title is not None
    assert title.text is not None
    assert title.text.startswith("Timeline of 1 shards on 1 cells over 10.0 s")
    assert "<script>" not in timeline.chart
