"""A cell reads a shard, decodes each picture once, runs every extractor, writes one table."""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from filters.extract import Batch, Extractor, Score
from pipeline.config import Cells
from pipeline.decode import DecodeError, Picture, decode_picture
from pipeline.folder import Folder
from pipeline.schema import BASE_SCHEMA, Reason
from pipeline.shards import Limits, Sample, read_shard
from pipeline.tables import encode, score_schema, to_array

# Pictures reach the extractors with at least this short side, or in their original size: enough for
# the largest input among them (NanoDet's 320) in one decode.
PICTURE_SIDE = 320

BATCH_PIXELS = 64_000_000  # a batch ends early at this many, whatever its pictures' shapes

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """One shard to score, and the file name of its table."""

    shard: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """What a cell reports of a shard; `reasons` add up to `rows`."""

    lease: Lease
    rows: int
    reasons: dict[str, int]
    sha256: str
    output_bytes: int
    seconds: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellPlan:
    """Everything a cell is built from; small enough to send to an actor."""

    extractors: tuple[Extractor, ...]
    weights: Mapping[str, str]
    output: str
    settings: Cells


@dataclass(frozen=True, slots=True)
class Row:
    """A sample without its picture's bytes, and its columns if it is good."""

    sample: Sample
    values: dict[str, Any] | None = None


@dataclass(slots=True)
class Stopwatch:
    """Busy seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    def time(self, step: str, call: Callable[[], T]) -> T:
        """Run `call` and add its time to `step`."""
        start = time.perf_counter()
        try:
            return call()
        finally:
            spent = time.perf_counter() - start
            self.seconds[step] = self.seconds.get(step, 0.0) + spent


class Cell:
    """Loads the models once, then scores shard after shard."""

    def __init__(self, plan: CellPlan) -> None:
        """Take the plan; nothing is loaded before `load`."""
        settings = plan.settings
        self._plan = plan
        self._limits = Limits(member_bytes=settings.member_bytes, pixels=settings.pixels)
        self._needs_pixels = any(e.pixels for e in plan.extractors)
        self._scores: list[tuple[str, Score]] = []

    def load(self) -> None:
        """Load every extractor; apart from `__init__`, so that what fails is not the actor."""
        paths = {name: Path(path) for name, path in self._plan.weights.items()}
        threads = self._plan.settings.threads
        self._scores = [(e.kind, e.load(paths, threads=threads)) for e in self._plan.extractors]

    def score(self, lease: Lease) -> Scored:
        """Score one shard and publish its table."""
        watch = Stopwatch()
        rows = list(self._rows(read_shard(lease.shard, limits=self._limits), watch))
        schema = score_schema(c for e in self._plan.extractors for c in e.columns)
        data = watch.time("write", lambda: encode(table_of(rows, schema)))
        watch.time("write", lambda: Folder(self._plan.output).write(lease.name, data))
        return Scored(
            lease=lease,
            rows=len(rows),
            reasons=dict(sorted(Counter(str(row.sample.status) for row in rows).items())),
            sha256=hashlib.sha256(data).hexdigest(),
            output_bytes=len(data),
            seconds={step: round(s, 4) for step, s in sorted(watch.seconds.items())},
        )

    def _rows(self, samples: Iterator[Sample], watch: Stopwatch) -> Iterator[Row]:
        """Turn samples into rows, a batch at a time, in order."""
        waiting: list[tuple[Sample, Picture | None]] = []
        good = pixels = 0
        while (sample := watch.time("read", lambda: next(samples, None))) is not None:
            decoded = watch.time("decode", lambda s=sample: self._decode(s))
            waiting.append(decoded)
            good += decoded[0].status is Reason.OK
            pixels += decoded[1].rgb.size // 3 if decoded[1] else 0
            if good == self._plan.settings.batch or pixels >= BATCH_PIXELS:
                yield from self._extract(waiting, watch)
                waiting, good, pixels = [], 0, 0
        yield from self._extract(waiting, watch)

    def _decode(self, sample: Sample) -> tuple[Sample, Picture | None]:
        """Decode the picture; the sample that comes back carries the verdict but no bytes."""
        picture, status = None, sample.status
        if status is Reason.OK and self._needs_pixels and sample.image is not None:
            try:
                picture = decode_picture(
                    sample.image, min_side=PICTURE_SIDE, max_pixels=self._limits.pixels
                )
            except DecodeError as error:
                status = error.reason
                logger.debug("%s: %s", sample.key, error)
        return replace(sample, image=None, meta={}, status=status), picture

    def _extract(
        self, decoded: Sequence[tuple[Sample, Picture | None]], watch: Stopwatch
    ) -> Iterator[Row]:
        good = [(s, p) for s, p in decoded if s.status is Reason.OK]
        empty = Picture(np.zeros((0, 0, 3), np.uint8), 0, 0)
        pictures = [p or empty for _, p in good]
        batch = Batch(
            [p.rgb for p in pictures],
            [(p.width, p.height) for p in pictures],
            [s.caption or "" for s, _ in good],
        )
        columns: list[dict[str, Any] | None] = [{} for _ in good]
        for kind, score in self._scores if good else ():
            scored = watch.time(kind, lambda s=score: score_rows(s, batch))
            columns = [
                None if have is None or new is None else have | new
                for have, new in zip(columns, scored, strict=True)
            ]
        values = iter(columns)
        for sample, _ in decoded:
            if sample.status is not Reason.OK:
                yield Row(sample)
            elif (found := next(values)) is None:
                yield Row(replace(sample, status=Reason.EXTRACT_ERROR))
            else:
                yield Row(sample, found)


def score_rows(score: Score, batch: Batch) -> list[dict[str, Any] | None]:
    """Score a batch; if it raises, score it row by row, and only the culprit becomes None."""
    try:
        columns = score(batch)
        return [{name: values[i] for name, values in columns.items()} for i in range(len(batch))]
    except Exception as error:  # a model may raise anything on hostile input
        if len(batch) == 1:
            logger.warning("extractor raised on a sample: %s: %s", type(error).__name__, error)
            return [None]
        return [score_rows(score, batch.row(i))[0] for i in range(len(batch))]


def table_of(rows: Iterable[Row], schema: pa.Schema) -> pa.Table:
    """Lay rows out as a score table; a row without values has nulls."""
    rows = list(rows)
    valid_N = np.array([row.values is not None for row in rows], bool)
    base = [
        pa.array([_base_value(row.sample, f.name) for row in rows], f.type) for f in BASE_SCHEMA
    ]
    found = [row.values for row in rows if row.values is not None]
    extra = [
        to_array([values[f.name] for values in found], f, valid_N=valid_N)
        for f in list(schema)[len(BASE_SCHEMA) :]
    ]
    return pa.Table.from_arrays([*base, *extra], schema=schema)


def _base_value(sample: Sample, name: str) -> Any:
    value = getattr(sample, name)
    return str(value) if name == "status" else value
