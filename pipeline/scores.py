"""The score columns of a pool, shard by shard, joined over the passes that wrote them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.schema import BASE_SCHEMA, Reason
from pipeline.tables import embedding, read


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One score table of one shard.

    Attributes:
        url: Where it is.
        columns: The columns it adds to the base ones.
        sha256: Digest of its bytes.
    """

    url: str
    columns: tuple[str, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Scores:
    """What is known of a pool.

    Attributes:
        shards: S shard URLs, sorted.
        sidecars: Of each shard, one table per pass; rows are aligned over them.
    """

    shards: tuple[str, ...]
    sidecars: tuple[tuple[Sidecar, ...], ...]

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self.shards)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the score columns."""
        return tuple(c for sidecar in self.sidecars[0] for c in sidecar.columns)

    def digest(self, columns: Sequence[str]) -> list[str]:
        """Digests of the tables that hold these columns, in shard order: what a stage reads."""
        return [
            sidecar.sha256
            for sidecars in self.sidecars
            for sidecar in sidecars
            if set(columns) & set(sidecar.columns)
        ]

    def plus(self, added: Sequence[Sidecar]) -> "Scores":
        """Return these scores with one more table per shard."""
        joined = zip(self.sidecars, added, strict=True)
        return replace(self, sidecars=tuple((*have, new) for have, new in joined))

    def read(self, shard: int, columns: Sequence[str]) -> pa.Table:
        """Read columns of one shard, all rows; `status` is the first reason that a pass found.

        Raises:
            ValueError: No pass wrote such a column.
        """
        tables: dict[str, pa.ChunkedArray] = {}
        fields: dict[str, pa.Field] = {}
        for sidecar in self.sidecars[shard]:
            wanted = [c for c in columns if c in sidecar.columns or c in BASE_SCHEMA.names]
            table = read(sidecar.url, wanted)
            for field in table.schema:
                fields[field.name] = field
                new = table.column(field.name)
                if field.name == "status" and "status" in tables:
                    is_ok = pc.equal(tables["status"], str(Reason.OK))
                    new = pc.if_else(is_ok, new, tables["status"])
                tables[field.name] = new
        missing = [c for c in columns if c not in tables]
        if missing:
            raise ValueError(
                f"column: got {missing[0]!r}, expected one of {', '.join(self.columns)}; correct "
                "the name, or add the extractor that writes it to the config"
            )
        schema = pa.schema([fields[c] for c in columns])
        return pa.Table.from_arrays([tables[c] for c in columns], schema=schema)

    def good(self, shard: int, columns: Sequence[str]) -> pa.Table:
        """Read columns of one shard's rows that have status `ok`."""
        table = self.read(shard, list(dict.fromkeys([*columns, "status"])))
        return table.filter(pc.equal(table.column("status"), str(Reason.OK))).select(list(columns))

    def numbers(self, column: str) -> Iterator[NDArray[np.float32]]:
        """Yield a numeric column of good rows, an array per shard; null becomes NaN."""
        for shard in range(len(self)):
            values = self.good(shard, [column]).column(column).cast(pa.float32())
            yield values.fill_null(np.nan).to_numpy()

    def embeddings(self, column: str) -> NDArray[np.float16]:
        """Return an embedding of all good rows, shard after shard, float16 [N, D]."""
        parts = [embedding(self.good(s, [column]), column) for s in range(len(self))]
        return np.concatenate(parts)

    def dump(self) -> bytes:
        """Write down where the columns are, as JSON."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def load(cls, data: bytes) -> "Scores":
        """Read what `dump` wrote; opens no table."""
        document = json.loads(data)
        sidecars = tuple(
            tuple(Sidecar(s["url"], tuple(s["columns"]), s["sha256"]) for s in of_shard)
            for of_shard in document["sidecars"]
        )
        return cls(tuple(document["shards"]), sidecars)
