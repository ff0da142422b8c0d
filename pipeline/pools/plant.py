"""Labelled trouble: pairs of a pool made bad in known ways, so that finding them can be measured.

Every choice follows from the seed. A pair has one kind of trouble at most, and the original of a
planted copy stays clean.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pipeline.pools.entry import Entry, Kind, untouched
from pipeline.pools.near_copies import first_near
from pipeline.pools.split import Seen
from pipeline.pools.spoil import spoil
from pipeline.pools.swap import Captioned, exchange

logger = logging.getLogger(__name__)

# Shares of the pool. Swapped captions are the trouble that only a learned score can find: enough of
# them for an AUC with a standard error near 0.01 on 4,000 pairs. The others are what simple rules
# find: 3 % give a detection rate to within 5 points, 2 % where one rule does or does not fire.
SHARES = {
    Kind.SWAPPED: 0.08,
    Kind.EXACT_COPY: 0.03,
    Kind.RESIZED_COPY: 0.03,
    Kind.TEXT_ONLY: 0.03,
    Kind.TINY: 0.02,
    Kind.FOREIGN: 0.03,
    Kind.BOILERPLATE: 0.03,
    Kind.CORRUPT: 0.02,
}
COPIES = (Kind.EXACT_COPY, Kind.RESIZED_COPY)  # they add pairs, the others change one
RESIZABLE_SIDE, RESIZABLE_PIXELS = 80, 16_000_000  # smaller ones would come out tiny


def originals_for(limit: int) -> int:
    """Return how many pairs to plant in so that pool and planted copies make `limit` pairs."""
    return limit - sum(round(SHARES[kind] * limit) for kind in COPIES)


def add_trouble(pool: Sequence[Seen], *, seed: int) -> list[Entry]:
    """Return the pool's entries with trouble among them, planted copies at the end."""
    total = round(len(pool) / (1 - sum(SHARES[kind] for kind in COPIES)))
    entries = {one.item.uid: untouched(one) for one in pool}
    free = _Free([pool[i] for i in np.random.default_rng(seed).permutation(len(pool))])
    copies: list[Entry] = []
    for kind, share in SHARES.items():
        wanted = round(share * total)
        chosen = free.take(wanted, _suitable(kind, wanted))
        if len(chosen) < wanted:
            logger.warning("plant: got %d pairs fit for %s, wanted %d", len(chosen), kind, wanted)
        for entry in _spoil_all(kind, chosen, seed):
            if kind in COPIES:
                copies.append(entry)
            else:
                entries[entry.uid] = entry
    return [*name_natural_copies(list(entries.values())), *copies]


def name_natural_copies(entries: Sequence[Entry]) -> list[Entry]:
    """Tell pairs that are like an earlier one by nature from clean ones.

    Nothing was done to either, but a measure of how many good pairs are lost must not count a
    thousand drawings of one star as a thousand losses.
    """
    marked = list(entries)
    at = [i for i, e in enumerate(entries) if e.kind is Kind.CLEAN and e.look.phash is not None]
    first = first_near(np.array([entries[i].look.phash for i in at], np.uint64))
    for i, earlier in zip(at, first, strict=True):
        if earlier >= 0:
            twin = entries[at[earlier]].uid
            marked[i] = replace(entries[i], kind=Kind.NATURAL_COPY, twin=twin)
    return marked


class _Free:
    """Pairs in random order that have no kind yet."""

    def __init__(self, pairs: Sequence[Seen]) -> None:
        self._pairs = list(pairs)

    def take(self, count: int, suitable: Callable[[Seen], bool]) -> list[Seen]:
        """Remove and return the first `count` suitable pairs, or as many as there are."""
        taken: list[Seen] = []
        left: list[Seen] = []
        for one in self._pairs:
            fits = len(taken) < count and suitable(one)
            (taken if fits else left).append(one)
        self._pairs = left
        return taken


def _suitable(kind: Kind, wanted: int) -> Callable[[Seen], bool]:
    """Return the test whether a pair can get a kind of trouble; swaps need a mix of categories."""
    taken: Counter[str] = Counter()

    def mixed(one: Seen) -> bool:
        if not decodable(one):
            return False
        category = one.item.category
        taken[category] += 1
        return not category or taken[category] <= wanted // 2

    def resizable(one: Seen) -> bool:
        side, pixels = min(one.look.width, one.look.height), one.look.width * one.look.height
        return decodable(one) and side >= RESIZABLE_SIDE and pixels <= RESIZABLE_PIXELS

    def decodable(one: Seen) -> bool:
        return one.look.phash is not None

    if kind is Kind.SWAPPED:
        return mixed
    return resizable if kind in {Kind.RESIZED_COPY, Kind.TINY} else decodable


def _spoil_all(kind: Kind, chosen: Sequence[Seen], seed: int) -> list[Entry]:
    if kind is Kind.SWAPPED:
        pairs = [Captioned(one.item.caption, one.item.category) for one in chosen]
        donors = exchange(pairs, np.random.default_rng([seed, len(chosen)]))
        return [
            replace(untouched(one), caption=chosen[donor].item.caption, kind=kind)
            for one, donor in zip(chosen, donors, strict=True)
            if donor is not None
        ]
    return [spoil(untouched(one), kind, seed=seed) for one in chosen]
