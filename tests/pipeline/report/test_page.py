"""The page is one valid, inert file, the same for the same run, and its numbers add up."""

import json
import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from pipeline.report import render, write_report
from pipeline.report.picks import MOST
from pipeline.tables import encode
from pipeline.voted import read_decisions
from tests.pipeline.report.conftest import REASONS, UNSCORED

VOID = {"meta", "link", "img", "br"}
LOADS = ("src", "href", "srcset", "action", "poster", "data", "xlink:href", "background")


class Page(HTMLParser):
    """Tags, attributes, and the text of each table cell; fails where tags do not balance."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.section = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = dict(attrs)["id"]
        if tag == "tr":
            self.tables.setdefault(self.section, []).append([])
        if tag in {"td", "th"}:
            self.tables[self.section][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open) and "svg" not in self.open and "small" not in self.open:
            self.tables[self.section][-1][-1] += data.strip()


@pytest.fixture(scope="module")
def html(run) -> str:
    return render(run.folder, run.scores)


def test_tags_balance_and_every_section_has_its_content(html):
    page = Page(html)
    sections = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    linked = [attrs["href"][1:] for tag, attrs in page.tags if tag == "a"]
    assert sections == linked
    assert "Not in this run yet" not in html
    assert sum(attrs.get("class") == "chart" for tag, attrs in page.tags) == 3 + 3 + 2 + 2 + 1


def test_nothing_is_loaded_and_nothing_can_run(html):
    for tag, attrs in Page(html).tags:
        assert tag not in {"script", "iframe", "object", "embed", "base", "form", "use"}
        for name, value in attrs.items():
            assert not name.startswith("on"), (tag, name)
            if name in LOADS:
                assert value.startswith(("data:", "#")), (tag, name, value)
    assert "url(" not in html.split("</style>")[0]
    assert "default-src 'none'" in html


def test_hostile_text_is_shown_as_text(html):
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&#34;&gt;&lt;img src=x onerror=alert(2)&gt;" in html
    assert "{{ 7 * 7 }}" in html
    assert "&lt;b&gt;sharp&lt;/b&gt;" in html
    assert "cell 2, b&lt;b&gt;: 1 shards" in html
    assert "&lt;script&gt;alert(3)&lt;/script&gt;" in html
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", html)
    assert "x" * 161 not in html


def test_the_funnel_adds_up_to_the_headline(html):
    _, *rows = Page(html).tables["funnel"]
    count = {row[0]: int(row[1]) for row in rows}
    assert count == {
        "in": 30, "missing_image": 1, "missing_caption": 1, "decode_error": 1, "repeated_uid": 1,
        "duplicate": 2, "low_p_keep": 5, "quota": 1, "kept": 18,
    }  # fmt: skip
    assert count.pop("in") == sum(count.values())
    assert re.findall(r"<dd>(.*?)</dd>", html)[:4] == ["30", "18", "60.0 %", "12.8 s"]


def test_evaluation_compares_and_marks_the_best(html):
    head, row = Page(html).tables["evaluation"]
    assert head[1:] == ["subset", "random", "student", "Gain"]
    assert row == ["acc1 *", "50.0 %", "40.0 %", "25.0 %", "+10.0"]
    assert re.findall(r'class="n best">(.*?)<', html) == ["50.0 %"]


def test_planted_trouble_and_cost_are_listed(html):
    tables = Page(html).tables
    assert tables["planted"][1][:4] == ["swapped", "4", "3", "75.0 %"]
    assert [row[:2] for row in tables["cost"]] == [
        ["Stage", "12.8 s"], ["score", "12.5 s"], ["vote", "0.25 s"],
        ["Bytes", "125.5 kB"], ["shards", "123.5 kB"], ["score tables", "2.0 kB"],
    ]  # fmt: skip


def test_rules_stand_against_planted_trouble_with_false_drops_first(html):
    head, *rows = Page(html).tables["planted"][2:]
    assert head == ["Rule", "false drops", "other language", "swapped"]
    assert rows == [
        ["bright", "5.0 %", "\u2013", "75.0 %"],
        ["<b>sharp</b>", "\u2013", "100.0 %", "\u2013"],
    ]
    cells = [
        (a["class"], a["style"], a["title"])
        for t, a in Page(html).tags
        if "--heat" in a.get("style", "")
    ]
    assert cells[0] == ("n false", "--heat: 5%", "1 of 20")
    assert cells[2] == ("n ", "--heat: 75%", "3 of 4")
    assert [style for _, style, _ in cells[3:6]] == ["--heat: 0%", "--heat: 100%", "--heat: 0%"]


def test_rules_stand_beside_each_other(html, run):
    votes = run.votes_NM
    rows = Page(html).tables["rules"]
    names = ["bright", "few words", "<b>sharp</b>"]
    head = next(i for i, row in enumerate(rows) if row == ["", *names])
    for i, row in enumerate(rows[head + 1 :]):
        assert row[0] == names[i]
        for j, cell in enumerate(row[1:]):
            both = (votes[:, i] >= 0) & (votes[:, j] >= 0)
            equal = 100 * np.mean(votes[both, i] == votes[both, j])
            assert cell == ("" if i == j else f"{equal:.0f}")
    assert "bright and few words: " in html
    assert "votes against what it says" not in html
    assert "<dt>model</dt><dd>triplet</dd>" in html
    assert "<dt>prior p(keep)</dt><dd>0.70</dd>" in html


def test_labels_of_the_run_are_counted_with_an_interval(own_run):
    subset = pa.table({
        "uid": pa.array([i.to_bytes(16, "big") for i in (0, 3, 20, 28)], pa.binary(16)),
        "label": pa.array([1, 0, 1, 1], pa.int32()),
        "chosen": ["random", "random", "uncertain", "random"],
    })  # fmt: skip
    own_run.folder.write("labels.parquet", encode(subset))
    html = render(own_run.folder, own_run.scores)
    sharp = next(row for row in Page(html).tables["rules"] if row[0].startswith("<b>sharp"))
    assert sharp[7] == "50.0 %"  # keeps 0, which is good, and 3, which is not
    assert "9.5 % to 90.5 %, 1 of 2" in html
    told = "3 labels, the random ones of 4; 1 of pairs without votes left out"
    assert f"<dt>labels</dt><dd>{told}</dd>" in html
    assert "<dt>expected calibration error</dt><dd>45.0 %</dd>" in html  # 1 said 1, 0 said 0.9


def test_missing_values_tell_failures_from_nothing_to_say(html):
    _, failed, silent = Page(html).tables["scores"]
    assert failed[:4] == ["<i>o</i>", "9", "27", "33.3 %"]
    assert silent[:4] == ["<i>o</i>", "18", "27", "66.7 %"]
    assert html.count("; it failed") == 1
    assert "words, &lt;u&gt;; it failed" in html


def test_the_timeline_tells_steps_and_slow_shards(html):
    rows = Page(html).tables["timeline"]
    assert [row[:3] for row in rows[1:4]] == [
        ["at a shard", "", "100.0 %"], ["<i>step</i>", "10.0 s", "50.0 %"],
        ["read", "4.0 s", "20.0 %"],
    ]  # fmt: skip
    assert rows[5:] == [
        ["0", "10.0 s", "15", "1.5", "<i>step</i>", "1", "0.00 s"],
        ["1", "10.0 s", "15", "1.5", "<i>step</i>", "2", "24 h 00 min"],
    ]
    assert "2 shards on 2 cells in 20.0 s, 1.5 rows/s" in html
    assert "23 h 59 min</text>" in html


def test_galleries_hold_few_and_show_twins_and_grey_tiles(html):
    galleries = html.split("<details ")[1:-1]
    assert max(g.count("<article") for g in galleries) == MOST
    duplicate = next(g for g in galleries if "<b>duplicate</b>" in g)
    assert duplicate.count('class="card pair"') == 2
    assert f"{23:032x}" in duplicate
    assert f"{3:032x}" in duplicate
    assert html.count('aria-label="no picture: decode error"') == 1
    assert html.count('aria-label="no picture: missing image"') == 1
    assert len(html) < 6_000_000


def test_equal_runs_give_equal_bytes(own_run, html, tmp_path):
    assert render(own_run.folder, own_run.scores) == html
    url = write_report(own_run.folder, own_run.scores)
    assert url == str(tmp_path / "run" / "report" / "index.html")
    assert (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8") == html


def test_a_run_that_was_only_curated_leaves_the_rest_out(own_run, tmp_path):
    for name in ("summary.json", "config.toml", "subset/rules.json", "subset/concepts.parquet"):
        (tmp_path / "run" / name).unlink()
    html = render(own_run.folder, own_run.scores)
    Page(html)
    assert html.count('class="missing"') == 10
    assert "<code>thresher train CONFIG</code>" in html


def test_a_pool_that_moved_away_leaves_grey_tiles(run):
    gone = replace(run.scores, shards=("/nowhere/0.tar", "/nowhere/1.tar"))
    html = render(run.folder, gone)
    assert "data:image" not in html
    assert 'aria-label="no picture: shard gone"' in html


def test_of_a_large_pool_a_sample_is_drawn_and_the_whole_is_counted(run, html, monkeypatch):
    monkeypatch.setattr("pipeline.report.files.read_decisions", partial(read_decisions, most=20))
    sampled = render(run.folder, run.scores)
    told = "come from a sample: 15 rows, 1 of 2 shards."
    assert told in sampled
    assert "The pool is large" not in html
    tables, whole = Page(sampled).tables, Page(html).tables
    assert tables["funnel"] == whole["funnel"]
    assert tables["rules"] != whole["rules"]
    drawn = re.findall(r"(\d+) kept, (\d+) dropped", sampled)
    shard = read_decisions(run.folder, ("shard",), most=20).table.column("shard")[0].as_py()
    reasons = [reason for reason in REASONS[shard::2] if reason not in UNSCORED]
    kept = reasons.count("ok")
    assert (str(kept), str(len(reasons) - kept)) in drawn


def test_a_run_without_decisions_is_refused(own_run, tmp_path):
    (tmp_path / "run" / "subset" / "scores.parquet").unlink()
    with pytest.raises(ValueError, match=r"run without subset/scores\.parquet.*thresher curate"):
        render(own_run.folder, own_run.scores)


def test_a_summary_of_another_run_is_refused(own_run):
    summary = json.loads(own_run.folder.read("summary.json"))
    summary["reasons"]["ok"] = 17
    own_run.folder.write("summary.json", json.dumps(summary).encode())
    with pytest.raises(ValueError, match=r"'ok': 17.*expected.*'ok': 18"):
        render(own_run.folder, own_run.scores)


def test_damaged_json_is_named(own_run):
    own_run.folder.write("summary.json", b"{")
    with pytest.raises(ValueError, match=r"summary\.json, which is not JSON"):
        render(own_run.folder, own_run.scores)
