"""Which phrases of an English caption may name things in the picture: no tagger, word lists.

A phrase is a run of words between punctuation, numbers and function words. What a tagger would
know, endings and lists stand for:

1. Captions that look like another language than English give no phrase at all (`looks_english`).
2. Function words, verbs that captions live on ("sits", "holding"), words for the medium ("photo",
   "clipart"), adverbs in -ly, single letters and whatever has a digit end a run.
3. A word in -ing ends a run that has begun ("boy | flying | kite"), stays in front of the word it
   describes ("sleeping cat"), and names nothing by itself; "building" and its like are listed.
   A word in -ed names nothing at the end of a run ("car parked").
4. A run of modifiers alone ("red", "very small") names nothing.
5. A run of more than `LONGEST_RUN` words is a list of keywords: each word is a phrase.
"""

import re
from collections.abc import Iterator

from filters.extract.base import Batch
from filters.extract.objects.phrase_words import (
    ENGLISH,
    ENGLISH_ONLY,
    FOREIGN,
    MODIFIERS,
    NAMING_IN_ED,
    NAMING_IN_ING,
    NAMING_IN_LY,
)

LONGEST_READ = 2048  # characters of a caption
LONGEST_RUN = 3  # words of a phrase
MOST = 32  # phrases of a caption
SHORTEST = 3  # letters of a word, but for "tv" and its like
SHORT = frozenset({"tv", "pc", "ox", "ax", "pi", "pie"})

_TOKEN = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")
_PLAIN = re.compile(r"[a-z]+(?:-[a-z]+)*")
_POSSESSIVE = re.compile(r"['\u2019]s?$")


def phrases_of(batch: Batch) -> list[tuple[str, ...]]:
    """Return the phrases of each of B captions; found once for all extractors."""
    return batch.once("phrases", lambda: [phrases(caption) for caption in batch.captions])


def phrases(caption: str) -> tuple[str, ...]:
    """Return the distinct phrases of a caption that may name things, lower case, in order.

    >>> phrases("A red kite, two old boats and 30 people flying kites on the beach.")
    ('red kite', 'old boats', 'people', 'kites', 'beach')
    >>> phrases("ein roter Drachen auf der Wiese")
    ()
    """
    words = _words(caption)
    if not looks_english(words):
        return ()
    found = dict.fromkeys(phrase for run in _runs(words) for phrase in _phrases(run))
    return tuple(found)[:MOST]


def looks_english(words: list[str]) -> bool:
    """Whether function words and letters speak for English rather than against it.

    For: function words that only English has. Against: those of twenty other languages, and words
    with a letter beyond a to z. One doubt is enough where nothing speaks for it.
    """
    against = sum(word in FOREIGN or _is_foreign(word) for word in words)
    return against == 0 or against < sum(word in ENGLISH_ONLY for word in words)


def _is_foreign(word: str) -> bool:
    return not word.isascii() and any(c.isalpha() for c in word)


def _words(caption: str) -> list[str]:
    """Split into lower-case words and punctuation marks, possessives taken off."""
    text = caption[:LONGEST_READ].lower().replace("_", " ")
    return [_POSSESSIVE.sub("", token) or token for token in _TOKEN.findall(text)]


def _runs(words: list[str]) -> Iterator[list[str]]:
    """Yield runs of words of which none ends a run."""
    run: list[str] = []
    for word in words:
        if _ends_run(word) or (run and _is_verb(word)):
            yield run
            run = []
        else:
            run.append(word)
    yield run


def _ends_run(word: str) -> bool:
    return (
        not _PLAIN.fullmatch(word)
        or word in ENGLISH
        or (len(word) < SHORTEST and word not in SHORT)
        or (word.endswith("ly") and word not in NAMING_IN_LY)
    )


def _is_verb(word: str) -> bool:
    return word.endswith("ing") and word not in NAMING_IN_ING


def _is_past(word: str) -> bool:
    return word.endswith("ed") and word not in NAMING_IN_ED


def _phrases(run: list[str]) -> Iterator[str]:
    """Yield what a run names: itself, or each of its words."""
    while run and (_is_verb(run[-1]) or _is_past(run[-1])):
        run = run[:-1]
    if len(run) > LONGEST_RUN:
        yield from (w for w in run if w not in MODIFIERS and not _is_verb(w) and not _is_past(w))
    elif any(word not in MODIFIERS for word in run):
        yield " ".join(run)
