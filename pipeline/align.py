"""Alignment: one more score column, from a space fitted on the pool's own embeddings."""

import hashlib
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.extract import Column
from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder
from pipeline.ledger import Ledger, Record, shard_identities
from pipeline.schema import BASE_SCHEMA, Reason
from pipeline.score import sidecars_of
from pipeline.scores import Scores
from pipeline.tables import encode, score_schema, to_array

ALIGNMENT = Column("alignment", "float32", "", "[-1, 1]", "cosine of picture and caption")
READS = ("image_embedding", "text_embedding")


class Aligner(Protocol):
    """Frozen settings and one verb; the front door hands it in (training/alignment.py)."""

    @property
    def version(self) -> int:
        """Raised when the meaning of the scores changes."""
        ...

    def fit(
        self, image_ND: NDArray[np.float16], text_ND: NDArray[np.float16], *, seed: int
    ) -> NDArray[np.float32]:
        """Return the cosine of each pair under a model not trained on it, float32 [N]."""
        ...


def align(scores: Scores, aligner: Aligner, *, run: Folder, seed: int) -> Scores:
    """Add the column `alignment`, unless an extractor (CLIP) has written it.

    Pairs are handed over sorted by uid, so that the fit does not depend on how they are sharded.
    """
    if ALIGNMENT.name in scores.columns:
        return scores
    inputs = scores.digest(READS)
    name = fingerprint("align", settings=aligner, version=aligner.version, seed=seed, of=inputs)
    ledger, identities = Ledger(run), shard_identities(scores.shards)
    stage, writers = f"align-{name}", {name: [ALIGNMENT.name]}
    ids = [identities[shard].id for shard in scores.shards]
    if not all(sidecars_of(ledger.of(i), writers, run) for i in ids):
        start = time.perf_counter()
        parts = _fit(scores, aligner, seed)
        seconds = {"align": round((time.perf_counter() - start) / len(parts), 4)}
        for shard, values in enumerate(parts):
            ledger.add(_publish(scores, shard, values, run, stage, ids[shard], name, seconds))
    return scores.plus([sidecars_of(ledger.of(i), writers, run)[0] for i in ids])


def _fit(scores: Scores, aligner: Aligner, seed: int) -> list[NDArray[np.float32]]:
    """Return the good rows' scores, an array per shard."""
    uids = [scores.good(s, ["uid"]).column("uid").to_pylist() for s in range(len(scores))]
    order_N = np.argsort(np.array([u for part in uids for u in part], "S16"), kind="stable")
    image_ND, text_ND = (scores.embeddings(column)[order_N] for column in READS)
    value_N = np.empty(len(order_N), np.float32)
    value_N[order_N] = aligner.fit(image_ND, text_ND, seed=seed)
    return np.split(value_N, np.cumsum([len(part) for part in uids])[:-1])


def _publish(
    scores: Scores,
    shard: int,
    values: Sequence[float],
    run: Folder,
    stage: str,
    shard_id: str,
    writer: str,
    seconds: dict[str, float],
) -> Record:
    base = scores.read(shard, BASE_SCHEMA.names)
    status = base.column("status").to_pylist()
    valid_N = np.array([s == Reason.OK for s in status], bool)
    schema = score_schema([ALIGNMENT])
    column = to_array(values, schema.field(ALIGNMENT.name), valid_N=valid_N)
    data = encode(pa.Table.from_arrays([*base.columns, column], schema=schema))
    (run / "scores" / stage).write(f"{shard_id}.parquet", data)
    return Record(
        shard=shard_id,
        stage=stage,
        name=f"{shard_id}.parquet",
        writes={writer: [ALIGNMENT.name]},
        rows=len(status),
        reasons={r: status.count(r) for r in sorted(set(status))},
        sha256=hashlib.sha256(data).hexdigest(),
        output_bytes=len(data),
        input_bytes=0,
        seconds=seconds,
    )
