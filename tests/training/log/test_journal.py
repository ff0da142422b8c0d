"""The log of a run that was stopped reads like that of one that was not."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.ranks import run_ranks
from training.config import Log, Train
from training.input.batch import Batch
from training.log.journal import Journal, open_sinks
from training.log.meter import Interval
from training.log.sink import TIMINGS
from training.parallel.ranks import ALONE, Ranks

CFG = Train(model="m.json", batch_size=4, samples_seen=40, log=Log(every=2))
STEPS = 9


def batch(*, replaced=0):
    pixels_BHWC = torch.zeros(4, 2, 2, 3, dtype=torch.uint8)
    text_BL = torch.ones(4, 3, dtype=torch.int64)
    return Batch(0, pixels_BHWC, text_BL, torch.ones(4), np.arange(4), replaced)


def journal_of(out, first, *, cfg=CFG, ranks=ALONE, replaced=0, on_step=None, ideal_s=None):
    sinks = open_sinks(cfg, out, identity="f00d", done=first, ranks=ranks)
    return Journal(
        cfg, sinks, steps=STEPS, done=first, replaced=replaced, ranks=ranks, ideal_s=ideal_s,
        on_step=on_step,
    )  # fmt: skip


def lines(out):
    return [json.loads(line) for line in out.read("metrics.jsonl").splitlines()]


def steps_of(out):
    return [line["step"] for line in lines(out)]


def run(out, first, last, **more):
    with journal_of(out, first, **more) as journal:
        for step in journal.waiting(range(first + 1, last + 1)):
            journal.record(batch(), step=step, loss=torch.tensor(1.0 / step), lr=0.1)


def test_every_second_step_and_the_last_are_written_and_all_are_heard(out):
    heard = []
    run(out, 0, STEPS, on_step=heard.append)
    assert steps_of(out) == [2, 4, 6, 8, 9]
    assert [entry["step"] for entry in heard] == list(range(1, 10))
    assert heard[-1]["samples_seen"] == 36
    assert [entry["loss"] for entry in heard] == pytest.approx([1 / s for s in range(1, 10)])
    written = lines(out)[-1]
    assert written == heard[-1]
    assert {"lr", "samples_per_s", "data_wait", "step_s_p50", "step_s_p90"} <= written.keys()
    assert "mfu" not in written  # nobody knows what this machine could do


def test_lines_that_will_be_written_again_are_cut_off(out):
    run(out, 0, 7)
    with Path(out.path("metrics.jsonl")).open("a") as file:
        file.write('{"step": 8, "lo')  # a kill in mid-write
    run(out, 4, STEPS)
    assert steps_of(out) == [2, 4, 6, 8, 9]


def test_an_evaluation_has_a_line_of_its_own_and_its_time_does_not_count(out):
    with journal_of(out, 0) as journal:
        journal.record(batch(), step=1, loss=1.0)
        with journal.pause():
            time.sleep(0.2)
        journal.tell(1, {"eval/retrieval/main_metric": 0.5})
        line = journal.record(batch(), step=2, loss=0.5)
    told, written = lines(out)
    assert told == {"step": 1, "eval/retrieval/main_metric": 0.5}
    assert written == line
    assert written["samples_per_s"] > 8 / 0.2
    assert written["step_s_p90"] < 0.2


def test_waiting_counts_what_it_waits(out):
    def slow():
        for i in range(1, 5):
            time.sleep(0.02)
            yield i

    heard = []
    journal = journal_of(out, 0, on_step=heard.append)
    for step in journal.waiting(slow()):
        journal.record(batch(), step=step, loss=1.0)
    assert all(0.5 < entry["data_wait"] <= 1 for entry in heard)
    assert all(0 < entry["samples_per_s"] < 4 / 0.02 for entry in heard)


def test_quantiles_of_step_times_by_hand():
    interval = Interval(seconds=1.0, waited_s=0.0, step_s=(5.0, 1.0, 3.0, 2.0, 4.0))
    assert interval.quantile(0.5) == 3.0
    assert interval.quantile(0.9) == 5.0
    assert interval.quantile(0.2) == 1.0


def _of_two(ranks: Ranks, out):
    """Losses 1 and 3, replaced 1 and 2, and a rank that takes twice the work."""
    heard = []

    def ideal_s(shown: Batch) -> float:
        return len(shown) / 4 * 1e-3 * (1 + ranks.rank)

    with journal_of(out, 0, ranks=ranks, replaced=10, on_step=heard.append, ideal_s=ideal_s) as j:
        for step in (1, 2):
            loss = torch.tensor(1.0 + 2 * ranks.rank)
            line = j.record(batch(replaced=1 + ranks.rank), step=step, loss=loss, lr=0.1)
        return line, heard, j.replaced(), len(j.sinks)


def test_ranks_tell_of_all_and_the_first_one_writes(out, tmp_path):
    (first, heard, replaced, sinks), second = run_ranks(_of_two, 2, tmp_path, out)
    assert (sinks, second[3]) == (1, 0)
    assert lines(out) == [first]
    assert (first["loss"], first["replaced"]) == (2.0, 16)
    assert replaced == second[2] == 16
    assert heard[0]["loss"] == 1.0  # between lines each rank tells of itself
    assert {k: v for k, v in first.items() if k not in TIMINGS} == {
        k: v for k, v in second[0].items() if k not in TIMINGS
    }
    assert first["data_wait_max"] >= first["data_wait"]
    assert first["samples_per_s_device"] == pytest.approx(first["samples_per_s"] / 2, abs=0.1)
    # Two steps of 1 ms and of 2 ms at the peak, 3 ms on average.
    seconds = 8 / first["samples_per_s"]
    assert first["mfu"] == pytest.approx(3e-3 / seconds, rel=0.01, abs=1e-4)
