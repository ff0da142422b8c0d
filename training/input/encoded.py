"""The encoded bytes of pictures, by byte range: out of open files, a spool, or a store.

Where they come from decides when they are there, never what they are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import islice
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from pipeline.fetch import told, version_of
from pipeline.pairs import Pairs
from pipeline.transient import Patience, ShortBody, connect, persist
from training.input.open_file import OpenFile
from training.input.spool import Spool

OPEN_FILES = 128  # shards that stay open; processes may have 1,024 files by default
Read = Callable[[], bytes]


class OtherShard(OSError):  # noqa: N818 (what it is, as FileNotFoundError's siblings have it)
    """A shard is shorter than it was when its pairs were listed."""


class Encoded:
    """Reads the pictures of pairs; threads may share it.

    Args:
        pairs: Whose pictures they are.
        reads: Requests in flight to stores.
        spool: Keeps what stores sent.
        patience: How long faults that pass are waited out.
    """

    def __init__(
        self,
        pairs: Pairs,
        *,
        reads: int = 1,
        spool: Spool | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.pairs = pairs
        self.spool = spool
        self.patience = patience or Patience()
        self.reads = reads
        remote = any(is_remote(url) for url in pairs.shards)
        self._pool = ThreadPoolExecutor(reads, thread_name_prefix="read") if remote else None
        self._file = lru_cache(OPEN_FILES)(OpenFile)
        self._place = lru_cache(2**14)(connect)
        self._version = lru_cache(2**20)(partial(_version, patience=self.patience))

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def read(self, row: int) -> bytes:
        """Return the encoded picture of a row.

        Raises:
            OSError: Its shard is gone, is another one, or cannot be read; one line that names it.
        """
        url = self.pairs.shards[int(self.pairs.shard_N[row])]
        offset, size = int(self.pairs.offset_N[row]), int(self.pairs.size_N[row])
        try:
            fs, path = self._place(url)
            if isinstance(fs, LocalFileSystem):
                return persist(lambda: self._from_disk(path, offset, size), self.patience)
            return self._from_store(url, fs, path, offset, size)
        except OtherShard as error:
            raise OtherShard(
                f"shard {url}: got {error}, expected all of them; put the shard back that the "
                "pairs were listed from, then start the run again"
            ) from error
        except Exception as error:  # clients of stores raise errors of their own
            raise told(url, error) from error

    def ahead(self, rows: Iterable[int], *, known: Callable[[int], bool]) -> Iterator[Read]:
        """Yield what reads each row; bytes of stores are on their way by then.

        Args:
            rows: In the order in which they will be wanted.
            known: Tells of a row whether it will probably not be read at all.
        """
        if self._pool is None:
            yield from (partial(self.read, row) for row in rows)
            return
        pool, coming = self._pool, iter(rows)

        def begin(row: int) -> Read:
            return partial(self.read, row) if known(row) else pool.submit(self.read, row).result

        waiting = deque(begin(row) for row in islice(coming, 2 * self.reads))
        while waiting:
            yield waiting.popleft()
            waiting.extend(begin(row) for row in islice(coming, 1))

    def _from_disk(self, path: str, offset: int, size: int) -> bytes:
        try:
            data = self._file(path).read(size, offset)
        except OSError:
            self._file.cache_clear()  # an open file of a network disk may have become stale
            raise
        if len(data) < size:
            raise OtherShard(f"{len(data)} of {size} bytes from byte {offset} on")
        return data

    def _from_store(self, url: str, fs: Any, path: str, offset: int, size: int) -> bytes:
        if self.spool is None:
            return self._ask(fs, path, offset, size)
        mirror = self.spool.mirror(url, self._version(fs, path))
        found = mirror.find(offset, size)
        if found is not None:
            return found
        data = self._ask(fs, path, offset, size)
        mirror.keep(offset, data)
        return data

    def _ask(self, fs: Any, path: str, offset: int, size: int) -> bytes:
        def ask() -> bytes:
            data = fs.cat_file(path, start=offset, end=offset + size)
            if len(data) != size:
                raise ShortBody(f"{len(data)} of {size} bytes from byte {offset} on")
            return data

        return persist(ask, self.patience)


def is_remote(url: str) -> bool:
    """Tell whether a URL is of a store and not of a disk, by its looks."""
    return "://" in url and not url.startswith(("file://", "local://"))


def _version(fs: Any, path: str, *, patience: Patience) -> str:
    info = persist(lambda: fs.info(path), patience)
    return f"{info.get('size')} {version_of(info)}"
