"""Batches made by processes of their own, handed over in shared memory, in order."""

import logging
import os
import pickle
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.input.ahead import in_threads
from training.input.batch import Batch
from training.input.making import Maker, Place, Recipe

POLL_S = 0.001


class WorkerLost(RuntimeError):  # noqa: N818 (what it is, as FileNotFoundError's siblings have it)
    """A process that makes batches died."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a worker sends.

    Attributes:
        made: A batch without its pixels, or why there is none.
        told: What the worker has logged since the last parcel: logger, level, text.
    """

    made: Batch | Exception
    told: tuple[tuple[str, int, str], ...] = ()


class Slots:
    """Memory that W workers write pixels to and the rank's own process copies them out of.

    It is used again and again: new shared memory for each batch costs 0.13 ms a picture of 224 px,
    as much as a quarter of its decode. Worker w's k-th batch lies in slot [w, k % R].

    Args:
        recipe: Of the batches.
        depth: Batches of one worker that may be made and not taken yet.
    """

    def __init__(self, recipe: Recipe, *, depth: int) -> None:
        workers, like = recipe.loader.workers, replace(recipe, pinned=False).empty()
        self.pixels_WRBHWC = like.new_empty((workers, depth, *like.shape)).share_memory_()
        self.taken_W = torch.zeros(workers, dtype=torch.int64).share_memory_()
        self.depth = depth

    def free(self, worker: int, number: int) -> Tensor:
        """Return the slot of a worker's batch; before, wait until the last one in it is taken."""
        while int(self.taken_W[worker]) + self.depth <= number:
            time.sleep(POLL_S)
        return self.pixels_WRBHWC[worker, number % self.depth]

    def take(self, worker: int, into: Tensor) -> Tensor:
        """Copy the oldest batch of a worker that is not taken yet, and free its slot."""
        number = int(self.taken_W[worker])
        there = self.pixels_WRBHWC[worker, number % self.depth]
        np.copyto(into.numpy(), there.numpy())  # torch would wake threads for it
        self.taken_W[worker] = number + 1
        return into


def in_workers(recipe: Recipe, steps: range) -> Iterator[Batch]:
    """Yield the batches of some steps, made by the loader's workers.

    About `prefetch` batches are ready, and `threads` of each worker are in work.

    Raises:
        OSError: A shard cannot be read.
        ValueError: No picture can be decoded.
        WorkerLost: A worker died.
    """
    loader = recipe.loader
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, not by each worker
    ready = -(-loader.prefetch // loader.workers)
    slots = Slots(recipe, depth=ready + loader.threads + 1)
    parcels: Iterable[Parcel] = DataLoader(
        _Steps(recipe.without_cache(), steps, slots),
        batch_size=None,
        num_workers=loader.workers,
        prefetch_factor=ready,
        multiprocessing_context=context,
        generator=torch.Generator(),  # or the workers' seeds would be drawn from torch's own
    )
    heard: set[str] = set()
    for number, parcel in enumerate(_unless_lost(parcels, loader.workers)):
        for name, level, text in parcel.told:
            if text not in heard:  # each worker meets the same picture one day
                logging.getLogger(name).log(level, "%s", text)
                heard.add(text)
        if isinstance(parcel.made, Exception):
            raise parcel.made
        pixels_BHWC = slots.take(number % loader.workers, into=recipe.empty())
        yield replace(parcel.made, pixels_BHWC=pixels_BHWC)


class _Steps(IterableDataset):
    """The batches of every W-th step, for worker w of W."""

    def __init__(self, recipe: Recipe, steps: range, slots: Slots) -> None:
        self.recipe = recipe
        self.steps = steps
        self.slots = slots

    def __iter__(self) -> Iterator[Parcel]:
        worker = get_worker_info()
        assert worker is not None, "runs in a worker"
        told: list[tuple[str, int, str]] = []
        threading.Thread(target=_die_with_the_rank, daemon=True).start()
        _listen(told)
        try:
            maker = Maker(self.recipe)
            places = map(self.recipe.place, self.steps[worker.id :: worker.num_workers])

            def make(item: tuple[int, Place]) -> Parcel:
                return _parcel(maker, item[1], self.slots.free(worker.id, item[0]), told)

            threads = self.recipe.loader.threads
            yield from in_threads(make, enumerate(places), threads=threads, depth=threads)
        except Exception as error:  # of `place`, or of the maker's beginning
            yield Parcel(_sendable(error))


def _die_with_the_rank() -> None:
    """End this process when the one it works for is gone, killed maybe.

    torch looks whether the process that forked it still lives: that is the fork server, which in
    turn lives as long as any worker does.
    """
    rank = parent_process()
    assert rank is not None, "runs in a worker"
    rank.join()
    os._exit(1)


def _parcel(maker: Maker, place: Place, into: Tensor, told: list[tuple[str, int, str]]) -> Parcel:
    try:
        made = replace(maker.make(place, into=into), pixels_BHWC=torch.empty(0))
    except Exception as error:  # whatever it is, the rank's own process raises it
        made = _sendable(error)
    return Parcel(made, tuple(told.pop(0) for _ in range(len(told))))


def _sendable(error: Exception) -> Exception:
    """Return an error that arrives as it was; its one line of text, if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (made here)
    except Exception:  # pickling runs the error's own code
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _listen(told: list[tuple[str, int, str]]) -> None:
    """Collect what this process logs, in place of writing it."""

    class _Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append((record.name, record.levelno, record.getMessage()))

    for name in ("training", "pipeline"):
        logging.getLogger(name).handlers = [_Collect()]
        logging.getLogger(name).propagate = False


def _unless_lost(parcels: Iterable[Parcel], workers: int) -> Iterator[Parcel]:
    """Say whose death torch reports, and what helps."""
    try:
        yield from parcels
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise WorkerLost(
            f"loader: got {str(error).splitlines()[0]}, expected {workers} workers at work; give "
            "the run more memory (of /dev/shm too) or lower loader.workers, loader.prefetch or "
            "train.batch_size, then start it again: it goes on from its last state"
        ) from error
