"""Where a cell's decoded batches come from: a shard that it reads, or a decoder elsewhere."""

import posixpath
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, Protocol

from pipeline.cells.decoding import Decoded, Needs, decoded_batches
from pipeline.cells.plan import CellPlan, Stopwatch
from pipeline.leases import Lease
from pipeline.samples import Limits, Sample, SampleReader
from pipeline.transient import DiskFull, is_full

OpenFile = Callable[[], BinaryIO]


class UnreadableShardError(OSError):
    """The shard cannot be fetched or read; the lease goes back."""


class Source(Protocol):
    """An open shard."""

    @property
    def rows(self) -> int:
        """How many samples it has, one that stands for a shard that is no tar included."""
        ...

    def batches(self, first: int, last: int) -> Iterator[list[Decoded]]:
        """Decode the samples `first` to `last` (not included), batch by batch, in order."""
        ...


OpenSource = Callable[[Lease, OpenFile, Stopwatch], AbstractContextManager[Source]]


class OwnSource:
    """A shard that this process reads and decodes."""

    def __init__(self, plan: CellPlan, file: BinaryIO, lease: Lease, watch: Stopwatch) -> None:
        """Walk the tar's headers."""
        settings = plan.settings
        limits = Limits(member_bytes=settings.member_bytes, pixels=settings.pixels)
        self._settings, self._needs = settings, Needs.of(plan.extractors)
        self._lease, self._watch = lease, watch
        with watch.on("read"):
            name = posixpath.basename(lease.shard.url)
            self._reader = blaming_the_shard(lambda: SampleReader(file, name, limits), lease)

    @property
    def rows(self) -> int:
        """How many samples it has."""
        return self._reader.rows

    def batches(self, first: int, last: int) -> Iterator[list[Decoded]]:
        """Decode a range of samples."""
        samples = self._samples(first, last)
        return decoded_batches(samples, self._settings, self._watch, self._needs)

    def _samples(self, first: int, last: int) -> Iterator[Sample]:
        """Read samples; those that kill come back as a verdict, without a picture."""
        without, samples = dict(self._lease.without), self._reader.read(first, last)
        for position in range(first, last):
            sample = blaming_the_shard(lambda: next(samples, None), self._lease)
            if sample is None:
                raise UnreadableShardError(f"{self._lease.shard.url}: changed while it was read")
            if position in without:
                status = without[position]
                yield Sample(sample.uid, sample.key, caption=sample.caption, status=status)
            else:
                yield sample


def own_sources(plan: CellPlan) -> OpenSource:
    """Return what opens shards in this process."""

    @contextmanager
    def open_source(lease: Lease, open_file: OpenFile, watch: Stopwatch) -> Iterator[Source]:
        with blaming_the_shard(open_file, lease) as file:
            yield OwnSource(plan, file, lease, watch)

    return open_source


def blaming_the_shard(call: Callable[[], Any], lease: Lease) -> Any:
    """Make what cannot be read the shard's own failure, but for a full disk."""
    try:
        return call()
    except OSError as error:
        if isinstance(error, DiskFull) or is_full(error):
            raise  # ours to mend, not the shard's fault
        raise UnreadableShardError(f"{lease.shard.url}: {error}") from error
