"""The log of a run that was stopped reads like that of one that was not."""

import json
import time
from pathlib import Path

from training.config import Log, Train
from training.log.journal import Journal

CFG = Train(model="m.json", batch_size=4, samples_seen=40, log=Log(every=2))


def _steps(out):
    return [json.loads(line)["step"] for line in out.read("metrics.jsonl").splitlines()]


def _run(out, first, last, heard=None):
    listen = heard.append if heard is not None else None
    with Journal(CFG, out, done=first, on_step=listen) as journal:
        for step in journal.waiting(range(first + 1, last + 1)):
            journal.record(step=step, steps=9, loss=1.0 / step)


def test_every_second_step_and_the_last_are_written_and_all_are_heard(out):
    heard = []
    _run(out, 0, 9, heard)
    assert _steps(out) == [2, 4, 6, 8, 9]
    assert [entry["step"] for entry in heard] == list(range(1, 10))
    assert heard[-1]["samples_seen"] == 36
    assert heard[-1]["loss"] == 1 / 9


def test_lines_that_will_be_written_again_are_cut_off(out):
    _run(out, 0, 7)
    with Path(out.path("metrics.jsonl")).open("a") as file:
        file.write('{"step": 8, "lo')  # a kill in mid-write
    _run(out, 4, 9)
    assert _steps(out) == [2, 4, 6, 8, 9]


def test_waiting_counts_what_it_waits(out):
    def slow():
        for i in range(1, 5):
            time.sleep(0.02)
            yield i

    heard = []
    journal = Journal(CFG, out, done=0, on_step=heard.append)
    for step in journal.waiting(slow()):
        journal.record(step=step, steps=4)
    assert all(0.5 < entry["data_wait"] <= 1 for entry in heard)
    assert all(0 < entry["samples_per_s"] < 4 / 0.02 for entry in heard)
