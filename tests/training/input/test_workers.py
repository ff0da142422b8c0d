"""Worker processes make the batches that threads make, and say what went wrong."""

import dataclasses
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from training.config import Augment, Loader
from training.input.batches import Batches
from training.input.making import Recipe
from training.input.order import Order
from training.input.texts import texts_in_memory
from training.input.workers import Slots, WorkerLost
from training.parallel.ranks import Ranks

ROOT = Path(__file__).parents[3]


def _tokens(texts):
    return torch.tensor([[len(t), ord(t[2:3] or " ")] for t in texts])


def _batches(pairs, **how):
    ranks = Ranks(rank=1, count=2)
    return Batches(
        pairs, texts_in_memory(pairs.captions, _tokens), size=24, batch_size=9,
        order=Order(len(pairs), seed=4, batch_size=9), augment=Augment(), loader=Loader(**how),
        ranks=ranks,
    )  # fmt: skip


def test_workers_change_nothing_and_their_warnings_arrive_once(toy_pairs, caplog):
    """Both workers meet the broken picture, and what was handed over stays while slots go round."""
    pairs = toy_pairs(23, seed=3, corrupt=(5,))
    expected = list(_batches(pairs).iterate(2, 17))
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="training.input.pictures"):
        found = list(_batches(pairs, workers=2, threads=2, prefetch=3).iterate(2, 17))
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a.pixels_BHWC, b.pixels_BHWC)
        assert torch.equal(a.text_BL, b.text_BL)
        assert torch.equal(a.weight_B, b.weight_B)
        assert np.array_equal(a.row_B, b.row_B)
        assert (a.start, a.replaced) == (b.start, b.replaced)
    assert sum(batch.replaced for batch in found) > 1
    assert ["pair 5" in record.getMessage() for record in caplog.records] == [True]


def test_an_error_in_a_worker_is_raised_as_it_was(toy_pairs):
    pairs = dataclasses.replace(toy_pairs(23, seed=1), shards=("/nowhere/00000.tar",))
    with pytest.raises(FileNotFoundError, match=r"^shard /nowhere/00000.tar: got .*No such file"):
        list(_batches(pairs, workers=1).iterate(0, 4))


def test_a_worker_that_dies_is_named(toy_pairs):
    before = set(multiprocessing.active_children())
    coming = _batches(toy_pairs(23, seed=1), workers=2, prefetch=2).iterate(0, 10**6)
    next(coming)
    worker = (set(multiprocessing.active_children()) - before).pop()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerLost, match=rf"\b{worker.pid}\b.*expected 2 workers at work"):
        list(coming)


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from tests.training.input.test_workers import _batches
pairs = pickle.loads(Path(sys.argv[1]).read_bytes())
coming = _batches(pairs, workers=2, prefetch=2).iterate(0, 10**6)
next(coming)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_do_not_outlive_a_rank_that_was_killed(toy_pairs, tmp_path):
    given = tmp_path / "pairs.pickle"
    given.write_bytes(pickle.dumps(toy_pairs(23, seed=1)))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, given], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        process.communicate(timeout=60)  # until nobody holds its standard output any more
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == -signal.SIGKILL


def test_a_slot_is_written_to_again_only_after_it_was_taken(toy_pairs):
    recipe = Recipe(
        pairs=toy_pairs(23, seed=1), texts=None, order=Order(23, seed=0), size=4, batch_size=2,
        share=range(2), augment=Augment(), loader=Loader(workers=2),
    )  # fmt: skip
    slots = Slots(recipe, depth=2)
    for number in (0, 1):
        slots.free(1, number).fill_(7 + number)
    waiting = torch.multiprocessing.get_context("fork").Process(
        target=lambda: slots.free(1, 2).fill_(9)
    )
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    assert (slots.take(1, recipe.empty()) == 7).all()
    waiting.join(30)
    assert waiting.exitcode == 0
    assert (slots.take(1, recipe.empty()) == 8).all()
    assert (slots.take(1, recipe.empty()) == 9).all()
