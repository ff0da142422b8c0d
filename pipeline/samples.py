"""A shard's samples: every key becomes one `Sample`, good or bad; what it holds never raises.

Nothing is extracted to disk and no name in an archive is ever used as a path. The headers are
walked twice: once to learn which keys are repeated or torn apart, once to read. So memory holds the
keys of a shard, but never its members.
"""

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from pipeline.schema import Reason
from pipeline.shards import open_binary
from pipeline.tar import Member, Walk

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds on untrusted input, checked before a byte is decoded.

    Attributes:
        member_bytes: Largest member that is read.
        pixels: Largest picture that is decoded, width times height as declared in its header.
    """

    member_bytes: int = 64 * 2**20
    pixels: int = 100_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One key of a shard.

    Attributes:
        uid: 16 bytes; from the json, else derived from shard name and key.
        key: The members' common name without extension, `""` for a row that stands for a shard.
        image: Encoded picture, or None if there is none or it was not read.
        caption: Text with outer white space stripped, or None.
        meta: The parsed json object, `{}` without one.
        offset: Byte offset of the picture in the shard, -1 without one.
        size: Bytes of the picture, -1 without one.
        status: `Reason.OK`, or what is wrong.
    """

    uid: bytes
    key: str
    image: bytes | None = None
    caption: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    offset: int = -1
    size: int = -1
    status: Reason = Reason.OK


def read_shard(
    url: str, *, limits: Limits | None = None, pictures: bool = True
) -> Iterator[Sample]:
    """Yield one `Sample` per key, in order of first appearance; content never raises.

    Args:
        url: Of the shard.
        limits: Bounds on what is read.
        pictures: Read them; without, `image` is None of all.

    Raises:
        OSError: The shard cannot be opened or read at all.
    """
    name = posixpath.basename(url)
    with open_binary(url) as file:
        yield from SampleReader(file, name, limits or Limits(), pictures=pictures).read()


class SampleReader:
    """The samples of an open shard, by position.

    Attributes:
        rows: How many there are; a shard that is no tar has one row that stands for it.
    """

    def __init__(self, file: BinaryIO, name: str, limits: Limits, *, pictures: bool = True) -> None:
        """Walk the headers once.

        Args:
            file: A seekable tar.
            name: The shard's name; uids are derived from it where the json has none.
            limits: Bounds on what is read.
            pictures: Read them; without, only where they lie is told.
        """
        self._file, self._name, self._limits, self._pictures = file, name, limits, pictures
        self._walk = Walk(file)
        keys, self._torn, self._verdict, last = set[str](), set[str](), dict[str, Reason](), ""
        for last, names in self._runs():
            if last in keys:
                self._torn.add(last)
            keys.add(last)
            if len(set(names)) < len(names):
                self._verdict[last] = Reason.REPEATED_KEY
        self.rows = len(keys)
        if self._torn:
            self._judge_torn()
        if self._walk.defect is Reason.TRUNCATED:
            self._verdict[last] = Reason.TRUNCATED  # more members may have followed
        elif self._walk.defect is not None:
            self.rows += 1

    def read(self, first: int = 0, last: int | None = None) -> Iterator[Sample]:
        """Yield the samples `first` to `last` (not included); payloads of others are not read."""
        last, position, seen = self.rows if last is None else last, 0, set[str]()
        for key, members in self._groups():
            if key in seen:
                continue
            if key in self._torn:
                seen.add(key)
            if first <= position < last:
                yield self._sample(key, members)
            position += 1
            if position >= last:
                return
        if position < last:
            yield Sample(uid_from(self._name, ""), "", status=self._walk.defect or Reason.OK)

    def _groups(self) -> Iterator[tuple[str, list[Member]]]:
        """Yield runs of neighbouring members of one key."""
        key, group = "", list[Member]()
        for member in self._walk:
            its_key = _split(member.name)[0]
            if group and its_key != key:
                yield key, group
                group = []
            key = its_key
            group.append(member)
        if group:
            yield key, group

    def _runs(self) -> Iterator[tuple[str, list[str]]]:
        return ((key, [m.name for m in members]) for key, members in self._groups())

    def _judge_torn(self) -> None:
        """Tell keys whose members lie apart from keys that come twice."""
        names: dict[str, list[str]] = {key: [] for key in self._torn}
        for key, of_run in self._runs():
            if key in names:
                names[key] += of_run
        for key, found in names.items():
            twice = len(set(found)) < len(found)
            self._verdict[key] = Reason.REPEATED_KEY if twice else Reason.SPLIT_KEY

    def _sample(self, key: str, members: list[Member]) -> Sample:
        status = Reason.UNSAFE_NAME if _is_unsafe(key) else self._verdict.get(key, Reason.OK)
        if status is Reason.OK and any(m.size > self._limits.member_bytes for m in members):
            status = Reason.TOO_LARGE
        uid = uid_from(self._name, key)
        if status is not Reason.OK:
            return Sample(uid, key, status=status)
        by_extension = {_split(m.name)[1]: m for m in members}
        meta, uid, status = _read_meta(self._file, by_extension.get("json"), uid)
        caption, caption_status = _read_caption(self._file, by_extension.get("txt"))
        picture = next((by_extension[e] for e in IMAGE_EXTENSIONS if e in by_extension), None)
        if status is Reason.OK:
            status = Reason.MISSING_IMAGE if picture is None else caption_status
        if picture is None:
            return Sample(uid, key, None, caption, meta, status=status)
        image = _read(self._file, picture) if self._pictures else None
        return Sample(uid, key, image, caption, meta, picture.offset, picture.size, status)


