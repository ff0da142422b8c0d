"""A run folder, local or in an object store: read, list, and publish whole files or nothing."""

import errno
import os
import posixpath
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from fsspec.implementations.local import LocalFileSystem

from pipeline.transient import DiskFull, GivenUp, Patience, connect, is_full, persist, reason

T = TypeVar("T")

PART_BYTES = 8 * 2**20  # of an upload; S3 takes no smaller ones than 5 MiB
MOST_PARTS = 9_000  # S3 takes 10,000
UPLOAD_TRIES = 3  # of one part, by the store's client: only a whole upload can be repeated here
# A folder that cannot be made: no right, or a file where a folder should be.
REFUSALS = (PermissionError, FileExistsError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder by URL; a plain path is a local folder.

    Transient faults of a store are waited out.

    Attributes:
        url: Local path or any fsspec URL of an object store.
        patience: How long a fault is waited out.
    """

    url: str
    patience: Patience = field(default_factory=Patience, compare=False, repr=False)

    def __truediv__(self, name: str) -> "Folder":
        """Return the folder `name` inside this one."""
        return Folder(posixpath.join(self.url, name), self.patience)

    def path(self, name: str) -> str:
        """Return the URL of a file in this folder."""
        return posixpath.join(self.url, name)

    def names(self) -> list[str]:
        """Return the sorted names of files in this folder, finished ones only; `[]` without it."""
        fs, root = self._fs()
        try:
            paths = self._ask(lambda: fs.ls(root, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = {posixpath.basename(str(p)) for p in paths if str(p).strip("/") != root.strip("/")}
        return sorted(name for name in found if name and not name.startswith("."))

    def exists(self, name: str) -> bool:
        """Tell whether a file is there."""
        fs, root = self._fs()
        try:
            self._ask(lambda: fs.info(posixpath.join(root, name)))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            FileNotFoundError: There is no such file.
            OSError: The store does not answer.
        """
        fs, root = self._fs()
        return self._ask(lambda: fs.cat_file(posixpath.join(root, name)))

    def write(self, name: str, data: bytes) -> None:
        """Publish a file whole or not at all, as `open_write` does.

        Raises:
            DiskFull: The disk is full; nothing is left behind.
            OSError: The store does not answer.
            ValueError: The folder cannot be written to.
        """
        fs, root = self._fs()
        if isinstance(fs, LocalFileSystem):
            with self._open_local(fs, root, name) as file:
                file.write(data)
        else:
            self._put(lambda: fs.pipe_file(posixpath.join(root, name), data))

    @contextmanager
    def open_write(self, name: str, *, lasting: bool = True) -> Iterator[BinaryIO]:
        """Open a file for writing; it appears whole when the block ends, or never if it raises.

        Local: a temporary name, then renamed. Object store: a local file without a name, then
        uploaded, since fsspec's own files publish what they have when the block raises.

        Args:
            name: Of the file.
            lasting: Whether it has to outlive the machine's next crash; waiting for the disk takes
                longer than writing, and what is scratch is written again.

        Raises:
            DiskFull: The disk is full; nothing is left behind.
            OSError: The store does not answer.
            ValueError: The folder cannot be written to.
        """
        fs, root = self._fs()
        if isinstance(fs, LocalFileSystem):
            with self._open_local(fs, root, name, lasting=lasting) as file:
                yield file
            return
        with self._telling_full(tempfile.gettempdir()), tempfile.TemporaryFile() as spool:
            file = cast("BinaryIO", spool)
            yield file
            self._upload(file, name)

    def check_writable(self) -> None:
        """Create the folder and prove that it takes files.

        Raises:
            ValueError: It does not.
        """
        try:
            probe = f"probe-{uuid.uuid4().hex}"
            self.write(probe, b"")
            fs, root = self._fs()
            fs.rm_file(posixpath.join(root, probe))
        except (OSError, ValueError) as error:
            raise self._refused(error) from error

    def files(self) -> list[str]:
        """Return the paths of all files below this folder, relative to it; `[]` without it."""
        fs, root = self._fs()
        return sorted(posixpath.relpath(p, root) for p in self._ask(lambda: fs.find(root)))

    def remove(self, name: str) -> None:
        """Delete a file; one that is not there any more is left at that."""
        fs, root = self._fs()
        with suppress(FileNotFoundError):
            self._ask(lambda: fs.rm_file(posixpath.join(root, name)))

    def remove_all(self) -> None:
        """Delete the folder with all that is in it; one that is not there is left at that."""
        fs, root = self._fs()
        with suppress(FileNotFoundError):
            self._ask(lambda: fs.rm(root, recursive=True))

    @property
    def is_local(self) -> bool:
        """Whether files here can be appended to and renamed."""
        return isinstance(self._fs()[0], LocalFileSystem)

    def open(self, name: str) -> BinaryIO:
        """Open a file to read parts of it.

        Raises:
            FileNotFoundError: There is no such file.
        """
        fs, root = self._fs()
        return self._ask(lambda: fs.open(posixpath.join(root, name), "rb"))

    def open_append(self, name: str) -> BinaryIO:
        """Open a local file to append to; the folder is made if need be.

        Raises:
            ValueError: The folder cannot be written to.
        """
        fs, root = self._fs()
        try:
            fs.makedirs(root, exist_ok=True)
            return Path(root, name).open("ab")
        except REFUSALS as error:
            raise self._refused(error) from error

    def rename(self, name: str, new: str) -> None:
        """Give a file another name; one that is not there any more is left at that."""
        fs, root = self._fs()
        with suppress(FileNotFoundError):
            self._ask(lambda: fs.mv(posixpath.join(root, name), posixpath.join(root, new)))

    def download(self, name: str, path: Path) -> None:
        """Copy a file to a local path, a block at a time.

        Raises:
            FileNotFoundError: There is no such file.
        """
        fs, root = self._fs()
        self._ask(lambda: fs.get_file(posixpath.join(root, name), str(path)))

    def upload(self, path: Path, name: str) -> None:
        """Copy a local file into this folder; readers see it whole or not at all.

        Raises:
            ValueError: The folder cannot be written to.
        """
        inside, _, base = name.rpartition("/")
        folder = self / inside if inside else self
        with path.open("rb") as file, folder.open_write(base) as target:
            shutil.copyfileobj(file, target)

    def _fs(self) -> tuple[Any, str]:
        return connect(self.url)

    @contextmanager
    def _open_local(
        self, fs: Any, root: str, name: str, *, lasting: bool = True
    ) -> Iterator[BinaryIO]:
        temporary = Path(root, f".{name}.{uuid.uuid4().hex}.tmp")
        with self._telling_full(self.url):
            try:
                fs.makedirs(root, exist_ok=True)
                file = temporary.open("xb")
            except OSError as error:
                if isinstance(error, REFUSALS) or error.errno == errno.EROFS:
                    raise self._refused(error) from error
                raise
            try:
                with file:
                    yield file
                    if lasting:
                        file.flush()
                        os.fsync(file.fileno())
                fs.mv(str(temporary), posixpath.join(root, name))
            finally:
                temporary.unlink(missing_ok=True)

    def _upload(self, file: BinaryIO, name: str) -> None:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= PART_BYTES:
            self.write(name, file.read())
            return
        fs, root = connect(self.url, tries=UPLOAD_TRIES)
        part_bytes = max(PART_BYTES, -(-size // MOST_PARTS))
        path = posixpath.join(root, name)
        self._put(lambda: _upload_parts(fs, path, file, part_bytes))

    def _put(self, request: Callable[[], object]) -> None:
        """Send a file: without a temporary name, since a store shows it whole or not at all."""
        try:
            self._ask(request)
        except (*REFUSALS, FileNotFoundError) as error:  # not found: there is no such bucket
            raise self._refused(error) from error

    def _ask(self, request: Callable[[], T]) -> T:
        try:
            return persist(request, self.patience)
        except GivenUp as error:
            raise OSError(
                f"run folder {self.url}: got {reason(error)}, expected an answer of the store; "
                "start the run again when it answers: it goes on where it was"
            ) from error

    @contextmanager
    def _telling_full(self, where: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, DiskFull) or not is_full(error):
                raise
            raise DiskFull(
                f"run folder {self.url}: got a full disk at {where} ({reason(error)}), expected "
                "room for what is written; free some space and start the run again: it goes on "
                "where it was"
            ) from error

    def _refused(self, error: Exception) -> ValueError:
        return ValueError(
            f"run folder: got {self.url}, expected a folder that can be written to; "
            f"choose another with --out or change its permissions ({error})"
        )


def _upload_parts(fs: Any, path: str, file: BinaryIO, part_bytes: int) -> None:
    """Upload in parts that become a file together, or are taken back."""
    file.seek(0)
    target = fs.open(path, "wb", autocommit=False, block_size=part_bytes)
    try:
        shutil.copyfileobj(file, target, part_bytes)
        target.close()
        _commit(target)
    except BaseException:
        with suppress(Exception):  # what went wrong first is what is told
            target.discard()
        target.closed = True  # or it is flushed once more when it is collected
        raise


def _commit(target: Any) -> None:
    try:
        target.commit()
    except FileNotFoundError as error:  # no such upload: it is done, and that answer got lost
        raise TimeoutError(f"the end of an upload was not confirmed ({reason(error)})") from error
