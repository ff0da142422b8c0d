"""Captions as runs of hashed words, and the hash of every run of n words, by whole arrays.

Shape letters: C captions, S places in the stream of all their words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from filters.hashing import hash_text, mixed

LENGTH_BITS = 3  # of a key hold n: runs of at most 7 words
LONGEST = 2**LENGTH_BITS - 1
HASH_BITS = 64 - LENGTH_BITS  # and so many the hash


@dataclass(frozen=True, slots=True)
class Stream:
    """The words of C captions, one after the other.

    Attributes:
        word_S: uint64, hash of the word.
        caption_S: int64, whose word it is; ascending.
        place_S: int64, which of the caption's words, from 0.
        length_C: int64, words of each caption.
    """

    word_S: NDArray[np.uint64]
    caption_S: NDArray[np.int64]
    place_S: NDArray[np.int64]
    length_C: NDArray[np.int64]


def stream_of(
    captions: Sequence[str],
    words_of: Callable[[str], list[str]],
    *,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> Stream:
    """Lay the words of captions out in a row.

    Args:
        captions: C captions.
        words_of: Cuts one into words.
        before: Words, or what no caption has for a word, that every caption begins with.
        after: And ends with.
    """
    split = [[*before, *words_of(caption), *after] for caption in captions]
    length_C = np.array([len(words) for words in split], np.int64)
    flat = [word for words in split for word in words]
    known = {word: hash_text(word) for word in dict.fromkeys(flat)}
    start_C = np.cumsum(length_C) - length_C
    caption_S = np.repeat(np.arange(len(split)), length_C)
    return Stream(
        np.array([known[word] for word in flat], np.uint64),
        caption_S,
        np.arange(len(flat)) - start_C[caption_S],
        length_C,
    )


def gram_keys(stream: Stream, longest: int, *, bits: int = HASH_BITS) -> list[NDArray[np.uint64]]:
    """Return the keys of the runs of 0, 1, ... `longest` words that end at each place.

    A key holds the run's length, so that no run of 2 words is mistaken for one of 3. Where a
    caption has fewer than n words up to a place, the key of n means nothing.

    Args:
        stream: The words.
        longest: Words of the longest run, at most 7.
        bits: Of the hash that a key keeps: there are at most (longest + 1) * 2^bits keys. Runs that
            fall on one key are counted as one.

    Returns:
        uint64 [S], for n = 0 to `longest`.
    """
    mask = np.uint64(2**bits - 1)
    chain_S = np.zeros(len(stream.word_S), np.uint64)
    keys = [chain_S]
    for n in range(1, longest + 1):
        earlier_S = np.zeros_like(chain_S)
        if n > 1:
            earlier_S[1:] = chain_S[:-1]
        chain_S = mixed(earlier_S + stream.word_S)
        keys.append((chain_S & mask) << np.uint64(LENGTH_BITS) | np.uint64(n))
    return keys


def pairs_of(
    key_P: NDArray[np.uint64], caption_P: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Number the keys, and the pairs of a caption and a key.

    Returns:
        The distinct keys, uint64 [K], ascending; which of them each of P is, int64 [P]; and the
        number of its pair, caption * K + key, int64 [P].
    """
    key_K, at_P = np.unique(key_P, return_inverse=True)
    return key_K, at_P, caption_P * len(key_K) + at_P
