"""A run folder on any fsspec filesystem: read, list, and publish whole files or nothing."""

import posixpath
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder by URL; a plain path is a local folder."""

    url: str

    def __truediv__(self, name: str) -> "Folder":
        """Return the folder `name` inside this one."""
        return Folder(posixpath.join(self.url, name))

    def path(self, name: str) -> str:
        """Return the URL of a file in this folder."""
        return posixpath.join(self.url, name)

    def names(self) -> list[str]:
        """Return the sorted names of files in this folder, finished ones only; `[]` without it."""
        fs, root = self._fs()
        if not fs.isdir(root):
            return []
        found = (posixpath.basename(str(p)) for p in fs.ls(root, detail=False))
        return sorted(name for name in found if not name.startswith("."))

    def exists(self, name: str) -> bool:
        """Tell whether a file is there."""
        fs, root = self._fs()
        return fs.exists(posixpath.join(root, name))

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            FileNotFoundError: There is no such file.
        """
        fs, root = self._fs()
        return fs.cat_file(posixpath.join(root, name))

    def write(self, name: str, data: bytes) -> None:
        """Publish a file: under a temporary name first, then renamed, so readers see all or none.

        Raises:
            ValueError: The folder cannot be written to.
        """
        fs, root = self._fs()
        temporary = posixpath.join(root, f".{name}.{uuid.uuid4().hex}.tmp")
        try:
            fs.makedirs(root, exist_ok=True)
            fs.pipe_file(temporary, data)
            fs.mv(temporary, posixpath.join(root, name))
        except PermissionError as error:
            raise self._refused(error) from error
        finally:
            if fs.exists(temporary):
                fs.rm_file(temporary)

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

    def _fs(self) -> tuple[Any, str]:
        return fsspec.core.url_to_fs(self.url)

    def _refused(self, error: Exception) -> ValueError:
        return ValueError(
            f"run folder: got {self.url}, expected a folder that can be written to; "
            f"choose another with --out or change its permissions ({error})"
        )

    def files(self) -> list[str]:
        """Return the paths of all files below this folder, relative to it; `[]` without it."""
        fs, root = self._fs()
        return sorted(posixpath.relpath(path, root) for path in fs.find(root))

    def remove(self, name: str) -> None:
        """Delete a file.

        Raises:
            FileNotFoundError: There is no such file.
        """
        fs, root = self._fs()
        fs.rm_file(posixpath.join(root, name))

    def download(self, name: str, path: Path) -> None:
        """Copy a file to a local path, a block at a time.

        Raises:
            FileNotFoundError: There is no such file.
        """
        fs, root = self._fs()
        fs.get_file(posixpath.join(root, name), str(path))

    def upload(self, path: Path, name: str) -> None:
        """Copy a local file into this folder, a block at a time; a store shows it once it is whole.

        Raises:
            ValueError: The folder cannot be written to.
        """
        fs, root = self._fs()
        target = posixpath.join(root, name)
        try:
            fs.makedirs(posixpath.dirname(target), exist_ok=True)
            fs.put_file(str(path), target)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise self._refused(error) from error
