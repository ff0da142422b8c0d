"""One run at a time in a folder: two would write over each other's states and log."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.folder import Folder
from pipeline.staging import local_path
from training.input.open_file import OpenFile
from training.runs.talk import Talk

LOCK = ".lock"


@contextmanager
def alone(out: Folder, talk: Talk) -> Iterator[None]:
    """Keep other runs out of a folder on a disk for a `with` block; all ranks enter it.

    The lock is the operating system's and ends with the process, however that ends. Object stores
    have none: there it is up to whoever starts runs.

    Raises:
        RuntimeError: Another run is at work in it.
    """
    held: list[OpenFile] = []
    talk.once(lambda: held.extend(_locked(out)))
    try:
        yield
    finally:
        held.clear()


def _locked(out: Folder) -> list[OpenFile]:
    path = local_path(out.path(LOCK))
    if path is None:
        return []
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    file = OpenFile(str(path), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RuntimeError(
            f"train: got {out.url}, in which another process trains, expected a folder of its own; "
            "wait for that one, or end it, and start again"
        ) from error
    except OSError:  # a disk without locks
        return []
    return [file]
