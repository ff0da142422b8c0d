"""A `subset.npy` of any size: searched where it lies on disk, never loaded.

Letters: U uids of the subset, repeats counted; N uids that are looked up.
"""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.schema import UID_BYTES, UID_DTYPE
from pipeline.staging import is_file
from pipeline.weights import fetched_model

SOME = 1 << 20  # uids that are read at a time
Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Subset:
    """Uids in order, by path or any fsspec URL; on each machine a local copy is searched.

    Attributes:
        url: Of the file.
        digest: SHA-256 of it, hex.
        uids: U.
    """

    url: str
    digest: str
    uids: int

    def find(self, uid_N2: Words) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where each uid begins and ends in the subset, int64 [N] each."""
        word_U2 = _words(self.url)
        return _bound(word_U2, uid_N2, after=False), _bound(word_U2, uid_N2, after=True)

    def count(self, uid_N2: Words) -> NDArray[np.int32]:
        """Return how often each uid is in the subset, int32 [N]."""
        first_N, end_N = self.find(uid_N2)
        return (end_N - first_N).astype(np.int32)

    def between(self, first: bytes, end: bytes) -> Words:
        """Return the distinct uids from `first` up to `end` (`b""` for no bound), uint64 [n, 2]."""
        low = self.find(_word_of(first))[0][0] if first else 0
        high = self.find(_word_of(end))[0][0] if end else self.uids
        word_n2 = np.array(_words(self.url)[int(low) : int(high)])
        is_new = np.ones(len(word_n2), bool)
        is_new[1:] = (word_n2[1:] != word_n2[:-1]).any(axis=1)
        return word_n2[is_new]

    def spread(self, count: int) -> NDArray[np.bytes_]:
        """Return so many uids at even steps, S16."""
        at = np.arange(min(count, self.uids)) * self.uids // max(1, min(count, self.uids))
        data = np.array(_words(self.url)[at]).astype(">u8").tobytes()
        return np.frombuffer(data, f"S{UID_BYTES}")


def open_subset(url: str) -> Subset:
    """Look at a `subset.npy`; it is read once, a part at a time.

    Raises:
        ValueError: There is no such file, it holds something else or nothing, or its uids are not
            in order.
    """
    if not is_file(url):
        raise ValueError(f"subset: got {url}, which is no file; expected a subset.npy")
    digest = hashlib.sha256()
    before: Any = None
    for some in _blocks(url, digest):
        ahead_n2 = some if before is None else np.concatenate([before, some])
        high_n, low_n = ahead_n2.T
        is_back = (high_n[1:] < high_n[:-1]) | (
            (high_n[1:] == high_n[:-1]) & (low_n[1:] < low_n[:-1])
        )
        if is_back.any():
            raise ValueError(
                f"subset: got {url} with uids that are not in order, expected them sorted by "
                "(high, low) word; sort it with `numpy.sort`"
            )
        before = some[-1:]
    if before is None:
        raise ValueError(
            f"subset: got {url} without a uid, expected at least one; loosen the rules that it "
            "was made by"
        )
    return Subset(url, digest.hexdigest(), len(_words(url)))


def _blocks(url: str, digest: Any) -> Iterator[Words]:
    """Yield the uids, and put what makes the file what it is into a digest."""
    word_U2 = _words(url)
    for start in range(0, len(word_U2), SOME):
        some = np.array(word_U2[start : start + SOME])
        digest.update(some.tobytes())
        yield some


@functools.lru_cache(maxsize=16)
def _words(url: str) -> Words:
    """Map a subset's uids as two numbers each, uint64 [U, 2]."""
    path = fetched_model(url)
    try:
        held = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(
            f"subset: got {url}, expected a .npy file that can be read ({error})"
        ) from error
    if held.dtype != UID_DTYPE or held.ndim != 1:
        raise ValueError(
            f"subset: got {url} of {held.dtype} {list(held.shape)}, expected one of dtype 'u8,u8', "
            "the high word first"
        )
    return held.view(np.uint64).reshape(-1, 2)


def _bound(word_U2: Words, uid_N2: Words, *, after: bool) -> NDArray[np.int64]:
    """Return the first place that is not below each uid, or the first above it; int64 [N].

    By halving, all at once: of a file on disk only what is looked at is read.
    """
    low_N = np.zeros(len(uid_N2), np.int64)
    high_N = np.full(len(uid_N2), len(word_U2), np.int64)
    for _ in range(len(word_U2).bit_length()):
        middle_N = np.minimum((low_N + high_N) // 2, len(word_U2) - 1)
        found_N2 = word_U2[middle_N]
        is_equal_N = found_N2[:, 0] == uid_N2[:, 0]
        by_low_N = found_N2[:, 1] <= uid_N2[:, 1] if after else found_N2[:, 1] < uid_N2[:, 1]
        is_below_N = (found_N2[:, 0] < uid_N2[:, 0]) | (is_equal_N & by_low_N)
        is_open_N = low_N < high_N
        low_N = np.where(is_open_N & is_below_N, middle_N + 1, low_N)
        high_N = np.where(is_open_N & ~is_below_N, middle_N, high_N)
    return low_N


def _word_of(uid: bytes) -> Words:
    return np.frombuffer(uid.ljust(UID_BYTES, b"\0"), ">u8").astype(np.uint64).reshape(1, 2)