def uid_from(shard_name: str, key: str) -> bytes:
    """Derive a uid where the json has none: 128 bits of BLAKE2b over (shard name, key)."""
    return hashlib.blake2b(f"{shard_name}\0{key}".encode(), digest_size=16).digest()


def uid_hex(uid: bytes) -> str:
    """Write a uid as 32 lower-case hex digits."""
    return uid.hex()


def _split(name: str) -> tuple[str, str]:
    """Split at the first dot of the base name, as WebDataset does: `a/b.c.jpg` is `a/b`."""
    slash = name.rfind("/") + 1
    stem, _, extension = name[slash:].partition(".")
    if not stem:  # names such as `..` or `.hidden` have no stem: they are their own key
        return name, ""
    return name[:slash] + stem, extension.lower()


def _is_unsafe(key: str) -> bool:
    return key.startswith(("/", "\\")) or ".." in key.replace("\\", "/").split("/")


def _read_meta(
    file: BinaryIO, member: Member | None, fallback: bytes
) -> tuple[dict[str, Any], bytes, Reason]:
    """Parse the json; a missing one is allowed, a malformed one is not."""
    if member is None:
        return {}, fallback, Reason.OK
    try:
        meta = json.loads(_read(file, member))
    except (ValueError, RecursionError):
        return {}, fallback, Reason.BAD_JSON
    if not isinstance(meta, dict):
        return {}, fallback, Reason.BAD_JSON
    if "uid" not in meta:
        return meta, fallback, Reason.OK
    text = str(meta["uid"])
    try:  # left-padded, since DataComp's pools hold uids that lost their leading zeros
        if not text.isalnum() or len(text) > 32:  # noqa: PLR2004
            raise ValueError  # noqa: TRY301
        return meta, bytes.fromhex(text.zfill(32)), Reason.OK
    except ValueError:
        return meta, fallback, Reason.BAD_UID


def _read_caption(file: BinaryIO, member: Member | None) -> tuple[str | None, Reason]:
    if member is None:
        return None, Reason.MISSING_CAPTION
    try:
        caption = _read(file, member).decode("utf-8").strip()
    except UnicodeDecodeError:
        return None, Reason.BAD_UTF8
    return caption, Reason.OK if caption else Reason.EMPTY_CAPTION


def _read(file: BinaryIO, member: Member) -> bytes:
    file.seek(member.offset, os.SEEK_SET)
    return file.read(member.size)
