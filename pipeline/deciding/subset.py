"""The subset in DataComp's format, and beside it why each other row is out.

Rows are brought into the order of their uids by tasks, range by range; what is written of them is
put together here, a range at a time.
Letters: N rows, P partitions, each a range of uids.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.hashing import uniform
from pipeline.columns.shuffle import Rows, Runs, partitions_for, shuffle
from pipeline.columns.stages import Place
from pipeline.deciding.decisions import REASON, Decisions, decisions_of
from pipeline.executors import some_at_once
from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder
from pipeline.index.parts import uids_from_bytes
from pipeline.schema import UID_BYTES, UID_DTYPE, Reason
from pipeline.scores import Scores
from pipeline.tables import encode, parquet_writer, uid_words

READS = ("uid", REASON, "p_keep", "concept")
ROW_BYTES = 32  # of a row on its way
SAMPLED = 64  # uids looked at for each partition, to find where it ends
ROW_GROUP = 1 << 20  # rows; always full but for the last, so that no byte tells the partitions
REASONS = pa.array(sorted(map(str, Reason)))  # a row carries its place in here
OK = REASONS.index(str(Reason.OK)).as_py()
UID = pa.field("uid", pa.binary(UID_BYTES))
KEPT = pa.schema([UID, ("p_keep", pa.float64()), ("concept", pa.int32()), ("copies", pa.int32())])
DROPPED = pa.schema([UID, (REASON, pa.string())])


def write_subset(folder: Folder, decisions: Decisions, place: Place) -> str:
    """Write `subset.npy`, `subset.parquet`, `dropped.parquet`, and `concepts.parquet` if any are.

    Their bytes depend on what was decided alone, not on shards, their order, workers or partitions.

    Args:
        folder: Where they go.
        decisions: Of every row of the pool.
        place: Where rows are sorted.

    Returns:
        SHA-256 of `subset.npy`, hex.

    Raises:
        ValueError: No pair is kept.
    """
    _require_some(decisions)
    if decisions.concepts is None:
        folder.remove("concepts.parquet")  # of an earlier run with concepts
    else:
        folder.write("concepts.parquet", encode(decisions.concepts))
    scores, rows = decisions.scores, decisions.rows
    name = fingerprint("subset", of=scores.digest(READS), to=folder.url)
    scratch = place.store / "scratch" / f"subset-{name}"
    todo = some_at_once(range(len(scores)))
    partitions = partitions_for(rows, row_bytes=ROW_BYTES)
    work = _Work(scores, _ends(scores, todo, rows, partitions, place))
    runs = shuffle(
        _send, work, todo, partitions=partitions, folder=scratch / "runs", execute=place.execute
    )
    ranges = _Ranges(runs, scratch / "sorted")
    held = np.flatnonzero(runs.rows_P).tolist()
    kept = sum(place.execute.map(_sort, ranges, held, weights={}))
    counted = (int(runs.rows_P.sum()), kept)
    assert counted == (rows, decisions.reasons[Reason.OK]), "every row has exactly one reason"
    digest = _write(folder, (ranges.read(p) for p in held), kept)
    scratch.remove_all()
    return digest


def _require_some(decisions: Decisions) -> None:
    if decisions.reasons.get(Reason.OK):
        return
    worst = max(decisions.reasons.items(), key=lambda item: item[1], default=("empty pool", 0))
    raise ValueError(
        f"subset: got 0 of {decisions.rows} pairs, expected at least one; most are out for "
        f"{worst[0]!r} ({worst[1]}), so loosen the rules, ensemble.keep_above or its budget"
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """What is sent, and the first uid of every partition but the first, S16 [P - 1]."""

    scores: Scores
    start_P: NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class _Ranges:
    """Rows by range of uids, and where each range goes in order: first those kept, then dropped."""

    runs: Runs
    folder: Folder

    def read(self, partition: int) -> tuple[pa.Table, pa.Table]:
        """Return the rows of a partition that were kept, and those dropped."""
        with self.folder.open(_file(partition)) as file, pa.ipc.open_file(file) as reader:
            kept, dropped = (pa.Table.from_batches([reader.get_batch(i)]) for i in (0, 1))
        return kept, dropped


def _ends(
    scores: Scores, todo: Sequence[Sequence[int]], rows: int, partitions: int, place: Place
) -> NDArray[np.bytes_]:
    """Return the first uid of every partition but the first, S16 [P - 1].

    Those of a json may be numbers in order, or short ones padded, so a sample tells where they are.
    """
    if partitions == 1:
        return np.zeros(0, f"S{UID_BYTES}")
    share = min(1.0, SAMPLED * partitions / rows)
    found = place.execute.map(_sample, (scores, share), todo, weights={})
    uid_n = np.sort(np.concatenate(list(found)))
    at_P = np.arange(1, partitions) * len(uid_n) // partitions
    return uid_n[at_P] if len(uid_n) else uid_n


def _sample(
    work: tuple[Scores, float], weights: Mapping[str, Path], shards: Sequence[int]
) -> NDArray[np.bytes_]:
    """Return a share of the uids, S16 [n]: which ones depends on nothing but themselves."""
    del weights
    scores, share = work
    found = [np.zeros(0, f"S{UID_BYTES}")]
    for shard in shards:
        uid_N = _uids(decisions_of(scores, (), shard, ["uid"]))
        found.append(uid_N[uniform(uid_words(uid_N), salt="ends") < share])
    return np.concatenate(found)


def _send(work: _Work, shards: Sequence[int]) -> Iterator[Rows]:
    """Yield the rows of some shards, and the range of each."""
    for shard in shards:
        table = decisions_of(work.scores, (), shard, READS)
        code = pc.index_in(table.column(REASON), value_set=REASONS).cast(pa.int8())
        assert not code.null_count, "every reason is one of `Reason`"
        table = table.set_column(table.column_names.index(REASON), REASON, code)
        yield Rows(table, np.searchsorted(work.start_P, _uids(table), "right").astype(np.int32))


def _sort(ranges: _Ranges, weights: Mapping[str, Path], partition: int) -> int:
    """Write a partition by uid, rows of one uid by reason; returns how many are kept."""
    del weights
    table = ranges.runs.read(partition)
    assert table is not None, "only partitions with rows are sorted"
    word_N2 = np.frombuffer(_uids(table).tobytes(), ">u8").reshape(-1, 2)
    code_N = table.column(REASON).to_numpy()
    is_out_N = code_N != OK
    order_N = np.lexsort((code_N, word_N2[:, 1], word_N2[:, 0], is_out_N))
    kept = len(table) - int(is_out_N.sum())
    table = table.take(order_N).combine_chunks()
    with (
        ranges.folder.open_write(_file(partition)) as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        for part in (table.slice(0, kept), table.slice(kept)):
            (batch,) = part.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
            writer.write_batch(batch)
    return kept


def _write(folder: Folder, ranges: Iterable[tuple[pa.Table, pa.Table]], kept: int) -> str:
    """Put the ranges together; returns the SHA-256 of `subset.npy`, hex."""
    digest = hashlib.sha256()
    with (
        folder.open_write("subset.npy") as npy,
        _row_groups(folder, "subset.parquet", KEPT) as add_kept,
        _row_groups(folder, "dropped.parquet", DROPPED) as add_dropped,
    ):
        data = npy_header(kept)
        for chosen, dropped in ranges:
            data += uids_from_bytes(_uids(chosen).tobytes()).tobytes()
            npy.write(data)
            digest.update(data)
            data = b""
            copies = pa.array(np.ones(len(chosen), np.int32))
            add_kept(chosen.drop_columns(REASON).append_column("copies", copies))
            reasons = REASONS.take(dropped.column(REASON).combine_chunks())
            add_dropped(pa.Table.from_arrays([dropped.column("uid"), reasons], schema=DROPPED))
    return digest.hexdigest()


def npy_header(rows: int) -> bytes:
    """Return how a `.npy` of so many uids begins."""
    sink = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(UID_DTYPE)
    about = {"descr": descr, "fortran_order": False, "shape": (rows,)}
    np.lib.format.write_array_header_1_0(sink, about)
    return sink.getvalue()


@contextmanager
def _row_groups(
    folder: Folder, name: str, schema: pa.Schema
) -> Iterator[Callable[[pa.Table], None]]:
    """Write a Parquet file in full row groups, of tables of whatever length that are added."""
    held, groups = schema.empty_table(), 0
    with folder.open_write(name) as file, parquet_writer(file, schema) as writer:

        def add(table: pa.Table) -> None:
            nonlocal held, groups
            held = pa.concat_tables([held, table.select(schema.names)])
            while len(held) >= ROW_GROUP:
                writer.write_table(held.slice(0, ROW_GROUP).combine_chunks())
                held, groups = held.slice(ROW_GROUP), groups + 1

        yield add
        if len(held) or not groups:
            writer.write_table(held.combine_chunks())


def _uids(table: pa.Table) -> NDArray[np.bytes_]:
    """Return uids as they lie in memory, S16 [N]."""
    column = table.column("uid").combine_chunks()
    if not len(column):
        return np.zeros(0, f"S{UID_BYTES}")
    at = column.offset * UID_BYTES
    data = memoryview(column.buffers()[1])[at : at + len(column) * UID_BYTES]
    return np.frombuffer(data, f"S{UID_BYTES}")


def _file(partition: int) -> str:
    return f"{partition:09}.arrow"
