"""Encoded pictures of remote shards on a local disk, for the next epoch and the next run.

A shard's mirror is a sparse file in which a picture lies where it lies in the shard. The bytes
before it, in the shard a tar header's unused end, say that it is there, with its size and a
checksum. So there is no index to be loaded, kept in step or lost: any number of processes read and
write at once (they write the same), and what a killed one left half written is not there.
"""

import fcntl
import hashlib
import logging
import os
import struct
import threading
import zlib
from functools import lru_cache
from pathlib import Path

from pipeline.transient import reason
from training.input.open_file import OpenFile

logger = logging.getLogger(__name__)

MARK = struct.Struct("<8sII")  # name, size in bytes, CRC-32
NAME = b"thresher"
BLOCK = 4096  # bytes, in which disks give out space
GRANT = 2**26  # bytes that a process takes of what is left, at most, before it writes
OPEN_FILES = 128


class Spool:
    """A folder of mirrors, with a bound that all processes that use it keep together.

    When it is full, what is in it stays: every epoch shows every picture once, so any is as likely
    to be asked for next as any other.

    Args:
        folder: On a local disk; made if it is not there.
        limit_bytes: Bound on the space that the mirrors take.

    Raises:
        ValueError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._open = lru_cache(OPEN_FILES)(OpenFile)
        self._stopped = False
        self._granted = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._account = _Account(folder, limit_bytes)
        except OSError as error:
            raise ValueError(
                f"loader.spool: got {folder}, expected a local folder that can be written to; "
                f"name another or leave it empty ({reason(error)})"
            ) from error

    def mirror(self, url: str, version: str) -> "Mirror":
        """Return the mirror of a shard; another version of it has another one."""
        name = hashlib.blake2b(f"{url}\0{version}".encode(), digest_size=16).hexdigest()
        return Mirror(self, str(self.folder / name))

    def take(self, size: int) -> bool:
        """Tell whether there is room for so many bytes, and count them as used if there is."""
        with self._lock:
            if self._stopped:
                return False
            if size > self._granted:
                self._granted += self._account.grant(size)
            if size > self._granted:
                self._stopped = True
                logger.info("loader.spool: full; further pictures come from the store")
                return False
            self._granted -= size
            return True

    def stop(self, error: OSError) -> None:
        """Keep nothing more: the disk does not take it."""
        with self._lock:
            if not self._stopped:
                logger.warning(
                    "loader.spool: got %s, expected room on the disk of %s; the run goes on and "
                    "reads from the store what is not there yet", reason(error), self.folder
                )  # fmt: skip
            self._stopped = True

    def file(self, path: str) -> OpenFile:
        """Open a mirror, empty if it is new."""
        return self._open(path, os.O_RDWR | os.O_CREAT)


class Mirror:
    """Those pictures of a shard that are here.

    Args:
        spool: Whose room it takes.
        path: Of the sparse file.
    """

    def __init__(self, spool: Spool, path: str) -> None:
        self.spool = spool
        self.path = path

    def find(self, offset: int, size: int) -> bytes | None:
        """Return the picture of `size` bytes at `offset` in the shard, None if it is not here."""
        start = offset - MARK.size
        try:
            data = self.spool.file(self.path).read(MARK.size + size, start)
        except OSError:
            return None
        picture = data[MARK.size :]
        here = len(picture) == size and data[: MARK.size] == _mark(picture)
        return picture if here else None

    def keep(self, offset: int, picture: bytes) -> None:
        """Write a picture, if there is room."""
        start = offset - MARK.size
        blocks = (offset + len(picture) - 1) // BLOCK - start // BLOCK + 1
        if start < 0 or not self.spool.take(blocks * BLOCK):
            return
        try:
            self.spool.file(self.path).write(_mark(picture) + picture, start)
        except OSError as error:
            self.spool.stop(error)


class _Account:
    """How many bytes of the bound are given out, in a file that processes lock in turn.

    Who opens the spool while nobody else has it open counts the mirrors anew: a process that was
    killed may have taken more than it used.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._users = OpenFile(str(folder / ".users"), os.O_RDWR | os.O_CREAT)
        self._used = OpenFile(str(folder / ".used"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._users.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mirrors = (entry for entry in os.scandir(folder) if not entry.name.startswith("."))
            used = sum(entry.stat().st_blocks * 512 for entry in mirrors)
            self._write(used + BLOCK)  # for this file
        except BlockingIOError:
            pass
        fcntl.flock(self._users.number, fcntl.LOCK_SH)

    def grant(self, size: int) -> int:
        """Return how many bytes may be written now: none, or at least `size`."""
        fcntl.flock(self._used.number, fcntl.LOCK_EX)
        try:
            used = int.from_bytes(self._used.read(8, 0), "little")
            given = min(max(size, min(GRANT, self.limit_bytes // 64)), self.limit_bytes - used)
            if given < size:
                return 0
            self._write(used + given)
            return given
        finally:
            fcntl.flock(self._used.number, fcntl.LOCK_UN)

    def _write(self, used: int) -> None:
        self._used.write(used.to_bytes(8, "little"), 0)


def _mark(picture: bytes) -> bytes:
    return MARK.pack(NAME, len(picture), zlib.crc32(picture))
