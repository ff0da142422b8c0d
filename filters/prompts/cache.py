"""Answers on disk: no question is paid for twice, by any process on this machine.

One SQLite file with a write-ahead log, which needs a local disk. What is lost with it is money, not
a run: a damaged file is set aside, and one that cannot be written to is done without.
"""

import fcntl
import hashlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filters.prompts.reply import Reply

logger = logging.getLogger(__name__)

FILE = "answers.sqlite"
BUSY_S = 60.0
AT_A_TIME = 500  # keys of one query; SQLite allows 999 in its oldest builds
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
TABLE = """CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY, model TEXT, sample TEXT, reply TEXT NOT NULL,
    prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL
) WITHOUT ROWID"""


def key_of(request: Any, sample: str) -> bytes:
    """Return the key of a question, 16 bytes.

    Args:
        request: The whole request as JSON would have it, without the picture.
        sample: The picture's uid or digest, `""` if the text is all.
    """
    text = json.dumps([request, sample], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def cache_folder(setting: str) -> Path:
    """Return the folder of a setting; `""` is `prompts` in $THRESHER_CACHE or ~/.cache/thresher."""
    if setting:
        return Path(setting).expanduser()
    root = os.environ.get("THRESHER_CACHE") or "~/.cache/thresher"
    return Path(root).expanduser() / "prompts"


class Cache:
    """Replies by key; several processes and threads may share the file."""

    def __init__(self, folder: Path) -> None:
        """Open or make it.

        Raises:
            PermissionError: The folder cannot be written to.
        """
        self.path, self._lock, self._inode = folder / FILE, threading.Lock(), -1
        self._told_of: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._open()
        except (OSError, sqlite3.OperationalError) as error:
            raise PermissionError(
                f"prompt cache: got {folder}, expected a local folder that can be written to; set "
                f"cache, or point THRESHER_CACHE at one ({error})"
            ) from error

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Reply]:
        """Return the replies that are there."""
        found: dict[bytes, Reply] = {}
        for start in range(0, len(keys), AT_A_TIME):
            some = keys[start : start + AT_A_TIME]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, reply FROM answers WHERE key IN ({marks})"  # noqa: S608
            for key, text in self._run(query, some):
                try:
                    found[key] = Reply.load(text)
                except (ValueError, TypeError):
                    self._tell(f"{self.path}: got a row that is no answer; it is asked for again")
        return found

    def put(self, key: bytes, reply: Reply, *, model: str, sample: str, cost: float) -> None:
        """Keep a reply, whatever becomes of this process; the first one of a key stays."""
        row = (
            key, model, sample, reply.dump(), reply.prompt_tokens, reply.completion_tokens, cost
        )  # fmt: skip
        self._run("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def count(self) -> int:
        """Return how many replies there are."""
        rows = self._run("SELECT count(*) FROM answers", ())
        return rows[0][0] if rows else 0

    def close(self) -> None:
        """Close the file; the log is folded into it by whoever closes last."""
        with self._lock:
            self._connection.close()

    def _run(self, query: str, values: Sequence[Any]) -> list[Any]:
        """Run a query; without the file, where it cannot be used."""
        with self._lock:
            try:
                with self._connection:
                    return self._connection.execute(query, values).fetchall()
            except sqlite3.DatabaseError as error:
                if _is_damage(error):
                    self._connection.close()
                    self._open(damaged=error)
                else:
                    self._tell(f"prompt cache {self.path}: {error}; answers are not kept")
        return []

    def _tell(self, text: str) -> None:
        if text not in self._told_of:
            self._told_of.add(text)
            logger.warning("%s", text)

    def _open(self, damaged: sqlite3.DatabaseError | None = None) -> None:
        """Open the file, after setting it aside if it is damaged, unless somebody has done so."""
        with _alone(self.path):
            if damaged is None or self.path.stat().st_ino != self._inode:
                try:
                    self._connection = _connected(self.path)
                except sqlite3.DatabaseError as error:
                    if not _is_damage(error):
                        raise
                    damaged = error
                else:
                    damaged = None
            if damaged is not None:
                aside = _set_aside(self.path)
                logger.warning("prompt cache %s: damaged (%s), now %s", self.path, damaged, aside)
                self._connection = _connected(self.path)
            self._inode = self.path.stat().st_ino


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED


def _connected(path: Path) -> sqlite3.Connection:
    """Open the file and look whether it is sound, as far as that is quick."""
    connection = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(TABLE)
        connection.execute("SELECT * FROM answers LIMIT 1").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _set_aside(path: Path) -> Path:
    """Rename a file and its log to the first free name."""
    number = 0
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from opening the file."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
