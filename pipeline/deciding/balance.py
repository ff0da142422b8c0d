"""The last step of deciding: pairs whose captions speak of what is spoken of a lot are thinned out.

MetaCLIP (arXiv:2309.16671, `filters/concepts/metaclip.py`): captions of the pairs that are still in
are matched with a list of entries and counted, shard by shard; then each pair has a probability,
and stays if the number that its uid draws is below it. Nothing depends on how the pool is sharded.

Letters: E entries, m pairs of a shard that are still in.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filters.concepts.metaclip import Matcher, metaclip_probability, read_entries, threshold_for
from filters.extract import Column
from filters.extract.base import Values
from filters.hashing import uniform
from pipeline.columns.remaining import ROW, Remaining, reason_column, spread
from pipeline.columns.stages import Place, column_stage
from pipeline.fingerprint import file_digest
from pipeline.schema import Reason
from pipeline.scores import Scores
from pipeline.settings import Balance
from pipeline.tables import uid_words, uids

VERSION = 2  # of what is written for the same settings
PROBABILITY = Column(
    "balance_p", "float32", "", "[0, 1]", "probability with which balancing keeps the pair"
)
TASKS = 4096  # at most: each gives the driver a count of every entry, 4 MB for 500,000
SHARDS = 16  # of a task, at least


def balance(
    remaining: Remaining,
    cfg: Balance,
    *,
    place: Place,
    seed: int,
    weights: Callable[[str], Path],
) -> Remaining:
    """Put out what `cfg` balances away; a pair whose caption has no entry goes, too.

    Beside the tables lies `balance.json`: the threshold, how often entries were found, and the
    entries that were found most.

    Args:
        remaining: What is in so far; anything that puts out pairs afterwards changes the counts.
        cfg: With a file of entries.
        place: Where it is done.
        seed: Of the draws.
        weights: Path by name of a file.

    Raises:
        ValueError: The file is no list of entries.
    """
    path = weights(cfg.metadata)
    digest, reason = file_digest(path), reason_column("balance")
    stage = column_stage(
        remaining.scores, "balance", (PROBABILITY, reason), place=place,
        reads=remaining.scores.columns, version=VERSION, after=remaining.reason, seed=seed,
        entries=digest, threshold=0 if cfg.tail else cfg.threshold, tail=cfg.tail,
    )  # fmt: skip
    if stage.is_whole:
        return Remaining(stage.known(), reason.name)
    work = _Work(remaining, _Entries(digest, tuple(read_entries(path))), seed)
    count_E = _count(work, place)
    threshold = threshold_for(count_E, cfg.tail) if cfg.tail else cfg.threshold
    stage.folder.write("balance.json", _told(work.entries, count_E, threshold))
    return Remaining(stage.fill(_decide, (work, count_E, threshold)), reason.name)


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries, known by the digest of their file."""

    digest: str
    names: tuple[str, ...] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class _Work:
    remaining: Remaining
    entries: _Entries
    seed: int


@lru_cache(maxsize=1)  # a worker does task after task, and building it takes seconds
def _matcher(entries: _Entries) -> Matcher:
    return Matcher(entries.names)


def _count(work: _Work, place: Place) -> NDArray[np.int64]:
    """Return in how many captions each entry is, int64 [E]."""
    shards = range(len(work.remaining.scores))
    size = max(SHARDS, -(-len(shards) // TASKS))
    todo = [shards[at : at + size] for at in range(0, len(shards), size)]
    count_E = np.zeros(len(work.entries.names), np.int64)
    for counted in place.execute.map(_count_some, work, todo, weights={}):
        count_E += counted
    return count_E


def _count_some(
    work: _Work, weights: Mapping[str, Path], shards: Sequence[int]
) -> NDArray[np.int64]:
    del weights
    matcher = _matcher(work.entries)
    count_E = np.zeros(len(work.entries.names), np.int64)
    for shard in shards:
        captions = work.remaining.left(shard, ["caption"]).column("caption").to_pylist()
        _, entry_P = matcher.match(captions)
        count_E += np.bincount(entry_P, minlength=len(count_E))
    return count_E


def _decide(
    shared: tuple[_Work, NDArray[np.int64], int], scores: Scores, shard: int
) -> dict[str, Values]:
    """Return the probability of a shard's pairs, null for those that were out, and the reasons."""
    del scores  # those of `remaining`
    work, count_E, threshold = shared
    table = work.remaining.left(shard, ["uid", "caption"])
    caption_P, entry_P = _matcher(work.entries).match(table.column("caption").to_pylist())
    p_m = metaclip_probability(
        caption_P, entry_P, count_E, captions=len(table), threshold=threshold
    ).astype(np.float32)
    # What is stored decides, so that anyone can see why.
    drawn_m = uniform(uid_words(uids(table)), salt=f"balance:{work.seed}")
    reasons, row_m = work.remaining.reasons(shard), table.column(ROW).to_numpy()
    reasons[row_m[drawn_m >= p_m]] = str(Reason.BALANCE)
    return {
        PROBABILITY.name: spread(p_m, row_m, len(reasons)),
        reason_column("balance").name: reasons.tolist(),
    }


def _told(entries: _Entries, count_E: NDArray[np.int64], threshold: int) -> bytes:
    most_E = np.argsort(-count_E, kind="stable")[:20]
    told = {
        "threshold": threshold,
        "entries": len(count_E),
        "matched": int((count_E > 0).sum()),
        "matches": int(count_E.sum()),
        "most": {entries.names[e]: int(count_E[e]) for e in most_E},
    }
    return json.dumps(told, indent=2, ensure_ascii=False).encode()
