"""Galleries show the rows they say, and thumbnails hold pixels and nothing else."""

import base64
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.report.disagreements import MOST, MOST_A_SIDE, pick_disagreements
from pipeline.report.galleries import CardMaker, twin_rows
from pipeline.report.picks import Chooser, pick_kept, pick_reasons, pick_rules
from pipeline.report.thumbnails import SIDE, load_thumbnails
from pipeline.schema import Reason


def _uids(run, pick):
    return [int.from_bytes(run.decisions.column("uid")[row].as_py(), "big") for row in pick.rows]


@pytest.fixture
def choose(run):
    return Chooser.of(run.decisions)


def test_kept_are_the_first_by_uid_and_the_lowest(run, choose):
    kept, barely = pick_kept(run.decisions, choose)
    assert _uids(run, kept) == list(range(12))
    assert _uids(run, barely) == list(range(17, 5, -1))
    assert kept.total == 18


def test_every_reason_has_its_rows_and_both_ends_of_p_keep(run, choose):
    picks = {p.title: _uids(run, p) for p in pick_reasons(run.decisions, choose)}
    assert picks == {
        "missing_image": [28],
        "missing_caption": [29],
        "decode_error": [27],
        "repeated_uid": [26],
        "duplicate": [23, 24],
        "low_p_keep, lowest": [22, 21, 20, 19, 18],
        "low_p_keep, nearest the cut": [18, 19, 20, 21, 22],
        "quota": [25],
    }


def test_a_budget_is_shown_as_a_cut_is(run):
    reasons = run.decisions.column("reason").to_pylist()
    under = [r if r != Reason.LOW_P_KEEP else str(Reason.OVER_BUDGET) for r in reasons]
    at = run.decisions.column_names.index("reason")
    decisions = run.decisions.set_column(at, "reason", pa.array(under))
    picks = {p.title: p for p in pick_reasons(decisions, Chooser.of(decisions))}
    nearest = picks["over_budget, nearest the cut"]
    assert _uids(run, nearest) == [18, 19, 20, 21, 22]
    pictures = load_thumbnails(decisions, run.scores.shards, nearest.rows)
    cards = CardMaker(decisions, run.scores, pictures, {}).gallery(nearest).cards
    assert dict(cards[3].facts)["against"] == "few words"


def test_rule_galleries_show_what_the_rule_saw(run, choose):
    rules = [{"kind": "condition", "name": "few words", "columns": ["words", "language"]}]
    (pick,) = pick_rules(run.decisions, rules, choose)
    assert _uids(run, pick) == [i for i in range(27) if i % 7 < 3][:12]
    pictures = load_thumbnails(run.decisions, run.scores.shards, pick.rows)
    gallery = CardMaker(run.decisions, run.scores, pictures, {}).gallery(pick)
    assert [dict(card.facts)["words"] for card in gallery.cards[:4]] == ["0", "1", "2", "0"]
    assert dict(gallery.cards[0].facts)["language"] == "en"


def test_disagreements_are_what_the_cut_went_against(run, choose):
    rules = json.loads((run.folder / "subset").read("rules.json"))
    picks = {p.title: p for p in pick_disagreements(run.decisions, rules, choose)}
    lowest = min(1 - i / 30 for i in range(26) if i < 18 or i > 22)  # of what was let through
    votes = {i: run.decisions.column("vote:bright")[row].as_py() for row, i in _rows(run).items()}
    drops = [i for i in range(27) if votes[i] == 0 and 1 - i / 30 >= lowest]
    keeps = [i for i in range(26, -1, -1) if votes[i] == 1 and 1 - i / 30 < lowest]
    assert keeps == [26]
    assert _uids(run, picks["bright"]) == [*keeps, *drops[:MOST_A_SIDE]]
    assert picks["bright"].total == len(keeps) + len(drops)
    few = picks["few words"]
    pictures = load_thumbnails(run.decisions, run.scores.shards, few.rows)
    gallery = CardMaker(run.decisions, run.scores, pictures, {}).gallery(few)
    assert {dict(card.facts)["it says"] for card in gallery.cards} == {"drop"}


def test_many_rules_have_few_pictures_each(run, choose):
    (rule,) = json.loads((run.folder / "subset").read("rules.json"))[1:2]
    picks = pick_disagreements(run.decisions, [rule] * 64, choose)
    assert len(picks) == 64
    assert sum(len(pick.rows) for pick in picks) <= MOST


def _rows(run):
    uids = run.decisions.column("uid").to_pylist()
    return {row: int.from_bytes(uid, "big") for row, uid in enumerate(uids)}


def test_a_copy_finds_its_twin(run, choose):
    duplicate = next(p for p in pick_reasons(run.decisions, choose) if p.title == "duplicate")
    twins = twin_rows(run.decisions, duplicate.rows)
    uid = run.decisions.column("uid").to_pylist()
    assert [int.from_bytes(uid[twins[row]], "big") for row in duplicate.rows] == [3, 4]
    assert twin_rows(run.decisions, []) == {}


def test_a_thumbnail_is_small_and_looks_like_the_picture(run):
    (thumbnail,) = load_thumbnails(run.decisions, run.scores.shards, [0]).values()
    data = base64.b64decode(thumbnail.uri.removeprefix("data:image/webp;base64,"))
    assert b"not for the report" not in data
    image = Image.open(io.BytesIO(data))
    assert max(image.size) == SIDE
    assert image.size == (thumbnail.width, thumbnail.height)
    corner = np.asarray(image.convert("RGB"))[2, 2].astype(int)
    assert np.abs(corner - (0, 120, 255)).max() < 16


def test_pictures_over_the_bound_of_the_run_are_not_decoded_for_the_report(run):
    reasons = pa.array([str(Reason.TOO_MANY_PIXELS)] * len(run.decisions))
    at = run.decisions.column_names.index("reason")
    table = run.decisions.set_column(at, "reason", reasons)
    (thumbnail,) = load_thumbnails(table, run.scores.shards, [0]).values()
    assert (thumbnail.uri, thumbnail.defect) == ("", "too_many_pixels")
