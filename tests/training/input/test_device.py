"""Batches arrive in order, the next one is fetched meanwhile, and errors come through."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from training.input.batch import Batch
from training.input.device import ahead

CPU = torch.device("cpu")


def _batch(number):
    pixels = torch.full((2, 3, 3, 3), number, dtype=torch.uint8)
    return Batch(number, pixels, torch.zeros(2, 4), torch.ones(2), np.arange(2), 0)


def test_all_arrive_in_order_and_the_next_one_is_fetched_meanwhile():
    begun = [threading.Event() for _ in range(6)]

    def batches():
        for number in range(5):
            begun[number].set()
            yield _batch(number)
        begun[5].set()

    for number, batch in enumerate(ahead(batches(), CPU)):
        assert (batch.pixels_BHWC == number).all()
        assert begun[number + 1].wait(10)  # before it is asked for
        assert number + 2 >= len(begun) or not begun[number + 2].is_set()


def test_what_is_prepared_is_what_arrives():
    coming = ahead(map(_batch, range(2)), CPU, prepare=lambda batch: replace(batch, replaced=7))
    assert [(batch.start, batch.replaced) for batch in coming] == [(0, 7), (1, 7)]


def test_an_error_arrives_after_the_batches_before_it():
    def batches():
        yield _batch(0)
        raise OSError("shard gone")

    coming = ahead(batches(), CPU)
    assert next(coming).start == 0
    with pytest.raises(OSError, match="shard gone"):
        next(coming)


def test_who_has_had_enough_closes_the_loader():
    closed = threading.Event()

    def batches():
        try:
            while True:
                yield _batch(0)
        finally:
            closed.set()

    coming = ahead(batches(), CPU)
    next(coming)
    coming.close()
    assert closed.is_set()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_arrives_on_a_gpu_is_what_was_sent():
    device = torch.device("cuda")
    for number, batch in enumerate(ahead(map(_batch, range(9)), device)):
        assert batch.pixels_BHWC.device.type == "cuda"
        assert (batch.pixels_BHWC == number).all().item()
