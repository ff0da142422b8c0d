"""`pool.json`: what a pool was built from and how, and whether it can be used again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.folder import Folder

NAME = "pool.json"
TRUTH_NAME = "truth.parquet"
FORMAT = 3  # raised when the same settings give other shards


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a pool is asked to be.

    Attributes:
        source: `openclipart`, `tuxpaint`, `hf:<dataset>`, or a folder or glob of shards.
        locales: Languages of the captions, where the source has several.
        limit: Pairs in the pool; None for all there are.
        heldout_share: Share of pictures that may be held out.
        shard_size: Pairs per shard.
        plant: Seed of planted trouble; None plants nothing.
        seed: Salt of the split.
    """

    source: str
    locales: tuple[str, ...] = ("en",)
    limit: int | None = None
    heldout_share: float = 0.2
    shard_size: int = 500
    plant: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: One is out of its range.
        """
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit: got {self.limit}, expected at least 1; leave it out for all")
        if not 0 <= self.heldout_share < 1:
            raise ValueError(f"held-out share: got {self.heldout_share}, expected [0, 1)")
        if self.shard_size < 1:
            raise ValueError(f"shard size: got {self.shard_size}, expected at least 1 pair")
        if self.plant is not None and self.plant < 0:
            raise ValueError(f"plant: got {self.plant}, expected a seed of 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolManifest:
    """What was built.

    Attributes:
        root: Folder that holds the pool.
        settings: What was asked for.
        versions: Version of every part of the source.
        pairs: Number of pairs by split (`pool`, `heldout`).
        left_out: Items in neither split, by reason; skipped entries of the source among them.
        planted: Pairs by kind of trouble; empty when nothing was planted.
        shards: SHA-256 by path relative to `root`.
    """

    root: Folder
    settings: Settings
    versions: Mapping[str, str]
    pairs: Mapping[str, int]
    left_out: Mapping[str, int]
    planted: Mapping[str, int] = field(default_factory=dict)
    shards: Mapping[str, str] = field(default_factory=dict)

    @property
    def pool(self) -> str:
        """Return the folder of the pool's shards."""
        return (self.root / "pool").url

    @property
    def heldout(self) -> str:
        """Return the folder of the held-out shards."""
        return (self.root / "heldout").url

    @property
    def truth(self) -> str:
        """Return the file with planted trouble, or an empty string."""
        return self.root.path(TRUTH_NAME) if self.planted else ""

    def write(self, folder: Path) -> None:
        """Write `pool.json` into a folder."""
        document = {"format": FORMAT} | {k: v for k, v in asdict(self).items() if k != "root"}
        (folder / NAME).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_manifest(root: Folder) -> PoolManifest | None:
    """Return the manifest of a finished pool of this format; None where there is none."""
    try:
        document: dict[str, Any] = json.loads(root.read(NAME))
        if document.pop("format") != FORMAT:
            return None
        settings = document.pop("settings")
        settings["locales"] = tuple(settings["locales"])
        return PoolManifest(root=root, settings=Settings(**settings), **document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def reusable(root: Folder, settings: Settings, versions: Mapping[str, str]) -> PoolManifest | None:
    """Return the pool in `root` if it is what would be built now.

    Args:
        root: Folder that may hold a pool.
        settings: What is asked for.
        versions: Of the source's parts, as far as they are known; unknown ones count as equal.
    """
    found = read_manifest(root)
    if found is None or found.settings != settings:
        return None
    if any(found.versions.get(part) != version for part, version in versions.items()):
        return None
    there = set(root.files())
    wanted = {*found.shards, *([TRUTH_NAME] if found.planted else [])}
    return found if wanted <= there else None
