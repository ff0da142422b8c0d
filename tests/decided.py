"""A run's decisions by hand: a table of all rows, laid down as columns beside the scores."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.ensemble.patterns import encode as packed
from filters.extract import Column
from pipeline.folder import Folder
from pipeline.ledger import table_name
from pipeline.schema import BASE_SCHEMA
from pipeline.scores import Scores, Source
from pipeline.tables import encode, score_schema
from pipeline.votes import vote_columns

DECIDED = (
    Column("reason", "string", "", "", "why it is out, or ok"),
    Column("p_keep", "float64", "", "[0, 1]", ""),
    Column("concept", "int32", "", "", ""),
    Column("distance", "float32", "", "", ""),
    Column("twin", "uid", "", "", ""),
)


def with_decisions(scores, folder, decisions, rules):
    """Write what was decided as columns of every shard; rows without p(keep) were not scored.

    Args:
        scores: Of the pool.
        folder: For the tables.
        decisions: All rows in order of `shard`, with any of `BASE_SCHEMA`, `DECIDED`, `vote:*`.
        rules: That voted.
    """
    columns = (*vote_columns(rules), *DECIDED)
    schema, digests = score_schema(columns), []
    for number, shard in enumerate(scores.ids):
        rows = decisions.filter(pc.equal(decisions.column("shard"), number))
        found = {name: rows.column(name).combine_chunks() for name in rows.column_names}
        is_ok = rows.column("p_keep").is_valid().combine_chunks()
        found["status"] = pc.if_else(is_ok, "ok", found["reason"])
        found["reason"] = pc.if_else(is_ok, found["reason"], pa.scalar(None, pa.string()))
        found |= _words(rows, rules, is_ok)
        lacking = [field for field in schema if field.name not in found]
        found |= {field.name: _empty(field, len(rows)) for field in lacking}
        arrays = [found[field.name].cast(field.type) for field in schema]
        data = encode(pa.Table.from_arrays(arrays, schema=schema))
        Folder(str(folder)).write(table_name(shard), data)
        digests.append(np.frombuffer(hashlib.sha256(data).digest(), np.uint8))
    names = tuple(column.name for column in columns)
    return scores.plus(Source(str(folder), names, np.stack(digests)))


def decided(folder, decisions, rules):
    """Return the scores of a pool of which nothing is known but what was decided."""
    shards = sorted(set(decisions.column("shard").to_pylist()))
    scores = Scores(tuple(f"{s:05d}.tar" for s in shards), tuple(map(str, shards)), ())
    return with_decisions(scores, folder, decisions, rules)


def _words(rows, rules, is_ok):
    """Pack the votes; null where there are none."""
    votes = [rows.column(f"vote:{rule.name}").fill_null(-1).to_numpy() for rule in rules]
    votes_NM = np.stack(votes, axis=1) if rules else np.zeros((len(rows), 0))
    word_NW = packed(votes_NM.astype(np.int8)).astype(np.uint64)
    missing = ~is_ok.to_numpy(zero_copy_only=False)
    names = [column.name for column in vote_columns(rules)]
    return {n: pa.array(word_N, mask=missing) for n, word_N in zip(names, word_NW.T, strict=True)}


def _empty(field, rows):
    """Return what a row has that says nothing."""
    if field.name in BASE_SCHEMA.names and not field.nullable:
        value = "" if pa.types.is_string(field.type) else 0
        return pa.array([value] * rows, field.type)
    return pa.nulls(rows, field.type)
