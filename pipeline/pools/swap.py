"""Captions exchanged among pairs so that every one of them is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIXING = 20  # random exchanges tried per pair


@dataclass(frozen=True, slots=True)
class Captioned:
    """A caption and the category of its picture; `""` where there is none."""

    caption: str
    category: str


def exchange(pairs: Sequence[Captioned], rng: np.random.Generator) -> list[int | None]:
    """Give every pair the caption of one of another category and with other words.

    Sorted by category and rotated by half, no pair keeps its category if none has more than half of
    the pairs; random exchanges of donors that spoil nothing then make the assignment a random one.

    Args:
        pairs: In random order.
        rng: Draws the exchanges.

    Returns:
        For each pair the position of its donor, each position once; None for a pair for which no
        fitting donor was found, which keeps its own caption.
    """
    count = len(pairs)
    if count < 2:  # noqa: PLR2004  nobody to exchange with
        return [None] * count
    by_category = sorted(range(count), key=lambda i: pairs[i].category)
    donors = [0] * count
    for place, i in enumerate(by_category):
        donors[i] = by_category[(place + count // 2) % count]

    def fits(i: int, donor: int) -> bool:
        return is_wrong(pairs[i], pairs[donor])

    for _ in range(MIXING):
        for i, j in enumerate(rng.integers(count, size=count)):
            before = fits(i, donors[i]) + fits(j, donors[j])
            if fits(i, donors[j]) + fits(j, donors[i]) >= before:
                donors[i], donors[j] = donors[j], donors[i]
    return [donor if fits(i, donor) else None for i, donor in enumerate(donors)]


def is_wrong(pair: Captioned, donor: Captioned) -> bool:
    """Tell whether the donor's caption is wrong for the pair, as far as can be known."""
    if pair.category and pair.category == donor.category:
        return False
    return pair.caption.casefold() != donor.caption.casefold()
