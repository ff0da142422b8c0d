"""Pairs that can be read by byte range: what a loader or an evaluation needs to know of a pool.

Where they lie in a training index (`pipeline/index`), nothing of them is in memory but what is
asked for, and what is sent to another process is a path.
Letters: N pairs, n of them, K captions of a pair, S subsets that are mixed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from pipeline.folder import Folder
from pipeline.index.digest import digest_of
from pipeline.index.parts import (
    CAPTION,
    COPIES,
    FIELD,
    WEIGHT,
    Parts,
    Strings,
    Values,
    in_memory,
    named,
    uid_array,
)
from pipeline.samples import read_shard
from pipeline.schema import Reason
from pipeline.shards import read_range


@dataclass(frozen=True)
class Pairs:
    """N pairs of a pool, by position.

    Attributes:
        shards: URLs.
        parts: Their rows: `uid, shard, offset, size`, one or more `caption:<name>`, any
            `field:<name>`, `weight:<name>`, and `copies:<number of a subset>`.
        home: Local folder of their index, where what is derived from them may lie too; `""` if
            they are in memory.
        known_digest: Their `digest`, if somebody knows it.
        url: Where their index lies, for processes on other machines; `""` if they are in memory.
        uid_N: Records of `UID_DTYPE`.
        shard_N: Index into `shards`, int32.
        offset_N: Byte offset of the picture in its shard, int64.
        size_N: Bytes of the picture, int64.
    """

    shards: Sequence[str]
    parts: Parts
    home: str = ""
    known_digest: str = ""
    url: str = ""
    uid_N: Values = field(init=False, repr=False, compare=False)
    shard_N: Values = field(init=False, repr=False, compare=False)
    offset_N: Values = field(init=False, repr=False, compare=False)
    size_N: Values = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("uid", "shard", "offset", "size"):
            object.__setattr__(self, f"{name}_N", Values(self.parts, name))

    @classmethod
    def of(
        cls,
        shards: Sequence[str],
        *,
        shard_N: ArrayLike,
        offset_N: ArrayLike,
        size_N: ArrayLike,
        uids: Sequence[bytes],
        captions: Mapping[str, Sequence[str]],
        fields: Mapping[str, Sequence[str]] | None = None,
        weights: Mapping[str, ArrayLike] | None = None,
        copies: Sequence[ArrayLike] = (),
    ) -> "Pairs":
        """Hold few pairs in memory."""
        columns: dict[str, Any] = {
            "uid": uid_array(uids),
            "shard": np.asarray(shard_N, np.int32),
            "offset": np.asarray(offset_N, np.int64),
            "size": np.asarray(size_N, np.int64),
        }
        columns |= {CAPTION + name: pa.array(v, pa.string()) for name, v in captions.items()}
        for name, values in (fields or {}).items():
            columns[FIELD + name] = pa.array(values, pa.string())
        for name, weight_N in (weights or {}).items():
            columns[WEIGHT + name] = np.asarray(weight_N, np.float32)
        for number, copies_N in enumerate(copies):
            columns[f"{COPIES}{number}"] = np.asarray(copies_N, np.int32)
        return cls(tuple(shards), in_memory(pa.table(columns)))

    def __len__(self) -> int:
        """Return N."""
        return len(self.parts)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send where they lie, or what they are made of; nothing that is open."""
        if self.url:
            return _opened, (self.url,)
        return Pairs, (self.shards, self.parts, self.home, self.known_digest)

    @cached_property
    def captions(self) -> Strings:
        """The first caption of every pair."""
        return next(iter(self.all_captions.values()))

    @cached_property
    def all_captions(self) -> Mapping[str, Strings]:
        """K captions of every pair, by column; one that a pair lacks is its first one again."""
        return named(self.parts, CAPTION, Strings)

    @cached_property
    def fields(self) -> Mapping[str, Strings]:
        """Further values of the json as texts, by name (missing: `""`)."""
        return named(self.parts, FIELD, Strings)

    @cached_property
    def weights(self) -> Mapping[str, Values]:
        """Numbers of at least 0, float32, by column of the score tables."""
        return named(self.parts, WEIGHT, Values)

    @cached_property
    def copies(self) -> tuple[Values, ...]:
        """How often each pair is in each of S subsets, int32; none where there was no subset."""
        return tuple(named(self.parts, COPIES, Values).values())

    @cached_property
    def digest(self) -> str:
        """What training sees of them: uids, captions, weights and copies; hex.

        The same wherever they lie, however the pool is cut into shards and the index into files.
        """
        return self.known_digest or digest_of(self.parts)

    def take(self, index: ArrayLike) -> "Pairs":
        """Return the pairs at these positions in memory, in this order; positions may repeat."""
        return Pairs(self.shards, in_memory(self.parts.take(index)))

    def image_bytes(self, i: int) -> bytes:
        """Read the encoded picture of pair `i` from its shard."""
        return read_range(self.shards[self.shard_N[i]], int(self.offset_N[i]), int(self.size_N[i]))


def _opened(url: str) -> Pairs:
    from pipeline.index.opened import open_index

    return open_index(Folder(url))


def pairs_from_shards(urls: Sequence[str], *, fields: Sequence[str] = ()) -> Pairs:
    """Read few whole shards and keep what can be used: samples with status `ok`, sorted by uid.

    Args:
        urls: Shards.
        fields: Names of json values to carry along as strings.
    """
    rows = [
        (sample.uid, number, sample.offset, sample.size, sample.caption or "", sample.meta)
        for number, url in enumerate(urls)
        for sample in read_shard(url, pictures=False)
        if sample.status is Reason.OK
    ]
    rows.sort(key=lambda row: row[0])
    return Pairs.of(
        urls,
        shard_N=[r[1] for r in rows],
        offset_N=[r[2] for r in rows],
        size_N=[r[3] for r in rows],
        uids=[r[0] for r in rows],
        captions={"caption": [r[4] for r in rows]},
        fields={name: [str(r[5].get(name, "")) for r in rows] for name in fields},
    )


def not_held(uid: str, count: int) -> ValueError:
    """Return what is wrong with a subset that is of another pool.

    Args:
        uid: One that no shard holds, hex.
        count: How many there are.
    """
    return ValueError(
        f"subset: got uid {uid} and {count - 1} more that no shard "
        "holds, expected uids of this pool; train with the shards the subset was made from"
    )
