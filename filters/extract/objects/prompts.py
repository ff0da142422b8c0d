"""What a zero-shot detector is asked, and which phrases its answers are about.

Shape letters: n boxes of a picture, P phrases of its caption.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from filters.extract.objects.phrase_words import MODIFIERS


def prompt_of(caption: str) -> str:
    """Return a caption as Grounding DINO wants it: lower case, ending with a dot.

    >>> prompt_of(" A red Kite")
    'a red kite.'
    """
    text = " ".join(caption.lower().split())
    return text if text.endswith(".") else f"{text}."


def padded(lists: Sequence[Sequence[str]]) -> list[list[str]]:
    """Make lists of phrases, none of them empty, equally long by repeating their first.

    >>> padded([["kite", "sky"], ["dog"]])
    [['kite', 'sky'], ['dog', 'dog']]
    """
    longest = max(len(each) for each in lists)
    return [[*each, *[each[0]] * (longest - len(each))] for each in lists]


def named(labels: Sequence[str], phrases: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each label has a word of each phrase, modifiers aside; bool [n, P].

    >>> named(["red kite", "red"], ["red kite", "red car"]).tolist()
    [[True, False], [False, False]]
    """
    wanted = [set(_words(phrase)) - MODIFIERS for phrase in phrases]
    found = [[not want.isdisjoint(_words(label)) for want in wanted] for label in labels]
    return np.array(found, bool).reshape(len(labels), len(phrases))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())
