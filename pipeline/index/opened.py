"""An index that lies somewhere, as pairs; one in an object store is fetched first."""

import json
from pathlib import Path

import numpy as np

from pipeline.folder import Folder
from pipeline.index.parts import Parts, Strings
from pipeline.pairs import Pairs
from pipeline.staging import local_path
from pipeline.weights import fetched_model

ABOUT = "index.json"  # the last file of an index
SHARDS = "shards.arrow"


def part_name(number: int) -> str:
    """Return the file of a partition."""
    return f"part-{number:05}.arrow"


def open_index(folder: Folder) -> Pairs:
    """Return the pairs of an index; nothing is read but what it is.

    Raises:
        ValueError: There is none.
    """
    if not folder.exists(ABOUT):
        raise ValueError(f"index: got {folder.url}, expected a folder with {ABOUT}; build it first")
    home = fetched_model(folder.url).absolute()
    about = json.loads((home / ABOUT).read_text(encoding="utf-8"))
    shards = Parts((str(home / SHARDS),), np.array([0, about["shards"]]))
    here = local_path(folder.url)
    return Pairs(
        Strings(shards, "shard"),
        _parts(home, about["parts"]),
        home=str(home),
        known_digest=about["digest"],
        url=folder.url if here is None else str(here.absolute()),
    )


def _parts(home: Path, parts: list[tuple[str, int]]) -> Parts:
    names, rows = zip(*parts, strict=True)
    start_P = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    return Parts(tuple(str(home / name) for name in names), start_P)
