"""Walk the headers of a tar without trusting it: names, byte ranges, and what is wrong.

Python's tarfile stops at the first defect and hides how far it came; here every complete member in
front of a defect is kept. Understands ustar, GNU long names and pax paths, which is what WebDataset
writers produce; links, folders and devices are passed over.
"""

import os
import tarfile
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.schema import Reason

BLOCK = 512
LONGEST_NAME = 64 * 1024  # a GNU or pax name larger than this is hostile, not long


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar; `complete` is False where the archive ends inside its payload."""

    name: str
    offset: int
    size: int
    complete: bool


def walk(file: BinaryIO) -> tuple[list[Member], Reason | None]:
    """Return the regular members of a seekable tar in order, and the shard's defect if it has one.

    Returns:
        Members, and None or one of `NOT_A_TAR`, `EMPTY_SHARD`, `TRUNCATED` (the archive ends inside
        a member, at a damaged header, or without its end marker).
    """
    end = file.seek(0, os.SEEK_END)
    members: list[Member] = []
    position, long_name = 0, None
    while position < end:
        file.seek(position)
        block = file.read(BLOCK)
        if block == bytes(BLOCK):
            return members, None if members else Reason.EMPTY_SHARD
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            return members, Reason.TRUNCATED if members else Reason.NOT_A_TAR
        payload = position + BLOCK
        complete = payload + header.size <= end
        if header.type in {tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE} and complete:
            data = file.read(min(header.size, LONGEST_NAME))
            long_name = _long_name(header.type, data) or long_name
        elif header.isreg():
            name = _printable(long_name or header.name)
            members.append(Member(name, payload, header.size, complete))
            long_name = None
        position = payload + -(-header.size // BLOCK) * BLOCK
    return members, Reason.TRUNCATED if members else Reason.EMPTY_SHARD


def _long_name(kind: bytes, data: bytes) -> str | None:
    if kind == tarfile.GNUTYPE_LONGNAME:
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    for line in data.split(b"\n"):  # pax records: "<length> <keyword>=<value>\n"
        _, _, record = line.partition(b" ")
        keyword, _, value = record.partition(b"=")
        if keyword == b"path":
            return value.decode("utf-8", "surrogateescape")
    return None


def _printable(name: str) -> str:
    """Replace bytes that are not UTF-8, so that a key can be stored and shown."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
