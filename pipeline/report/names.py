"""What a concept is called: the words that set its captions apart from all others."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np

WORD = re.compile(r"[^\W\d_]{3,}")
WORDS = 3  # in a name


def names_of(
    captions: Iterable[str | None], concepts: Iterable[int], *, wanted: Collection[int]
) -> Mapping[int, str]:
    """Name concepts by words of the highest class-based TF-IDF (Grootendorst, arXiv:2203.05794).

    A word weighs tf log(1 + A / f): tf of the concept's captions have it, f of all, and A is the
    mean number of different words of a concept's captions. Ties go by the alphabet.

    Args:
        captions: Of N pairs.
        concepts: Of the same pairs; below 0 is none.
        wanted: Concepts to name.
    """
    of_concept: dict[int, Counter[str]] = {}
    for caption, concept in zip(captions, concepts, strict=True):
        if concept >= 0 and caption:
            words = {word.lower() for word in WORD.findall(caption)}
            of_concept.setdefault(concept, Counter()).update(words)
    of_all: Counter[str] = Counter()
    for counted in of_concept.values():
        of_all.update(counted)
    mean = of_all.total() / max(len(of_concept), 1)
    return {c: _name(of_concept.get(c, Counter()), of_all, mean) for c in wanted}


def _name(counted: Counter[str], of_all: Counter[str], mean: float) -> str:
    weight = {word: tf * float(np.log1p(mean / of_all[word])) for word, tf in counted.items()}
    return ", ".join(sorted(weight, key=lambda word: (-weight[word], word))[:WORDS])
