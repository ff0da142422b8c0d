"""Our extractors inside somebody's Ray Data pipeline: a callable class for `map_batches`."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.extract import Batch, Column, Extractor
from filters.extract.image import content_hash
from pipeline.cells import BATCH_PIXELS, PICTURE_SIDE, Stopwatch, load_all, values_of
from pipeline.decode import DecodeError, Picture, decode_picture
from pipeline.samples import IMAGE_EXTENSIONS, Limits
from pipeline.schema import Reason
from pipeline.tables import array_of, field_of
from pipeline.weights import model_file

Columns = dict[str, NDArray[Any]]  # what Ray Data hands over with batch_format="numpy"

EMPTY = Picture(np.zeros((0, 0, 3), np.uint8), 0, 0)  # where no extractor looks at pixels

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Row:
    """A pair on its way; `values` stays None where `status` is not `OK`."""

    status: Reason
    caption: str = ""
    picture: Picture | None = None
    content: int | None = None
    values: dict[str, Any] | None = None


class ScoreBatch:
    """Adds the extractors' columns and a `status` to batches of encoded pictures and captions.

    It decodes and scores as a cell does and loads its models once per actor. No row is dropped: one
    that cannot be scored has a reason code as its status (`pipeline.schema.Reason`) and nothing in
    the new columns. What they are follows Ray Data's `batch_format`: a `pyarrow` batch gets the
    columns of a score table, types and nulls included; a `numpy` batch gets arrays, embeddings
    float16 [B, D], where nothing is NaN or None (a block of bad rows alone then has columns without
    a type, and Parquet files that disagree: write from `pyarrow`).

    Read with `decoder=None`: with a decoder Ray Data loses a whole shard to one broken picture, or
    the job. Columns that are not needed any more, such as the pictures, are yours to drop.

        import ray
        from filters.extract import Embeddings, ImageStatistics
        from pipeline.ray_data import ScoreBatch

        scored = ray.data.read_webdataset("pool/", decoder=None).map_batches(
            ScoreBatch,
            fn_constructor_kwargs={"extractors": [ImageStatistics(), Embeddings()]},
            batch_size=32,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=2),
            num_cpus=0.4,
        )
        scored.drop_columns(["jpg"]).write_parquet("scores/")
    """

    def __init__(
        self,
        extractors: Extractor | Sequence[Extractor],
        *,
        weights: Mapping[str, str | Path] | None = None,
        image: str | Sequence[str] = IMAGE_EXTENSIONS,
        caption: str = "txt",
        status: str = "status",
        threads: int = 1,
        limits: Limits | None = None,
    ) -> None:
        """Load every extractor.

        Args:
            extractors: One or several dataclasses of `filters.extract`.
            weights: Path of a model file by its name; a name that is missing here is looked up, and
                converted if need be, on the actor's machine (`pipeline.weights.model_file`).
            image: Column of encoded pictures (bytes); of several, each row's first that is filled.
            caption: Column of captions, text or UTF-8 bytes.
            status: Column to write the reason codes to.
            threads: Intra-op threads of a model.
            limits: Bounds on untrusted input; the defaults of a cell.

        Raises:
            ValueError: No extractor, or two that write the same column.
        """
        chosen = list(extractors) if isinstance(extractors, Sequence) else [extractors]
        self._images = (image,) if isinstance(image, str) else tuple(image)
        self._caption, self._status = caption, status
        self._reads = (*self._images, caption)
        self._limits = limits or Limits()
        self._needs_pixels = any(e.pixels for e in chosen)
        self._columns = [column for e in chosen for column in e.columns]
        _require_distinct([status, *(column.name for column in self._columns)])
        given = {name: Path(path) for name, path in (weights or {}).items()}
        paths = {n: given.get(n) or model_file(n) for e in chosen for n in e.weights}
        self._loaded = load_all(chosen, paths, threads=threads)

    @overload
    def __call__(self, batch: Columns) -> Columns: ...
    @overload
    def __call__(self, batch: pa.Table) -> pa.Table: ...

    def __call__(self, batch: Columns | pa.Table) -> Columns | pa.Table:
        """Return the batch with the new columns beside its own, as arrays or as a table.

        Raises:
            ValueError: The batch lacks the picture or the caption column, or has one of the new.
        """
        if isinstance(batch, pa.Table):
            self._check(batch.column_names)
            return self._beside_table(batch)
        self._check(list(batch))
        rows = self._rows({name: batch[name] for name in self._reads if name in batch})
        added = {c.name: column_of([row.values for row in rows], c) for c in self._columns}
        return {**batch, self._status: np.array([str(r.status) for r in rows], object), **added}

    def _beside_table(self, table: pa.Table) -> pa.Table:
        reads = [name for name in self._reads if name in table.column_names]
        rows = self._rows({name: table.column(name).to_pylist() for name in reads})
        table = table.append_column(self._status, pa.array([str(r.status) for r in rows]))
        for field in (field_of(column) for column in self._columns):
            array = array_of([(row.values or {}).get(field.name) for row in rows], field)
            table = table.append_column(field, array)
        return table

    def _check(self, names: Sequence[str]) -> None:
        if self._caption not in names or not set(self._images) & set(names):
            raise ValueError(
                f"batch: got columns {', '.join(names)}, expected {self._caption!r} and one of "
                f"{', '.join(self._images)}; name them with image= and caption="
            )
        new = {self._status, *(column.name for column in self._columns)}
        if taken := sorted(new & set(names)):
            raise ValueError(
                f"batch: got a column {taken[0]!r}, which would be overwritten, expected none of "
                "that name; rename it before, or choose another name with status="
            )

    def _rows(self, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> list[Row]:
        """Decode and score, in parts that end early where pictures are huge, as a cell does."""
        pictures = zip(*(columns[name] for name in self._images if name in columns), strict=True)
        rows: list[Row] = []
        begin = pixels = 0
        for of_row, caption in zip(pictures, columns[self._caption], strict=True):
            image = next((value for value in of_row if isinstance(value, bytes)), None)
            rows.append(self._open(image, caption))
            pixels += rows[-1].picture.rgb.size // 3 if rows[-1].picture else 0
            if pixels >= BATCH_PIXELS:
                self._score(rows[begin:])
                begin, pixels = len(rows), 0
        self._score(rows[begin:])
        return rows

    def _open(self, image: bytes | None, caption: Any) -> Row:
        """Find what is wrong with a pair, in the order of the reader; decode its picture."""
        longest = max(len(v) for v in (image, caption, b"") if isinstance(v, (bytes, str)))
        if longest > self._limits.member_bytes:
            return Row(Reason.TOO_LARGE)
        if image is None:
            return Row(Reason.MISSING_IMAGE)
        row = caption_row(caption)
        if row.status is Reason.OK and self._needs_pixels:
            try:
                row.picture = decode_picture(
                    image, min_side=PICTURE_SIDE, max_pixels=self._limits.pixels
                )
                row.content = content_hash(image)
            except DecodeError as error:
                row.status = error.reason
                logger.debug("%s", error)
        return row

    def _score(self, rows: Sequence[Row]) -> None:
        """Fill in the values of the good rows, and let go of their pictures."""
        good = [row for row in rows if row.status is Reason.OK]
        pictures = [row.picture or EMPTY for row in good]
        batch = Batch(
            [p.rgb for p in pictures],
            [(p.width, p.height) for p in pictures],
            [row.caption for row in good],
            contents=[row.content for row in good],
        )
        for row, values in zip(good, values_of(self._loaded, batch, Stopwatch()), strict=True):
            row.picture, row.values = None, values
            row.status = Reason.OK if values is not None else Reason.EXTRACT_ERROR


def caption_row(caption: Any) -> Row:
    """Read a caption as the reader of shards does; anything but text or bytes is none."""
    if not isinstance(caption, (str, bytes)):  # None, or the NaN of pandas
        return Row(Reason.MISSING_CAPTION)
    try:
        text = (caption.decode() if isinstance(caption, bytes) else caption).strip()
    except UnicodeDecodeError:
        return Row(Reason.BAD_UTF8)
    return Row(Reason.OK if text else Reason.EMPTY_CAPTION, text)


def column_of(rows: Sequence[Mapping[str, Any] | None], column: Column) -> NDArray[Any]:
    """Lay one column out for Ray Data; a row that is None becomes NaN or None.

    Returns:
        float16 [B, dim] for an embedding, float32 [B] for a float, int32 or uint64 [B] for a number
        that no row lacks; else B objects, among them lists.
    """
    values = [(row or {}).get(column.name) for row in rows]
    if column.dtype == "embedding":
        vectors_BD = np.full((len(values), column.dim), np.nan, np.float16)
        for i, value in enumerate(values):
            if value is not None:
                vectors_BD[i] = value
        return vectors_BD
    if column.dtype == "float32":
        return np.array([np.nan if v is None else v for v in values], np.float32)
    if column.dtype in {"int32", "uint64"} and None not in values:
        return np.array(values, column.dtype)
    objects = np.empty(len(values), object)
    objects[:] = values
    return objects


def _require_distinct(names: Sequence[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if len(names) == 1 or repeated:
        raise ValueError(
            f"extractors: got {f'{repeated[0]!r} twice' if repeated else 'none'}, expected at "
            "least one and each column once; take one out, or rename status="
        )
