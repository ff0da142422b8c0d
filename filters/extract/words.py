"""Nouns, verbs and adjectives of an English caption, by a dictionary and a few rules.

The dictionary gives each of 94,000 English words the part of speech that it most often is (Brill,
"A simple rule-based part of speech tagger", 1992; the list that ships with TextBlob). What it does
not know is judged by its ending, and a word that is often two things by its neighbours. A word has
one of six kinds, `Kind`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["noun", "verb", "adjective", "determiner", "link", "other"]
Lexicon = Mapping[str, Kind]

WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
KINDS: dict[str, Kind] = {  # Penn Treebank's tags by their first two letters
    "NN": "noun", "VB": "verb", "JJ": "adjective", "DT": "determiner", "CD": "determiner",
    "PR": "other", "IN": "link", "TO": "link", "RB": "link", "RP": "link",
}  # fmt: skip
AUXILIARIES = frozenset((
    "be", "am", "is", "are", "was", "were", "been", "being", "have", "has", "had", "having", "do",
    "does", "did",
))  # fmt: skip
POSSESSIVES = frozenset(("my", "your", "his", "her", "its", "our", "their", "whose"))
# Endings of words that the dictionary does not know; first match.
ENDINGS: tuple[tuple[tuple[str, ...], Kind], ...] = (
    (("ing", "ized", "ised"), "verb"),
    (("ly",), "link"),
    (("ful", "less", "ous", "ish", "able", "ible", "ive", "ical", "esque", "ed"), "adjective"),
)


class Counted(NamedTuple):
    """How many words of a caption are of a kind."""

    nouns: int
    verbs: int
    adjectives: int


def read_lexicon(path: Path) -> dict[str, Kind]:
    """Read lines of a word and its tag; a word is known in lower case.

    Where the list has it in lower case and with a capital, the former is taken: captions capitalise
    every word as they like.
    """
    lower: dict[str, Kind] = {}
    capital: dict[str, Kind] = {}
    for line in path.read_text("utf-8").splitlines():
        word, _, tag = line.partition(" ")
        if line.startswith(";;;") or not tag:
            continue
        name = word.lower()
        (lower if name == word else capital).setdefault(name, KINDS.get(tag[:2], "other"))
    possessive: dict[str, Kind] = dict.fromkeys(POSSESSIVES, "determiner")
    auxiliary: dict[str, Kind] = dict.fromkeys(AUXILIARIES, "other")
    return capital | lower | possessive | auxiliary


def count_words(caption: str, lexicon: Lexicon) -> Counted:
    """Count nouns, verbs (without be, have and do) and adjectives.

    Words in other languages count as nouns, and so do names. Known errors: a noun that is also a
    verb ("a smile" against "they smile") where no neighbour tells, and nouns before nouns ("gold
    ring") that the dictionary calls adjectives.
    """
    kinds = kinds_of(words_in(caption), lexicon)
    return Counted(kinds.count("noun"), kinds.count("verb"), kinds.count("adjective"))


def words_in(caption: str) -> list[str]:
    """Return the words in lower case, compounds and possessives in one piece."""
    return WORD.findall(caption.lower().replace("\u2019", "'"))


def kinds_of(words: Sequence[str], lexicon: Lexicon) -> list[Kind]:
    """Return the kind of each word, in lower case, of one caption."""
    kinds = [_alone(word, lexicon) for word in words]
    for i, word in enumerate(words):
        before = kinds[i - 1] if i else "other"
        after = kinds[i + 1] if i + 1 < len(kinds) else "other"
        kinds[i] = _among(word, kinds[i], before, after, lexicon)
    return kinds


def _alone(word: str, lexicon: Lexicon) -> Kind:
    """Judge a word by the dictionary, else by its ending or its last part, else call it a noun."""
    known = lexicon.get(word)
    if known:
        return known
    if word.endswith("'s"):
        return "noun"
    _, hyphen, last = word.rpartition("-")
    if hyphen:
        return "adjective" if lexicon.get(last) in {"verb", "adjective"} else _alone(last, lexicon)
    if word.endswith("s") and lexicon.get(word[:-1]) == "verb":
        return "verb"
    return next((kind for endings, kind in ENDINGS if word.endswith(endings)), "noun")


def _among(word: str, kind: Kind, before: Kind, after: Kind, lexicon: Lexicon) -> Kind:
    """Correct a word's kind by its neighbours."""
    if kind == "verb" and not word.endswith("ing"):
        if word.endswith(("ed", "en")) and after in {"noun", "adjective"} and before != "noun":
            return "adjective"  # a broken window
        if before in {"determiner", "adjective"}:
            return "adjective" if after == "noun" else "noun"  # the play
    if kind == "noun" and before == "noun" and after in {"determiner", "link"}:
        return "verb" if _is_verb(_stem(word), lexicon) else kind  # a man rides a horse
    return kind


def _stem(word: str) -> str:
    for ending in ("ing", "s"):
        if word.endswith(ending):
            return word.removesuffix(ending)
    return ""


def _is_verb(stem: str, lexicon: Lexicon) -> bool:
    return any(lexicon.get(form) == "verb" for form in (stem, f"{stem}e", stem[:-1]) if stem)
