"""Funnel, concepts, curves and evaluation, each against numbers counted by hand."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.report.concepts import concepts_of
from pipeline.report.curves import curves_of, watched_of
from pipeline.report.evaluation import evaluation_of
from pipeline.report.funnel import MEANING, funnel
from pipeline.report.names import names_of
from pipeline.report.picks import Chooser
from pipeline.schema import Reason


def test_every_reason_can_be_explained():
    assert set(MEANING) == set(Reason) - {Reason.OK}


def test_the_funnel_goes_through_reasons_in_the_order_they_are_found():
    rows = pa.table({"reason": ["ok", "quota", "ok", "decode_error", "quota", "ok"]})
    found = funnel(rows, claimed={"ok": 3, "quota": 2, "decode_error": 1, "duplicate": 0})
    assert [(s.reason, s.rows, s.left) for s in found.steps] == [
        ("decode_error", 1, 5), ("quota", 2, 3),
    ]  # fmt: skip
    assert (found.rows_in, found.rows_kept) == (6, 3)


def concept_table(**columns):
    held = {"concept": [0, 1, 2], "size": [7, 7, 7], "quota": [7, 7, 6]}
    places = {"x": [0.0, 1.0, 2.0], "y": [0.0, 0.5, -1.0]}
    return pa.table(held | {"complexity": [0.3, 0.1, np.nan]} | places | columns)


def test_concepts_show_their_easiest_and_hardest_members(run):
    concepts = concepts_of(run.decisions, concept_table(), Chooser.of(run.decisions))
    assert concepts is not None
    every = {c.number: c for c in (*concepts.simplest, *concepts.most_complex)}
    assert {n: c.kept for n, c in every.items()} == {0: 6, 1: 6, 2: 6}
    uid = run.decisions.column("uid").to_pylist()
    nearest = [int.from_bytes(uid[row], "big") for row in every[1].easiest]
    assert nearest == [1, 4, 7, 10]  # distance grows with the number, kept end at 17
    farthest = [int.from_bytes(uid[row], "big") for row in every[1].hardest]
    assert farthest == [16, 13]
    half = concepts_of(run.decisions, concept_table(), Chooser.of(run.decisions), share=0.5)
    assert half is not None
    assert {c.kept for c in half.simplest} == {12}  # estimated, if these were half of the rows


def test_a_concept_shows_a_copy_of_one_of_its_members(run):
    concepts = concepts_of(run.decisions, concept_table(), Chooser.of(run.decisions))
    assert concepts is not None
    rows = run.decisions.to_pylist()
    by_uid = {row["uid"]: row for row in rows if row["reason"] == "ok"}
    shown = [(c, row) for c in (*concepts.simplest, *concepts.most_complex) for row in c.copies]
    assert shown
    for concept, row in shown:
        assert rows[row]["reason"] != "ok"
        assert by_uid[rows[row]["twin"]]["concept"] == concept.number


def test_the_map_has_a_disc_for_each_concept_with_a_complexity(run):
    concepts = concepts_of(run.decisions, concept_table(), Chooser.of(run.decisions))
    assert concepts is not None
    assert concepts.map.count("<circle") == 2
    assert "--shade:1.00" in concepts.map
    assert "--shade:0.00" in concepts.map


def test_a_concept_is_named_by_what_the_others_do_not_say():
    captions = ["a red apple", "red apple tree", None, "a red car", "the red car 7"]
    found = names_of(captions, [0, 0, 0, 1, 1], wanted=[0, 1, 5])
    # Weights by hand: A = 9 / 2; apple 2 log(1 + 4.5 / 2), red 2 log(1 + 4.5 / 4), tree log(5.5).
    assert found == {0: "apple, tree, red", 1: "car, the, red", 5: ""}


def test_no_concepts_no_section(run):
    empty = concept_table().slice(0, 0)
    assert concepts_of(run.decisions, empty, Chooser.of(run.decisions)) is None


def test_curves_stand_in_the_order_of_comparison():
    line = {"step": 4, "samples_seen": 32, "loss": 0.5, "samples_per_s": 10.0, "data_wait": 0.25}
    curves = curves_of({"random": [line], "extra": [line], "subset": [line, line]}, title="t")
    assert curves is not None
    assert [r.name for r in curves.runs] == ["subset", "random", "extra"]
    assert (curves.runs[0].samples_per_s, curves.runs[0].data_wait) == (10.0, 0.25)
    assert not curves.runs[0].has_mfu
    judged = {"step": 4, "eval/retrieval/main_metric": 0.5}
    some = curves_of({"subset": [line | {"mfu": 0.4}, judged]}, title="t")
    assert some is not None
    assert (some.runs[0].steps, some.runs[0].mfu) == (4, 0.4)
    assert curves_of({"subset": [line | {"loss": float("nan")}]}, title="t") is None


def test_what_runs_were_watched_by_is_drawn_over_samples_seen():
    def run(rate):
        steps = [{"step": s, "samples_seen": 8 * s, "loss": 1.0, "mfu": rate} for s in (2, 4)]
        judged = [{"step": s, "eval/zeroshot:kind/main_metric": 0.1 * s} for s in (3, 4)]
        once = {"step": 4, "eval/retrieval/main_metric": 0.5}  # one point makes no line
        return [*steps, *judged, once]

    watched = watched_of({"random": run(0.2), "subset": run(0.4)})
    assert [w.title for w in watched] == ["Zero-shot by kind", "Utilisation (MFU)"]
    kind, mfu = (w.chart for w in watched)
    assert "subset: ends at 40" in kind
    assert mfu.index("subset: ends at 40") < mfu.index("random: ends at 20")
    assert kind.count('class="line') == 2
    assert watched_of({"subset": [{"step": 1, "samples_seen": 8, "loss": 1.0}]}) == ()


def test_evaluation_knows_the_best_the_gain_and_what_is_no_score():
    task = {"zeroshot:kind/acc1": 0.2, "zeroshot:kind/recall": 0.3}
    more = {
        "zeroshot:kind/main_metric": 0.3,
        "zeroshot:kind/chance": 0.1,
        "zeroshot:kind/classes": 10,
    }
    other = {
        "zeroshot:kind/acc1": 0.5,
        "zeroshot:kind/recall": 0.1,
        "zeroshot:kind/main_metric": 0.1,
    }
    evaluation = evaluation_of({"random": other, "subset": task | more})
    assert evaluation is not None
    (shown,) = evaluation.tasks
    assert (shown.title, shown.about) == ("Zero-shot by kind", "chance 10.0 %, 10 classes")
    acc1, recall = shown.metrics
    assert (acc1.values, acc1.best, acc1.main) == ((0.2, 0.5), 0.5, False)
    assert acc1.gain == pytest.approx(-0.3)
    assert recall.main


def test_without_a_random_run_there_is_no_gain():
    evaluation = evaluation_of({"subset": {"retrieval/recall": 0.5}, "student": {}})
    assert evaluation is not None
    (metric,) = evaluation.tasks[0].metrics
    assert (metric.values, metric.gain) == ((0.5, None), None)
    assert evaluation_of({}) is None
