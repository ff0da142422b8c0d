"""Layout two, for nodes poor in CPUs: decoders on other nodes read and decode for a cell.

They send uint8 batches through the object store; Ray stops each of them when `IN_FLIGHT` of its
batches wait to be used, whatever the shard's size.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from typing import Any

from pipeline.cells import CellPlan
from pipeline.cells.decoding import Decoded
from pipeline.cells.plan import Stopwatch
from pipeline.cells.source import OpenFile, OpenSource, Source, UnreadableShardError, own_sources
from pipeline.fetch import open_shard
from pipeline.leases import Lease

IN_FLIGHT = 2  # batches of one decoder that lie in the object store
STRETCH = 8  # batches that a decoder does before it is the next one's turn


class DecodeActor:
    """Reads shards and decodes stretches of them."""

    def __init__(self, plan: CellPlan) -> None:
        self._open, self._spool = own_sources(plan), plan.settings.spool or None

    def rows(self, lease: Lease) -> int:
        """Count the samples of a shard."""
        with self._source(lease, Stopwatch()) as source:
            return source.rows

    def batches(
        self, lease: Lease, stretches: list[tuple[int, int]]
    ) -> Iterator[tuple[list[Decoded], dict[str, float]]]:
        """Yield decoded batches, and the seconds that each took here."""
        watch = Stopwatch()
        with self._source(lease, watch) as source:
            for first, last in stretches:
                for batch in source.batches(first, last):
                    seconds, watch.seconds = watch.seconds, {}
                    yield batch, seconds

    def _source(self, lease: Lease, watch: Stopwatch) -> Any:
        return self._open(lease, partial(open_shard, lease.shard.url, spool=self._spool), watch)


class FarSource:
    """A shard that decoders read; stretches of it go round among them."""

    def __init__(self, decoders: list[Any], batch: int, lease: Lease, watch: Stopwatch) -> None:
        self._decoders, self._batch, self._lease, self._watch = decoders, batch, lease, watch
        self.rows: int = _asked(decoders[0].rows.remote(lease))

    def batches(self, first: int, last: int) -> Iterator[list[Decoded]]:
        """Take batches from the decoders in turn."""
        step = STRETCH * self._batch
        stretches = [(at, min(at + step, last)) for at in range(first, last, step)]
        number = len(self._decoders)
        streams = [
            decoder.batches.options(
                num_returns="streaming", _generator_backpressure_num_objects=IN_FLIGHT
            ).remote(self._lease, stretches[i::number])
            for i, decoder in enumerate(self._decoders)
        ]
        for stream, (start, end) in zip(cycle(streams), stretches, strict=False):
            left = end - start
            while left:
                batch, seconds = _asked(next(stream))
                self._watch.add(seconds)
                left -= len(batch)
                yield batch


def far_sources(plan: CellPlan) -> OpenSource:
    """Start a cell's decoders; they end with it."""
    import ray

    make = ray.remote(DecodeActor).options(
        num_cpus=plan.settings.decoders, scheduling_strategy="SPREAD"
    )
    decoders = [make.remote(plan) for _ in range(plan.settings.decode_cells)]

    @contextmanager
    def open_source(lease: Lease, open_file: OpenFile, watch: Stopwatch) -> Iterator[Source]:
        del open_file  # the decoders open it
        yield FarSource(decoders, plan.settings.batch, lease, watch)

    return open_source


def _asked(reference: Any) -> Any:
    """Wait for a decoder; one that dies takes its cell with it, so that the lease goes back."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayActorError:
        os._exit(1)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UnreadableShardError):
            raise error.cause from None
        raise
