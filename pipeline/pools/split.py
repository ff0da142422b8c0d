"""Which items are held out for evaluation, which make the pool, and which neither.

The side is a hash of the picture's uid, so it does not change when items come or go. Held-out
items have pictures and captions unlike each other's, or retrieval among them would be a lottery
(openclipart has 1,375 much alike stars, all titled "gramastar"); the pool stays as it comes.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.pools.item import Item
from pipeline.pools.looks import Look
from pipeline.pools.near_copies import count_near, first_of_each

WHOLE = 2**64
# Near-copies that a held-out picture may push out of the pool. One with more belongs to a family
# (the stars, the playing cards) that is worth more as the pool's mess than as an example to test.
MOST_COPIES = 10


@dataclass(frozen=True, slots=True)
class Seen:
    """An item and what its picture looks like."""

    item: Item
    look: Look


@dataclass(frozen=True, slots=True)
class Split:
    """Both sides, in the order of their hashes, and how many were left out, by reason."""

    pool: tuple[Seen, ...]
    heldout: tuple[Seen, ...]
    left_out: Mapping[str, int]


def split(
    seen: Iterable[Seen], *, heldout_share: float, seed: int, limit: int | None = None
) -> Split:
    """Split items.

    Args:
        seen: The items of a source.
        heldout_share: Share of pictures that may be held out, in [0, 1).
        seed: Salt of the hash.
        limit: Size of the pool: the items with the smallest hashes; None takes all.
    """
    left_out: Counter[str] = Counter()
    heldout: list[Seen] = []
    pool: list[Seen] = []
    for rank, one in sorted(
        ((rank_of(one.item.picture_uid, seed), one) for one in seen),
        key=lambda pair: (pair[0], pair[1].item.uid),
    ):
        (heldout if rank < heldout_share * WHOLE else pool).append(one)
    heldout = _rare(_distinct(heldout, left_out), pool, left_out)
    pool = _unlike(pool, heldout, left_out)
    if limit is not None and len(pool) > limit:
        left_out["beyond_limit"] = len(pool) - limit
        pool = pool[:limit]
    return Split(tuple(pool), tuple(heldout), dict(left_out))


def rank_of(uid: bytes, seed: int) -> int:
    """Return a uniform 64-bit number that depends on uid and seed only."""
    salt = seed.to_bytes(8, "big", signed=True)
    return int.from_bytes(hashlib.blake2b(uid, digest_size=8, salt=salt).digest(), "big")


def _distinct(heldout: Sequence[Seen], left_out: Counter[str]) -> list[Seen]:
    """Keep decodable pictures, one of each group of near-copies, one of each caption."""
    visible = [one for one in heldout if one.look.phash is not None]
    left_out["heldout_without_hash"] = len(heldout) - len(visible)
    unlike = [
        one for one, keep in zip(visible, first_of_each(_hashes(visible)), strict=True) if keep
    ]
    left_out["near_copy_in_heldout"] = len(visible) - len(unlike)
    by_caption = {one.item.caption.casefold(): one for one in reversed(unlike)}
    left_out["repeated_caption_in_heldout"] = len(unlike) - len(by_caption)
    return [one for one in unlike if by_caption[one.item.caption.casefold()] is one]


def _rare(heldout: Sequence[Seen], pool: Sequence[Seen], left_out: Counter[str]) -> list[Seen]:
    copies = count_near(_hashes(heldout), _hashes(pool))
    rare = [one for one, count in zip(heldout, copies, strict=True) if count <= MOST_COPIES]
    left_out["heldout_of_a_large_family"] = len(heldout) - len(rare)
    return rare


def _unlike(pool: Sequence[Seen], heldout: Sequence[Seen], left_out: Counter[str]) -> list[Seen]:
    """Drop near-copies of held-out pictures; what has no hash stays (it is the pool's mess)."""
    near = iter(count_near(_hashes(pool), _hashes(heldout)))
    kept = [one for one in pool if one.look.phash is None or not next(near)]
    left_out["near_copy_of_heldout"] = len(pool) - len(kept)
    return kept


def _hashes(seen: Sequence[Seen]) -> NDArray[np.uint64]:
    return np.array([one.look.phash for one in seen if one.look.phash is not None], np.uint64)
