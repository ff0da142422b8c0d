"""Settings of what is shown: which pairs, in what order, how augmented, by how many workers."""

import math
from dataclasses import dataclass

from training.config.rule import require


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One of several subsets that a run mixes.

    Attributes:
        subset: A `subset.npy`, by path or any fsspec URL; its uids lie in the config's shards.
        share: Of the samples seen; shares are divided by their sum.
    """

    subset: str
    share: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a source that is never shown."""
        require("mix.share", self.share, "above 0, finite", 0 < self.share < math.inf)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """Which pairs are shown, and how often.

    Attributes:
        subset: A `subset.npy` to train on; `""` takes the one this run curates. Pairs that are in
            it several times are shown as often an epoch.
        mix: Several subsets in given shares, instead of one.
        weight: Column of the score tables by which pairs are shown more or less often (1 is once
            an epoch, 0.5 every other); `""` shows each once.
        captions: Columns of the score tables that hold captions; of several, one is drawn for each
            showing, or all are shown (`every`).
        every: Show all captions of a pair at once, each of them a positive.
    """

    subset: str = ""
    mix: tuple[Source, ...] = ()
    weight: str = ""
    captions: tuple[str, ...] = ("caption",)
    every: bool = False

    def __post_init__(self) -> None:
        """Refuse pairs without a caption, and two ways to name a subset."""
        names = self.captions
        require("sampling.captions", names, "at least one column, each once",
                0 < len(names) == len(set(names)))  # fmt: skip
        both = bool(self.subset and self.mix)
        require("sampling.subset", self.subset, "to be empty beside sampling.mix", not both)


@dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    """Random crop of a share of the picture's area, resized to the model's side, maybe mirrored.

    Attributes:
        min_area: Smallest share of the area a crop keeps, in (0, 1]; the largest is 1.
        max_aspect: Crops have an aspect ratio in [1 / max_aspect, max_aspect].
        flip: Probability of mirroring left to right. Captions that say "left" then lie.
    """

    min_area: float = 0.5
    max_aspect: float = 4 / 3
    flip: float = 0.5

    def __post_init__(self) -> None:
        """Refuse shares and probabilities out of range."""
        require("augment.min_area", self.min_area, "in (0, 1]", 0 < self.min_area <= 1)
        aspect = self.max_aspect
        require("augment.max_aspect", aspect, "at least 1, finite", 1 <= aspect < math.inf)
        require("augment.flip", self.flip, "in [0, 1]", 0 <= self.flip <= 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loader:
    """How batches are made ready; changes speed and memory, never a batch.

    Attributes:
        workers: Processes of a rank that decode; 0 decodes in threads of the rank's own process.
        threads: Of each worker, or of the rank.
        prefetch: Batches kept ready or in work ahead of the model.
        reads: Requests in flight to stores, of each worker, or of the rank.
        cache_bytes: Bound on decoded pictures kept in memory; needs `workers = 0`.
        spool: Local folder in which encoded pictures of remote shards are kept for the next
            epoch; `""` keeps none.
        spool_bytes: Its bound.
    """

    workers: int = 0
    threads: int = 2
    prefetch: int = 4
    reads: int = 16
    cache_bytes: int = 2**30
    spool: str = ""
    spool_bytes: int = 2**40

    def __post_init__(self) -> None:
        """Refuse a loader that could make no batch."""
        for name in ("workers", "cache_bytes", "spool_bytes"):
            value = getattr(self, name)
            require(f"loader.{name}", value, "at least 0", value >= 0)
        for name in ("threads", "prefetch", "reads"):
            value = getattr(self, name)
            require(f"loader.{name}", value, "at least 1", value >= 1)
