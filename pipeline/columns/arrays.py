"""Named arrays as one file: whole or not at all, without pickle."""

import io
from collections.abc import Callable, Mapping
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pipeline.folder import Folder


def kept_arrays(
    folder: Folder, name: str, make: Callable[[], Mapping[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Return arrays that lie in a folder; they are made, if they do not yet.

    Raises:
        ValueError: What lies there is damaged.
    """
    if not folder.exists(name):
        write_arrays(folder, name, make())
    return read_arrays(folder, name)


def write_arrays(folder: Folder, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Publish arrays as an .npz file whose bytes depend on them alone."""
    with folder.open_write(name) as file:
        np.savez(file, allow_pickle=False, **dict(arrays))


def read_arrays(folder: Folder, name: str) -> dict[str, NDArray[Any]]:
    """Return what `write_arrays` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged.
    """
    data = folder.read(name)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            return dict(held)
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"arrays: got {folder.path(name)}, expected an .npz file that can be read; delete it "
            f"to have it made again ({error})"
        ) from error
