"""A journal: lines of one writer, each safe from a killed process as soon as it is appended.

    <writer>-00003.open.jsonl   being appended to, by this writer only
    <writer>-00003.jsonl        sealed: nobody appends to it any more, so it may be merged away

Local files are appended to and flushed at each line, and synced to the disk at most once a second
(a power cut may cost a second's records, which are then done again). Object stores cannot append:
there a segment is put once more for every line, which segments of 64 lines keep small.
"""

import json
import os
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

from pipeline.folder import Folder

LINES_PER_FILE, LINES_PER_OBJECT = 10_000, 64
SYNC_S = 1.0
OPEN, SEALED = ".open.jsonl", ".jsonl"


class Journal:
    """Appends to journals in a folder.

    Raises:
        OSError: The folder cannot be written to (full, read-only); earlier lines stay.
    """

    def __init__(self, folder: Folder, writer: str) -> None:
        """Take the folder and a name that no other writer has."""
        self._folder, self._writer = folder, writer
        self._segment, self._lines = 0, list[str]()
        self._stream: BinaryIO | None = None
        self._synced = time.monotonic()

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line."""
        self._lines.append(json.dumps(entry, sort_keys=True))
        if self._folder.is_local:
            self._append_to_file(f"{self._lines[-1]}\n".encode())
        else:
            self._folder.write(self._name(OPEN), self._content())
        if len(self._lines) >= (LINES_PER_FILE if self._folder.is_local else LINES_PER_OBJECT):
            self.seal()

    def seal(self) -> None:
        """End the segment; the next line begins another."""
        if not self._lines:
            return
        if self._stream is not None:
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._stream = None
            self._folder.rename(self._name(OPEN), self._name(SEALED))
        else:
            self._folder.write(self._name(SEALED), self._content())
            self._folder.remove(self._name(OPEN))
        self._segment, self._lines = self._segment + 1, []

    def _append_to_file(self, line: bytes) -> None:
        if self._stream is None:
            self._stream = self._folder.open_append(self._name(OPEN))
        self._stream.write(line)
        self._stream.flush()
        if time.monotonic() - self._synced > SYNC_S:
            os.fsync(self._stream.fileno())
            self._synced = time.monotonic()

    def _content(self) -> bytes:
        return "".join(f"{line}\n" for line in self._lines).encode()

    def _name(self, suffix: str) -> str:
        return f"{self._writer}-{self._segment:05d}{suffix}"


def entries_of(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the lines of a journal; a torn last line, left by a killed writer, is none."""
    for line in data.decode("utf-8", "replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def seal_abandoned(folder: Folder, writers: list[str]) -> None:
    """Seal what writers left open that are known to be gone."""
    for name in folder.names():
        if name.endswith(OPEN) and name.removesuffix(OPEN).rpartition("-")[0] in writers:
            folder.rename(name, name.removesuffix(OPEN) + SEALED)
