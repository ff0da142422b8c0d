"""Answers of people: one row a pair in a Parquet file, written whole after each answer."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.folder import Folder
from pipeline.schema import UID_BYTES
from pipeline.tables import encode

LABELS = "labels.parquet"  # in a run folder
RANDOM, UNCERTAIN = "random", "uncertain"
SCHEMA = pa.schema(
    [
        pa.field("uid", pa.binary(UID_BYTES), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("chosen", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("ms", tz="UTC"), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said of a pair.

    Attributes:
        label: 1 keep, 0 drop.
        chosen: Why the pair was shown: `RANDOM` or `UNCERTAIN`.
        at: When, UTC.
    """

    label: int
    chosen: str
    at: datetime


def now() -> datetime:
    """Return the time as it is stored."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """The file of answers.

    Attributes:
        folder: Where it is.
        name: Its name.
    """

    folder: Folder
    name: str

    @classmethod
    def at(cls, url: str) -> "AnswerFile":
        """Return the file of a URL or local path."""
        inside, name = posixpath.split(url)
        return cls(Folder(inside or "."), name)

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return self.folder.path(self.name)

    def read(self) -> dict[bytes, Answer]:
        """Return answers by uid, in the order in which they were given; `{}` without a file.

        Raises:
            ValueError: The file is something else.
        """
        if not self.folder.exists(self.name):
            return {}
        try:
            table = pq.read_table(pa.BufferReader(self.folder.read(self.name)))
            rows = table.select(SCHEMA.names).cast(SCHEMA).to_pylist()
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise ValueError(
                f"labels: got {self.url}, expected answers of `thresher label` (columns "
                f"{', '.join(SCHEMA.names)}); name another file with --out ({_first_line(error)})"
            ) from error
        return {row.pop("uid"): Answer(**row) for row in rows}

    def write(self, answers: Mapping[bytes, Answer]) -> None:
        """Publish the answers, all or nothing.

        Raises:
            OSError: The disk is full, or the store does not answer.
            ValueError: The folder cannot be written to.
        """
        columns: dict[str, list[Any]] = {
            "uid": list(answers),
            "label": [answer.label for answer in answers.values()],
            "chosen": [answer.chosen for answer in answers.values()],
            "at": [answer.at for answer in answers.values()],
        }
        self.folder.write(self.name, encode(pa.table(columns, schema=SCHEMA)))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
