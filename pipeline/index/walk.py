"""Shards that were never scored, as DataComp's: texts are read, pictures passed over."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.executors import Executor, some_at_once
from pipeline.fingerprint import fingerprint
from pipeline.folder import Folder
from pipeline.index.parts import FIELD, WEIGHT
from pipeline.index.pool import BASE, Walked, Wanted, captions_of, no_rows
from pipeline.samples import Sample, read_shard
from pipeline.schema import Reason
from pipeline.shards import Shard

logger = logging.getLogger(__name__)

VERSION = 1  # raise when the same shards come to give other rows
TALLY = b"tally"  # key in a table's schema: samples by reason, and how many have which value


def walk(shards: Sequence[Shard], wanted: Wanted, *, home: Folder, execute: Executor) -> Walked:
    """Write down the readable pairs of every shard; a shard is opened once, also by later calls.

    Args:
        shards: Of the pool.
        wanted: `caption` is the shard's text; other captions, weights and fields are of the json.
        home: Where tables go.
        execute: Where it is done.

    Raises:
        OSError: A shard cannot be opened or read at all.
        ValueError: No sample has one of the values.
    """
    ordered = sorted(shards, key=lambda shard: shard.url)
    urls, ids = tuple(s.url for s in ordered), tuple(s.id for s in ordered)
    folder = home / "walked" / fingerprint("walk", version=VERSION, wanted=wanted)
    walked = Walked(urls, ids, folder, wanted)
    reasons, has = Counter[str](), Counter[str]()
    todo = some_at_once(range(len(ordered)))
    for tallies in execute.map(_walk_some, walked, todo, weights={}):
        for tally in tallies:
            reasons.update(tally["reasons"])
            has.update(tally["has"])
    _tell(reasons, has, wanted)
    return walked


def _walk_some(
    walked: Walked, weights: Mapping[str, Path], shards: Sequence[int]
) -> list[dict[str, Any]]:
    del weights
    done, tallies = set(walked.folder.names()), []
    for shard in shards:
        name = f"{walked.ids[shard]}.arrow"
        if name not in done:
            _write(walked, shard, name)
        with walked.folder.open(name) as file, pa.ipc.open_file(file) as reader:
            tallies.append(json.loads((reader.schema.metadata or {})[TALLY]))
    return tallies


def _write(walked: Walked, shard: int, name: str) -> None:
    samples, reasons = [], Counter[str]()
    for sample in read_shard(walked.shards[shard], pictures=False):
        reasons[str(sample.status)] += 1
        if sample.status is Reason.OK:
            samples.append(sample)
    has = {c: sum(c in s.meta for s in samples) for c in _of_json(walked.wanted)}
    tally = json.dumps({"reasons": dict(sorted(reasons.items())), "has": has})
    table = _table(samples, walked.wanted).replace_schema_metadata({TALLY: tally})
    with (
        walked.folder.open_write(name) as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)


def _table(samples: Sequence[Sample], wanted: Wanted) -> pa.Table:
    def texts(name: str) -> pa.Array:
        return pa.array([_text(sample.meta.get(name)) for sample in samples], pa.string())

    captions = {name: texts(name) for name in wanted.captions}
    captions["caption"] = pa.array([sample.caption for sample in samples], pa.string())
    schema = no_rows(wanted).drop_columns("shard").schema
    found: dict[str, Any] = {
        "uid": [sample.uid for sample in samples],
        "offset": [sample.offset for sample in samples],
        "size": [sample.size for sample in samples],
        **captions_of(pa.table(captions), wanted.captions),
        **{WEIGHT + n: [_number(s.meta.get(n)) for s in samples] for n in wanted.weights},
        **{FIELD + name: texts(name) for name in wanted.fields},
    }
    return pa.table({field.name: found[field.name] for field in schema}, schema=schema)


def _tell(reasons: Counter[str], has: Counter[str], wanted: Wanted) -> None:
    """Warn of samples that are left out; refuse values that no sample has."""
    good = reasons.pop(str(Reason.OK), 0)
    if reasons:
        told = ", ".join(f"{reason} ({count})" for reason, count in sorted(reasons.items()))
        logger.warning("index: %d samples can be read, others cannot: %s", good, told)
    for name in _of_json(wanted):
        if good and not has[name]:
            raise ValueError(
                f"column: got {name!r}, which is in no sample's json, expected one that is; "
                "correct the name"
            )


def _of_json(wanted: Wanted) -> list[str]:
    captions = [name for name in wanted.captions if name not in BASE]
    return list(dict.fromkeys([*captions, *wanted.weights, *wanted.fields]))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan
