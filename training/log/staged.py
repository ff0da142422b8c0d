"""A local folder for libraries that write nothing but files, copied to where the run lies."""

import tempfile
from pathlib import Path

from pipeline.folder import Folder
from pipeline.staging import PREFIX, local_path


class Staged:
    """A folder of the run as a local path: itself, or a temporary one that is copied there.

    What the folder held before stays there and is not fetched: libraries that log begin a new file
    for every process.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        here = local_path(folder.url)
        self._temporary = None
        if here is None:
            self._temporary = tempfile.TemporaryDirectory(prefix=PREFIX)
        self.path = here or Path(self._temporary.name if self._temporary else "")
        self._sent: dict[str, tuple[int, int]] = {}
        self.path.mkdir(parents=True, exist_ok=True)

    def publish(self) -> None:
        """Copy what has changed since the last time."""
        if self._temporary is None:
            return
        for file in sorted(p for p in self.path.rglob("*") if p.is_file() and not p.is_symlink()):
            name, stat = file.relative_to(self.path).as_posix(), file.stat()
            version = (stat.st_size, stat.st_mtime_ns)
            if self._sent.get(name) != version:
                self.folder.upload(file, name)
                self._sent[name] = version

    def close(self) -> None:
        """Publish, and remove the temporary folder."""
        self.publish()
        if self._temporary is not None:
            self._temporary.cleanup()
