"""Local copies of what lies anywhere: some libraries read and write nothing but files on a disk.

A folder on a local disk is used as it is and published by renaming. Elsewhere files go through a
temporary folder (`TMPDIR` says where), one upload each, so that nothing is held in memory.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import fsspec

from pipeline.folder import Folder
from pipeline.transient import DiskFull, is_full, reason

UNFINISHED = ".unfinished"  # lies in a remote folder while its files are being replaced
PREFIX = "thresher-"


def split_url(url: str) -> tuple[Folder, str]:
    """Split the path or URL of a file into its folder and its name."""
    folder, slash, name = url.rpartition("/")
    return Folder(folder + slash or "."), name


def is_file(url: str) -> bool:
    """Tell whether there is a file at a path or any fsspec URL."""
    fs, path = fsspec.core.url_to_fs(url)
    return fs.isfile(path)


def local_path(url: str) -> Path | None:
    """Return where a path or URL lies on a local disk; None if it lies elsewhere."""
    scheme, separator, path = url.partition("://")
    if not separator:
        return Path(url).expanduser()  # as fsspec does
    return Path(path) if scheme in {"file", "local"} else None


@contextmanager
def full_disk_named(place: str) -> Iterator[None]:
    """Say which disk is full, if that ends a `with` block.

    Raises:
        DiskFull: It does.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFull) or not is_full(error):
            raise
        raise DiskFull(
            f"disk: got a full disk at {place} ({reason(error)}), expected room for what is "
            "written; free some space and start the run again: it goes on where it was"
        ) from error


def reserve(file: int, size: int, *, place: str) -> None:
    """Make an open file so long before it is mapped, where the system can with all its blocks.

    A process that writes to a map is killed by a disk that turns out to be full.

    Args:
        file: Its descriptor.
        size: Bytes.
        place: Where it lies, for the message.

    Raises:
        DiskFull: There is no room.
    """
    with full_disk_named(place):
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        else:
            os.ftruncate(file, size)


@contextmanager
def fetched(folder: Folder, *names: str) -> Iterator[Path]:
    """Give a local folder that has these files: `folder` itself, or a temporary copy of them.

    Raises:
        FileNotFoundError: A file to be copied is not there.
    """
    here = local_path(folder.url)
    if here is not None:
        yield here
        return
    with tempfile.TemporaryDirectory(prefix=PREFIX) as temporary:
        for name in names:
            folder.download(name, Path(temporary) / name)
        yield Path(temporary)


def new_folder(folder: Folder, *, last: str) -> AbstractContextManager[Path]:
    """Give an empty local folder; what it holds when the block ends well becomes `folder`.

    On a local disk by renaming. Elsewhere file by file: the file `last` goes first of the old ones
    and comes last of the new ones, so that whoever looks for it sees a whole folder or none.

    Raises:
        ValueError: `folder` cannot be written to.
        DiskFull: There is no room.
    """
    here = local_path(folder.url)
    return _uploaded(folder, last) if here is None else _renamed(here)


def drop_drafts(folder: Folder) -> None:
    """Remove what killed writers left beside a local folder; for folders that have one writer."""
    here = local_path(folder.url)
    if here is not None:
        for draft in here.parent.glob(f"{_draft_prefix(here)}*"):
            shutil.rmtree(draft, ignore_errors=True)


def _draft_prefix(here: Path) -> str:
    return f".{here.name}-building-"


@contextmanager
def _renamed(here: Path) -> Iterator[Path]:
    try:
        here.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=here.parent, prefix=_draft_prefix(here)))
    except OSError as error:
        raise ValueError(
            f"--out: got {here}, expected a place that can be written to; choose another one or "
            f"change its permissions ({error.strerror})"
        ) from error
    try:
        draft = beside / "new"
        with full_disk_named(str(here.parent)):
            draft.mkdir()
            yield draft
        if here.exists():
            here.rename(beside / "old")
        draft.rename(here)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _uploaded(folder: Folder, last: str) -> Iterator[Path]:
    folder.write(UNFINISHED, b"")  # now, so that a place that takes no files is refused before work
    with tempfile.TemporaryDirectory(prefix=PREFIX) as temporary:
        draft = Path(temporary)
        with full_disk_named(temporary):
            yield draft
        new = {p.relative_to(draft).as_posix() for p in draft.rglob("*") if p.is_file()} - {last}
        old = set(folder.files()) - {last, UNFINISHED}
        if folder.exists(last):
            folder.remove(last)
        for name in sorted(new):
            folder.upload(draft / name, name)
        for name in sorted(old - new):
            folder.remove(name)
        folder.upload(draft / last, last)
    folder.remove(UNFINISHED)
