"""The subset in DataComp's format, and beside it why each other row is out."""

import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.decide import Decisions
from pipeline.folder import Folder
from pipeline.pairs import Pairs, uids_from_bytes
from pipeline.prune import Pruned
from pipeline.schema import Reason
from pipeline.tables import encode


def write_subset(folder: Folder, decisions: Decisions) -> str:
    """Write `subset.npy`, `subset.parquet`, `dropped.parquet` and `decisions.parquet`.

    Returns:
        SHA-256 of `subset.npy`, hex.

    Raises:
        ValueError: No pair is kept.
    """
    table = decisions.table.sort_by("uid")
    is_kept = pc.equal(table.column("reason"), str(Reason.OK))
    kept, dropped = table.filter(is_kept), table.filter(pc.invert(is_kept))
    if not len(kept):
        worst = max(decisions.reasons.items(), key=lambda item: item[1], default=("empty pool", 0))
        raise ValueError(
            f"subset: got 0 of {len(table)} pairs, expected at least one; most are out for "
            f"{worst[0]!r} ({worst[1]}), so loosen the rules, ensemble.keep_above or its budget"
        )
    data = subset_bytes(uids_from_bytes(b"".join(kept.column("uid").to_pylist())))
    folder.write("subset.npy", data)
    copies = pa.array(np.ones(len(kept), np.int32))
    chosen = kept.select(["uid", "p_keep", "concept"]).append_column("copies", copies)
    folder.write("subset.parquet", encode(chosen))
    folder.write("dropped.parquet", encode(dropped.select(["uid", "reason"])))
    folder.write("decisions.parquet", encode(decisions.table))
    if decisions.pruned is not None:
        folder.write("concepts.parquet", encode(_concepts(decisions.pruned)))
    return hashlib.sha256(data).hexdigest()


def _concepts(pruned: Pruned) -> pa.Table:
    size_K = np.bincount(pruned.concept_N, minlength=len(pruned.quota_K))
    return pa.table(
        {
            "concept": np.arange(len(size_K), dtype=np.int32),
            "size": size_K,
            "quota": pruned.quota_K,
            "complexity": pruned.complexity_K,
        }
    )


def subset_bytes(uid_N: NDArray[np.void]) -> bytes:
    """Serialise uids as DataComp's `.npy`: dtype `u8,u8`, high word first, sorted, copies kept."""
    order = np.lexsort((uid_N["f1"], uid_N["f0"]))
    sink = io.BytesIO()
    np.lib.format.write_array(sink, np.ascontiguousarray(uid_N[order]), allow_pickle=False)
    return sink.getvalue()


def pairs_of(decisions: pa.Table, shards: tuple[str, ...]) -> Pairs:
    """Return every readable pair of the pool, each uid once, sorted, from the decisions alone."""
    first = pc.not_equal(decisions.column("reason"), str(Reason.REPEATED_UID))
    readable = pc.and_(pc.is_valid(decisions.column("p_keep")), first)
    table = decisions.filter(readable).sort_by("uid")
    return Pairs(
        shards=shards,
        shard_N=table.column("shard").to_numpy().astype(np.int32),
        offset_N=table.column("offset").to_numpy(),
        size_N=table.column("size").to_numpy(),
        uid_N=uids_from_bytes(b"".join(table.column("uid").to_pylist())),
        captions=tuple(table.column("caption").to_pylist()),
    )


def read_subset(folder: Folder) -> NDArray[np.void]:
    """Read `subset.npy`, dtype `u8,u8`; pickles are refused."""
    return np.lib.format.read_array(io.BytesIO(folder.read("subset.npy")), allow_pickle=False)
