"""WebDataset tars in and out: every key of a shard becomes one `Sample`, good or bad.

Nothing is extracted to disk and no name in an archive is ever used as a path. Reading never raises
for what a shard holds: the sample's `status` says what is wrong with it.
"""

import hashlib
import io
import json
import os
import posixpath
import tarfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import fsspec

from pipeline.schema import Reason
from pipeline.tar import Member, walk

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
        image: Encoded picture, or None.
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


def list_shards(patterns: Sequence[str]) -> list[str]:
    """Expand globs, folders and URLs (any fsspec filesystem) into a sorted list of tars.

    Raises:
        ValueError: A pattern matches no tar.
    """
    shards: set[str] = set()
    for pattern in patterns:
        fs, path = fsspec.core.url_to_fs(pattern)
        if fs.isdir(path):
            path = posixpath.join(path, "*.tar")
        found = [path] if fs.isfile(path) else [p for p in fs.glob(path) if fs.isfile(p)]
        found = [p for p in found if not posixpath.basename(p).startswith(".")]
        if not found:
            raise ValueError(
                f"shards: got {pattern!r}, which matches no file; expected WebDataset tars, a "
                "folder of them, or a glob; build a pool with `thresher pool build openclipart "
                "--out DIR` or correct the path"
            )
        local = "file" in fs.protocol
        shards.update(p if local else fs.unstrip_protocol(p) for p in found)
    return sorted(shards)


def read_shard(url: str, *, limits: Limits | None = None) -> Iterator[Sample]:
    """Yield one `Sample` per key, in order of first appearance; content never raises.

    Raises:
        OSError: The shard cannot be opened or read at all.
    """
    limits = limits or Limits()
    name = posixpath.basename(url)
    with open_binary(url) as file:
        members, defect = walk(file)
        for key, group, status in _group(members, truncated=defect is Reason.TRUNCATED):
            yield _read_sample(file, name, key, group, status, limits)
    if defect is not None and defect is not Reason.TRUNCATED:
        yield Sample(uid=uid_from(name, ""), key="", status=defect)


def open_binary(url: str) -> BinaryIO:
    """Open a file for reading; local or any fsspec URL."""
    fs, path = fsspec.core.url_to_fs(url)
    return fs.open(path, "rb")


def read_range(url: str, offset: int, size: int) -> bytes:
    """Read `size` bytes at `offset`; local or any fsspec URL.

    Raises:
        EOFError: The file is shorter than that.
    """
    with open_binary(url) as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) != size:
        raise EOFError(f"{url}: got {len(data)} bytes at {offset}, expected {size}")
    return data


def write_shard(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a tar whose bytes depend on names and payloads only; temporary name, then rename."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, payload in members:
                info = tarfile.TarInfo(name)
                info.size = len(payload)
                info.mode = 0o644
                tar.addfile(info, io.BytesIO(payload))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def uid_from(shard_name: str, key: str) -> bytes:
    """Derive a uid where the json has none: 128 bits of BLAKE2b over (shard name, key)."""
    return hashlib.blake2b(f"{shard_name}\0{key}".encode(), digest_size=16).digest()


def uid_hex(uid: bytes) -> str:
    """Write a uid as 32 lower-case hex digits."""
    return uid.hex()


def _group(members: list[Member], *, truncated: bool) -> Iterator[tuple[str, list[Member], Reason]]:
    """Collect members by key and find the faults that names alone show.

    Where a shard is cut off, its last key is `TRUNCATED`: more members may have followed.
    """
    last = _split(members[-1].name)[0] if members and truncated else None
    groups: dict[str, list[Member]] = {}
    runs: dict[str, int] = {}
    previous = None
    for member in members:
        key = _split(member.name)[0]
        groups.setdefault(key, []).append(member)
        runs[key] = runs.get(key, 0) + (key != previous)
        previous = key
    for key, group in groups.items():
        if _is_unsafe(key):
            status = Reason.UNSAFE_NAME
        elif key == last:
            status = Reason.TRUNCATED
        elif len({m.name for m in group}) < len(group):
            status = Reason.REPEATED_KEY
        elif runs[key] > 1:
            status = Reason.SPLIT_KEY
        else:
            status = Reason.OK
        yield key, group, status


def _split(name: str) -> tuple[str, str]:
    """Split at the first dot of the base name, as WebDataset does: `a/b.c.jpg` is `a/b`."""
    folder, base = posixpath.split(name)
    stem, _, extension = base.partition(".")
    if not stem:  # names such as `..` or `.hidden` have no stem: they are their own key
        return name, ""
    return posixpath.join(folder, stem), extension.lower()


def _is_unsafe(key: str) -> bool:
    return key.startswith(("/", "\\")) or ".." in key.replace("\\", "/").split("/")


def _read_sample(
    file: BinaryIO, shard: str, key: str, group: list[Member], status: Reason, limits: Limits
) -> Sample:
    uid = uid_from(shard, key)
    if status is Reason.OK and any(m.size > limits.member_bytes for m in group):
        status = Reason.TOO_LARGE
    if status is not Reason.OK:
        return Sample(uid=uid, key=key, status=status)
    by_extension = {_split(m.name)[1]: m for m in group}
    meta, uid, status = _read_meta(file, by_extension.get("json"), uid)
    caption, caption_status = _read_caption(file, by_extension.get("txt"))
    picture = next((by_extension[e] for e in IMAGE_EXTENSIONS if e in by_extension), None)
    if status is Reason.OK:
        status = Reason.MISSING_IMAGE if picture is None else caption_status
    if picture is None:
        return Sample(uid=uid, key=key, caption=caption, meta=meta, status=status)
    return Sample(
        uid=uid,
        key=key,
        image=_read(file, picture),
        caption=caption,
        meta=meta,
        offset=picture.offset,
        size=picture.size,
        status=status,
    )


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
