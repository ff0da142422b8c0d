"""torch's distributed checkpoints (DCP) in a `Folder`: on a disk or in any object store.

Every file appears whole, is hashed while it is written, and is read only if it is what was written.
"""

import hashlib
import io
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import torch
from torch.distributed.checkpoint import DefaultLoadPlanner, FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.filesystem import FileSystemBase
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import ReadItem

from pipeline.folder import Folder

INDEX = ".metadata"  # DCP's name for the pickle that says which tensor lies where
BLOCK = 2**20


class FolderFiles(FileSystemBase):
    """What DCP asks of a file system; a path is a name in the folder.

    Attributes:
        sha256: Of every file written here, by name.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.sha256: dict[str, str] = {}

    @contextmanager
    def create_stream(self, path: str | os.PathLike, mode: str) -> Iterator[io.IOBase]:
        """Open a file to read or to write."""
        name = str(path)
        if mode == "rb":
            with self.folder.open(name) as file:
                yield cast(io.IOBase, file)
            return
        with self.folder.open_write(name) as file:
            stream = _Hashing(file)
            try:
                yield stream
            except RuntimeError as error:  # what torch makes of a write that failed
                raise stream.failure or error from error
            self.sha256[name] = stream.digest.hexdigest()

    def rename(self, path: str | os.PathLike, new_path: str | os.PathLike) -> None:
        """Give a file its final name."""
        self.folder.rename(str(path), str(new_path))
        self.sha256[str(new_path)] = self.sha256.pop(str(path))

    def concat_path(self, path: str | os.PathLike, suffix: str) -> str:
        """Return the name of a file: the folder is known."""
        del path
        return suffix

    def init_path(self, path: str | os.PathLike) -> str:
        """Return a path as a string."""
        return str(path)

    def mkdir(self, path: str | os.PathLike) -> None:
        """Leave it to the first file."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike) -> bool:
        """Take any folder."""
        del checkpoint_id
        return True

    def exists(self, path: str | os.PathLike) -> bool:
        """Tell whether a file is there."""
        return self.folder.exists(str(path))

    def rm_file(self, path: str | os.PathLike) -> None:
        """Delete a file."""
        self.folder.remove(str(path))


class _Hashing(io.RawIOBase):
    """Passes bytes on and hashes them; DCP closes what it writes to, the folder wants to do so.

    Attributes:
        failure: Why bytes could not be written, if so.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.failure: OSError | None = None
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.failure = error
            raise

    def tell(self) -> int:
        return self.file.tell()


class FolderWriter(FileSystemWriter):
    """Writes one file a rank, and the first rank the index."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder.url, sync_files=False)  # the folder does so
        self.files = FolderFiles(folder)
        self.fs = cast(Any, self.files)
        self.path = cast(Any, folder.url)


class FolderReader(FileSystemReader):
    """Reads what a `FolderWriter` wrote.

    The index is a pickle. Its digest keeps a damaged one, or one of another save, from being
    opened; whoever can write to the folder can write that digest, too, so only the few classes that
    an index is made of are ever built from it.

    Args:
        folder: Of the state.
        sha256: Of every file, by name.

    Raises:
        ValueError: The index is not one that a run wrote.
    """

    def __init__(self, folder: Folder, sha256: Mapping[str, str]) -> None:
        super().__init__(folder.url)
        self.fs = cast(Any, FolderFiles(folder))
        self.path = cast(Any, folder.url)
        self._index = _read_index(folder, sha256[INDEX])

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the index."""
        del args, kwargs
        self._index.storage_meta = StorageMeta(load_id=self.load_id)
        return self._index


def _read_index(folder: Folder, sha256: str) -> Metadata:
    data = folder.read(INDEX)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise _no_index(folder, f"SHA-256 {found}")
    try:
        return _IndexUnpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError as error:
        raise _no_index(folder, str(error)) from error


def _no_index(folder: Folder, what: str) -> ValueError:
    return ValueError(
        f"train: got {folder.path(INDEX)} with {what}, expected the index that a run wrote; remove "
        f"the state {folder.url}"
    )


class _IndexUnpickler(pickle.Unpickler):
    """Builds nothing but what an index is made of."""

    def find_class(self, module: str, name: str) -> Any:
        torch_type = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if not torch_type and (module, name) not in _INDEX_CLASSES:
            raise pickle.UnpicklingError(f"{module}.{name} in it")
        return super().find_class(module, name)


_INDEX_CLASSES = {
    *(
        ("torch.distributed.checkpoint.metadata", name)
        for name in (
            "BytesStorageMetadata", "ChunkStorageMetadata", "Metadata", "MetadataIndex",
            "StorageMeta", "TensorProperties", "TensorStorageMetadata", "_MEM_FORMAT_ENCODING",
        )
    ),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("collections", "OrderedDict"),
}  # fmt: skip


class SafePlanner(DefaultLoadPlanner):
    """Loads numbers as it loads tensors, without building objects, and names what does not fit."""

    def set_up_planner(
        self, state_dict: Any, metadata: Metadata | None = None, is_coordinator: bool = False
    ) -> None:
        """Compare what is asked for with what is there.

        Raises:
            ValueError: Names or shapes differ.
        """
        super().set_up_planner(state_dict, metadata, is_coordinator)
        assert metadata is not None
        asked = {name: _shape(value) for name, value in self.state_dict.items()}
        there = {name: _shape(value) for name, value in metadata.state_dict_metadata.items()}
        wrong = sorted(n for n in asked.keys() | there.keys() if asked.get(n) != there.get(n))
        if wrong:
            name = wrong[0]
            raise ValueError(
                f"train: got a state with {there.get(name, 'nothing')} as {name}, expected "
                f"{asked.get(name, 'nothing')} (and {len(wrong) - 1} more that differ): it is of "
                "another model, or another version made it; give another folder, or remove that one"
            )

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Load what is no tensor: numbers, strings, and lists and dicts of them.

        DCP would build any object here; what it gets has been through a loader that does not.
        """
        plain = io.BytesIO()
        torch.save(torch.load(value, weights_only=True), plain)
        plain.seek(0)
        super().load_bytes(read_item, plain)


def _shape(value: Any) -> str:
    """Return what has to fit, in words: a tensor's shape."""
    size = getattr(value, "size", None)
    if size is None:
        return "a value"
    return f"a tensor {list(size() if callable(size) else size)}"


def sha256_of(folder: Folder, name: str) -> str:
    """Return the SHA-256 of a file, read a block at a time.

    Raises:
        FileNotFoundError: There is no such file.
    """
    digest = hashlib.sha256()
    with folder.open(name) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
