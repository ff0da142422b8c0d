"""Pairs that can be read by byte range: what a loader or an evaluation needs to know of a pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.samples import read_shard
from pipeline.schema import UID_DTYPE, Reason
from pipeline.shards import read_range


@dataclass(frozen=True, slots=True)
class Pairs:
    """N pairs of a pool, by position.

    Attributes:
        shards: URLs.
        shard_N: int32, index into `shards`.
        offset_N: int64, byte offset of the picture in its shard.
        size_N: int64, bytes of the picture.
        uid_N: Records of `UID_DTYPE`.
        captions: N captions.
        fields: Further values of the json, N strings each (missing: `""`).
    """

    shards: tuple[str, ...]
    shard_N: NDArray[np.int32]
    offset_N: NDArray[np.int64]
    size_N: NDArray[np.int64]
    uid_N: NDArray[np.void]
    captions: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return N."""
        return len(self.captions)

    def take(self, index: ArrayLike) -> "Pairs":
        """Return the pairs at these positions, in this order; positions may repeat."""
        at = np.asarray(index)
        return Pairs(
            shards=self.shards,
            shard_N=self.shard_N[at],
            offset_N=self.offset_N[at],
            size_N=self.size_N[at],
            uid_N=self.uid_N[at],
            captions=tuple(self.captions[i] for i in at),
            fields={name: tuple(v[i] for i in at) for name, v in self.fields.items()},
        )

    def image_bytes(self, i: int) -> bytes:
        """Read the encoded picture of pair `i` from its shard."""
        return read_range(self.shards[self.shard_N[i]], int(self.offset_N[i]), int(self.size_N[i]))


def pairs_from_shards(urls: Sequence[str], *, fields: Sequence[str] = ()) -> Pairs:
    """Read whole shards and keep what can be used: samples with status `ok`, sorted by uid.

    Args:
        urls: Shards.
        fields: Names of json values to carry along as strings.
    """
    rows = [
        (sample.uid, number, sample.offset, sample.size, sample.caption or "", sample.meta)
        for number, url in enumerate(urls)
        for sample in read_shard(url)
        if sample.status is Reason.OK
    ]
    rows.sort(key=lambda row: row[0])
    return Pairs(
        shards=tuple(urls),
        shard_N=np.array([r[1] for r in rows], np.int32),
        offset_N=np.array([r[2] for r in rows], np.int64),
        size_N=np.array([r[3] for r in rows], np.int64),
        uid_N=uids_from_bytes(b"".join(r[0] for r in rows)),
        captions=tuple(r[4] for r in rows),
        fields={name: tuple(str(r[5].get(name, "")) for r in rows) for name in fields},
    )


def uids_from_bytes(data: bytes) -> NDArray[np.void]:
    """View N x 16 big-endian bytes as N records of `UID_DTYPE` (high word first)."""
    words = np.frombuffer(data, ">u8").astype("<u8")
    return words.view(UID_DTYPE)


def select(pairs: Pairs, subset: NDArray[np.void]) -> Pairs:
    """Return the pairs of a `subset.npy`, in its order; a repeated uid gives repeated pairs.

    Raises:
        ValueError: The subset names a uid that no shard of the pool holds.
    """
    position = {uid: i for i, uid in enumerate(pairs.uid_N.tolist())}
    wanted = subset.tolist()
    missing = [uid for uid in wanted if uid not in position]
    if missing:
        high, low = missing[0]
        raise ValueError(
            f"subset: got uid {high:016x}{low:016x} and {len(missing) - 1} more that no shard "
            "holds, expected uids of this pool; train with the shards the subset was made from"
        )
    return pairs.take(np.array([position[uid] for uid in wanted], np.int64))
