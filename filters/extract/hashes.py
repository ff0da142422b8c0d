"""What tells that two captions are the same, or nearly: a normal form, its hash, its MinHash."""

import hashlib
import unicodedata
from itertools import pairwise

LONGEST_READ = 4096  # characters; a caption may be megabytes
HASHES = 64  # of a MinHash: a Jaccard similarity to within 0.06 (one standard error)
SEED = 1
# Scripts without spaces between words (kana, Han): each character is a word.
UNSPACED = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x3FFFF))


class _Folding(dict[int, str | None]):
    r"""For `str.translate`: punctuation, space and controls become a space, invisible ones go.

    By category and not by `\W`, which would cut the vowel signs of Indic scripts out of words.
    """

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        category = unicodedata.category(character)
        if any(first <= code <= last for first, last in UNSPACED):
            folded = f" {character} "
        elif category == "Cf":
            folded = None
        else:
            folded = " " if category[0] in "PZC" else character
        self[code] = folded
        return folded


_FOLDING = _Folding()


def words_of(caption: str) -> list[str]:
    """Return the words of a caption's first characters in their normal form.

    Compatible characters are one (NFKC), so are cases; punctuation and space only part words.

    >>> words_of("Ein  GRO\u00dfER, roter Hund!")
    ['ein', 'grosser', 'roter', 'hund']
    """
    folded = unicodedata.normalize("NFKC", caption[:LONGEST_READ]).casefold()
    return unicodedata.normalize("NFKC", folded).translate(_FOLDING).split()


def text_hash(words: list[str]) -> int:
    """Return the hash of a caption's words, equal for captions with one normal form; uint64."""
    digest = hashlib.blake2b(" ".join(words).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def shingles(words: list[str]) -> list[str]:
    """Return the pairs of adjacent words, the first and the last one with an end of the caption.

    w words make w + 1 pairs, so that a caption of one word has some too.
    """
    padded = ["", *words, ""]
    return [f"{a} {b}" for a, b in pairwise(padded)]


def minhash(words: list[str]) -> list[int]:
    """Return the MinHash of the shingles; HASHES numbers below 2^32.

    Two captions agree at a position with the probability that is the Jaccard similarity of their
    sets of shingles (Broder, "On the resemblance and containment of documents", 1997).
    """
    from rensa import RMinHash  # pyrefly: ignore[missing-module-attribute] -- it has no stubs

    signature = RMinHash(num_perm=HASHES, seed=SEED)
    signature.update(shingles(words))
    return signature.digest()
