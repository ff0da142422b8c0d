"""Walk the headers of a tar without trusting it: names, byte ranges, and what is wrong.

Python's tarfile stops at the first defect and hides how far it came; here every complete member in
front of a defect is kept. Understands ustar, GNU long names and pax paths and sizes, which is what
WebDataset writers produce; links, folders, devices and sparse files are passed over.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.schema import Reason

BLOCK = 512
LONGEST_EXTENSION = 64 * 1024  # a GNU or pax header larger than this is hostile, not long
EXTENSIONS = {tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE}
WITHOUT_PAYLOAD = {
    tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
}  # fmt: skip


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
        a member, at a damaged header, or without its end marker of two zero blocks).
    """
    end = file.seek(0, os.SEEK_END)
    members: list[Member] = []
    position, known = 0, {}
    while position < end:
        file.seek(position)
        block = file.read(2 * BLOCK)
        if block == bytes(2 * BLOCK):
            return members, None if members else Reason.EMPTY_SHARD
        header = _header(block[:BLOCK])
        if header is None:
            return members, Reason.TRUNCATED if members else Reason.NOT_A_TAR
        payload, size = position + BLOCK, int(known.get("size", header.size))
        if header.type in EXTENSIONS:
            file.seek(payload)
            known |= _extension(header.type, file.read(min(size, LONGEST_EXTENSION)))
        else:
            if header.type in tarfile.REGULAR_TYPES and header.type != tarfile.GNUTYPE_SPARSE:
                name = _printable(known.get("path", header.name))
                members.append(Member(name, payload, size, payload + size <= end))
            size = 0 if header.type in WITHOUT_PAYLOAD else size
            known = {}  # an extension speaks of the next member only
        position = payload + -(-size // BLOCK) * BLOCK
    return members, Reason.TRUNCATED if members else Reason.EMPTY_SHARD


def _header(block: bytes) -> tarfile.TarInfo | None:
    """Parse a header block; None for zeros, a wrong checksum, or a size that cannot be."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return header if header.size >= 0 else None


def _extension(kind: bytes, data: bytes) -> dict[str, str]:
    """Return what an extension header says of the next member: its `path`, its `size`."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    known = {key: value for key, value in _pax_records(data) if key in {"path", "size"}}
    if not known.get("size", "0").isdecimal():
        del known["size"]
    return known


def _pax_records(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield the records `<length> <keyword>=<value>` and a newline, each as long as it says."""
    while data:
        length, space, _ = data.partition(b" ")
        if not space or not length.isdigit() or not len(length) < int(length) <= len(data):
            return
        record, data = data[len(length) + 1 : int(length) - 1], data[int(length) :]
        keyword, _, value = record.partition(b"=")
        yield keyword.decode("utf-8", "replace"), value.decode("utf-8", "surrogateescape")


def _printable(name: str) -> str:
    """Write bytes that are not UTF-8 as escapes, so that a key can be stored, shown, and told."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
