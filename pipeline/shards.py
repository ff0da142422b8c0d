"""Shards: which there are, how the ledger knows them, and their bytes in and out.

A shard is identified by its listing alone (name, size, version): finding 1.28 million shards is
1,280 listing calls of an object store and not one request per shard.
"""

import hashlib
import io
import os
import posixpath
import tarfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import braceexpand
import fsspec


@dataclass(frozen=True, slots=True)
class Shard:
    """A WebDataset tar.

    Attributes:
        url: Local path, or any fsspec URL.
        id: `<name>-<digest of path, size and version>`; the version is the store's etag, or the
            time of a file's last change.
        size: Bytes.
    """

    url: str
    id: str
    size: int


def list_shards(patterns: Sequence[str]) -> list[str]:
    """Return the URLs of `find_shards`."""
    return [shard.url for shard in find_shards(patterns)]


def find_shards(patterns: Sequence[str]) -> list[Shard]:
    """Expand folders, globs, brace lists and URLs into tars, sorted by URL, each once.

    Args:
        patterns: Such as `pool`, `s3://bucket/pool/*.tar`, `pool/{000000..001287}.tar`.

    Raises:
        ValueError: A pattern matches no tar.
    """
    found: dict[str, Shard] = {}
    for pattern in patterns:
        for part in braceexpand.braceexpand(pattern):
            matched = {shard.url: shard for shard in _match(part)}
            if not matched:
                raise ValueError(
                    f"shards: got {part!r}, which matches no file; expected WebDataset tars, a "
                    "folder of them, or a glob; build a pool with `thresher pool build "
                    "openclipart --out DIR` or correct the path"
                )
            found |= matched
    return [found[url] for url in sorted(found)]


def _match(pattern: str) -> Iterator[Shard]:
    fs, path = fsspec.core.url_to_fs(pattern)
    local = "file" in fs.protocol
    if local and Path(path).is_dir():
        yield from _scan(path)
        return
    if fs.isdir(path):
        path = posixpath.join(path, "*.tar")
    elif "*" not in path and "?" not in path and "[" not in path:
        listed = [fs.info(path)] if fs.isfile(path) else []
        yield from (_shard(fs, info, local=local) for info in listed)
        return
    for info in fs.glob(path, detail=True).values():
        hidden = posixpath.basename(str(info["name"])).startswith(".")
        if info["type"] == "file" and not hidden:
            yield _shard(fs, info, local=local)


def _scan(folder: str) -> Iterator[Shard]:
    """List a local folder; 10 times as fast as a glob that makes a dict of every file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".tar") and not entry.name.startswith(".") and entry.is_file():
                stat = entry.stat()
                yield _identify(entry.path, entry.path, stat.st_size, str(stat.st_mtime))


def _shard(fs: Any, info: dict[str, Any], *, local: bool) -> Shard:
    versions = (info.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "created"))
    version = next((str(v) for v in versions if v), "")
    path = str(info["name"])
    url = path if local else fs.unstrip_protocol(path)
    return _identify(url, path, int(info["size"]), version)


def _identify(url: str, path: str, size: int, version: str) -> Shard:
    digest = hashlib.blake2b(f"{path}\0{size}\0{version}".encode(), digest_size=8).hexdigest()
    return Shard(url, f"{posixpath.basename(path).removesuffix('.tar')}-{digest}", size)


def open_binary(url: str) -> BinaryIO:
    """Open a file for reading; local or any fsspec URL."""
    fs, path = fsspec.core.url_to_fs(url)
    return Path(path).open("rb") if "file" in fs.protocol else fs.open(path, "rb")


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
