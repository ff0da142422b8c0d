"""Batches made by processes of their own, handed over in shared memory, in order."""

import logging
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.input.ahead import in_threads
from training.input.batch import Batch
from training.input.making import Maker, Place, Recipe

logger = logging.getLogger(__name__)


class WorkerLost(RuntimeError):  # noqa: N818 (what it is, as FileNotFoundError's siblings have it)
    """A process that makes batches died."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a worker sends.

    Attributes:
        made: A batch, or why there is none.
        told: What it has logged since the last parcel: logger, level, text.
    """

    made: Batch | Exception
    told: tuple[tuple[str, int, str], ...]


def in_workers(recipe: Recipe, steps: range) -> Iterator[Batch]:
    """Yield the batches of some steps, made by the loader's workers.

    At most `prefetch` batches are ready, and `threads` of each worker are in work.

    Raises:
        OSError: A shard cannot be read.
        ValueError: No picture can be decoded.
        WorkerLost: A worker died.
    """
    loader = recipe.loader
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, not by each worker
    parcels: Iterable[Parcel] = DataLoader(
        _Steps(recipe.without_cache(), steps),
        batch_size=None,
        num_workers=loader.workers,
        prefetch_factor=max(1, loader.prefetch // loader.workers),
        multiprocessing_context=context,
    )
    heard: set[str] = set()
    for parcel in _unless_lost(parcels, loader.workers):
        for name, level, text in parcel.told:
            if text not in heard:  # each worker meets the same picture one day
                logging.getLogger(name).log(level, "%s", text)
                heard.add(text)
        if isinstance(parcel.made, Exception):
            raise parcel.made
        yield parcel.made


class _Steps(IterableDataset):
    """The batches of every W-th step, for worker w of W."""

    def __init__(self, recipe: Recipe, steps: range) -> None:
        self.recipe = recipe
        self.steps = steps

    def __iter__(self) -> Iterator[Parcel]:
        worker = get_worker_info()
        assert worker is not None, "runs in a worker"
        told: list[tuple[str, int, str]] = []
        _listen(told)
        try:
            maker = Maker(self.recipe, new_pixels=_shared)
            places = map(self.recipe.place, self.steps[worker.id :: worker.num_workers])
            threads = self.recipe.loader.threads
            make = partial(_parcel, maker, told)
            yield from in_threads(make, places, threads=threads, depth=threads)
        except Exception as error:  # of `place`, or of the maker's beginning
            yield Parcel(_sendable(error), ())


def _parcel(maker: Maker, told: list[tuple[str, int, str]], place: Place) -> Parcel:
    try:
        made = maker.make(place)
    except Exception as error:  # whatever it is, the rank's own process raises it
        made = _sendable(error)
    heard = [told.pop(0) for _ in range(len(told))]
    return Parcel(made, tuple(heard))


def _sendable(error: Exception) -> Exception:
    """Return an error that arrives as it was; its one line of text, if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (made here)
    except Exception:  # pickling runs the error's own code
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _shared(shape: tuple[int, ...]) -> Tensor:
    """Return pixels in shared memory: they need not be copied there to be sent."""
    return torch.empty(shape, dtype=torch.uint8).share_memory_()


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
