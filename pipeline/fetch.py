"""Shards from object stores: copied whole into an unlinked file, block by block, checked.

A fault of the network or the store costs time, never rows: what is handed out is the whole object
as the store says it is, or an error on one line.
"""

import os
import tempfile
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from fsspec.implementations.local import LocalFileSystem

from pipeline.transient import (
    DiskFull,
    GivenUp,
    Patience,
    ShortBody,
    connect,
    is_full,
    persist,
    reason,
)

# What stores call the version of an object, the surest first.
VERSIONS = ("ETag", "etag", "generation", "LastModified", "Last-Modified", "mtime", "created")


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """How a shard is copied.

    Attributes:
        block_bytes: Size of one range request.
        in_flight: Requests at a time; memory is about `block_bytes * in_flight`.
        patience: How long faults of one request are waited out.
    """

    block_bytes: int = 8 * 2**20
    in_flight: int = 4
    patience: Patience = field(default_factory=Patience)


def open_shard(url: str, *, spool: str | None = None, transfer: Transfer | None = None) -> BinaryIO:
    """Open a shard for reading, at position 0; the caller closes it.

    A local file is opened as it is. Anything else is copied into a file without a name, which is
    gone when it is closed; nothing is extracted.

    Args:
        url: Local path or any fsspec URL.
        spool: Local folder for the copy; the system's folder for temporary files by default.
        transfer: Block size, requests in flight, patience.

    Raises:
        DiskFull: The spool has no room for the shard.
        FileNotFoundError: There is no such object.
        PermissionError: It may not be read.
        OSError: It cannot be read whole, or was replaced meanwhile.
        ValueError: The spool is no folder that can be written to.
    """
    fs, path = connect(url)
    return _Fetch(url, fs, path, spool, transfer or Transfer()).open()


class _Replaced(OSError):  # noqa: N818
    """The object is another one than at the start."""


class _NoSpool(ValueError):  # noqa: N818
    """The spool cannot be written to."""


@dataclass(frozen=True, slots=True)
class _Fetch:
    """One shard on its way."""

    url: str
    fs: Any
    path: str
    spool: str | None
    transfer: Transfer

    def open(self) -> BinaryIO:
        try:
            if isinstance(self.fs, LocalFileSystem):
                return Path(self.path).open("rb")
            return self._copy()
        except (DiskFull, _Replaced, _NoSpool):
            raise
        except Exception as error:
            raise told(self.url, error) from error

    def _copy(self) -> BinaryIO:
        before = self._ask()
        file = self._spool_file()
        try:
            try:
                self._copy_blocks(file, before[0])
            except OSError as error:
                if not _says_all(error):
                    self._check_same(before)
                raise
            self._check_same(before)
        except BaseException:
            file.close()
            raise
        return file

    def _ask(self) -> tuple[int, str]:
        """Return size in bytes and version ("" if the store gives none)."""

        def ask() -> dict[str, Any]:
            self.fs.invalidate_cache(self.path)
            return self.fs.info(self.path)

        info = persist(ask, self.transfer.patience)
        if info.get("size") is None or info.get("type") == "directory":
            raise OSError("no size of it from the store")
        return int(info["size"]), version_of(info)

    def _check_same(self, before: tuple[int, str]) -> None:
        after = self._ask()
        if after != before:
            raise _Replaced(
                f"shard {self.url}: got {after[0]} bytes, version {after[1]}, at the end, expected "
                f"the {before[0]} bytes, version {before[1]}, of the start; it was replaced while "
                "it was read: start the run again when nobody writes to it"
            )

    def _spool_file(self) -> BinaryIO:
        try:
            return cast("BinaryIO", tempfile.TemporaryFile(dir=self.spool))
        except OSError as error:
            if is_full(error):
                raise self._full(error) from error
            raise _NoSpool(
                f"spool: got {self.spool or tempfile.gettempdir()}, expected a local folder that "
                f"can be written to; name another or set TMPDIR ({reason(error)})"
            ) from error

    def _copy_blocks(self, file: BinaryIO, size: int) -> None:
        step = self.transfer.block_bytes
        with ThreadPoolExecutor(self.transfer.in_flight, thread_name_prefix="fetch") as pool:
            blocks = [
                pool.submit(self._copy_block, file, start, min(start + step, size))
                for start in range(0, size, step)
            ]
            done, _ = wait(blocks, return_when=FIRST_EXCEPTION)
            pool.shutdown(cancel_futures=True)
        for block in done:
            block.result()

    def _copy_block(self, file: BinaryIO, start: int, end: int) -> None:
        def read() -> bytes:
            data = self.fs.cat_file(self.path, start=start, end=end)
            if len(data) < end - start:
                raise ShortBody(f"{len(data)} of the {end - start} bytes from byte {start} on")
            if len(data) > end - start:
                raise OSError(
                    f"{len(data)} bytes where {end - start} were asked for, from a store that "
                    "does not answer range requests"
                )
            return data

        data = memoryview(persist(read, self.transfer.patience))
        try:
            while data:
                written = os.pwrite(file.fileno(), data, start)
                data, start = data[written:], start + written
        except OSError as error:
            raise (self._full(error) if is_full(error) else error) from error

    def _full(self, error: OSError) -> DiskFull:
        return DiskFull(
            f"spool: got a full disk at {self.spool or tempfile.gettempdir()} ({reason(error)}), "
            f"expected room for {self.url}; free some space or set TMPDIR to a larger disk, then "
            "start the run again: it goes on where it was"
        )


def _says_all(error: OSError) -> bool:
    """Tell whether an error cannot come from reading another object than at the start."""
    if isinstance(error, GivenUp):
        return not isinstance(error.__cause__, ShortBody)
    return isinstance(error, DiskFull | FileNotFoundError | PermissionError)


def version_of(info: dict[str, Any]) -> str:
    """Return what a store calls the version of an object; `""` if it does not say."""
    return next((str(info[name]) for name in VERSIONS if info.get(name)), "")


def told(url: str, error: Exception) -> OSError:
    """Return an error of the same kind that says on one line what was got, expected, and helps."""
    kind, expected, remedy = OSError, "to read it", "correct its address or the store's settings"
    if isinstance(error, FileNotFoundError):
        kind, expected = FileNotFoundError, "a tar that is there"
        remedy = "correct data.shards or put the shard back, then start the run again"
    elif isinstance(error, PermissionError):
        kind, expected = PermissionError, "leave to read it"
        remedy = "give these credentials read access, or take the shard out of data.shards"
    elif isinstance(error, GivenUp):
        expected, remedy = "all of its bytes", "start the run again when the store answers"
    return kind(f"shard {url}: got {reason(error)}, expected {expected}; {remedy}")
