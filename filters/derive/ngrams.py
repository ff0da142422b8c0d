"""An n-gram model of a pool's captions, from counts that add up over shards.

P_n(w | h), for the last n - 1 words h before w, mixes what followed h with the model of one word
less (a hierarchical Dirichlet prior, MacKay and Peto 1995):

    P_n(w | h) = (c(h w) + MASS * P_{n-1}(w | h')) / (c(h) + MASS)
    P_1(w) = (c(w) + V * 1 / (V + 1)) / (N + V)

N tokens, V different words, and one more that stands for all words never seen: the share
V / (N + V) of new words is Witten and Bell's. Every P_n sums to 1 over the V + 1. Witten-Bell and
Kneser-Ney for n > 1 need numbers of different followers, which counts of hashes do not give.

A caption may not foresee itself: its own counts are subtracted, of N, V and every c.

Shape letters: S places in the stream of all words, P places that are predicted, K distinct keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from filters.derive.counts import Counts
from filters.derive.grams import LENGTH_BITS, Stream, gram_keys, pairs_of, stream_of
from filters.extract.hashes import words_of

START, END = " start", " end"  # no word holds a space
# Bits per token of openclipart's captions (4,000 pairs, order 3): 4.64 with 1, 4.41 with 5, 4.38
# with 10, 4.41 with 30.
MASS = 10.0
TOKENS = np.zeros(1, np.uint64)  # the key of no word at all; its count is N


@dataclass(frozen=True, slots=True)
class Model:
    """Counts and what follows from all of them.

    Attributes:
        counts: Of runs of words.
        order: Words of the longest run.
        bits: Of a hash in a key.
        tokens: N, all predicted places.
        words: V, different words among them.
    """

    counts: Counts
    order: int
    bits: int
    tokens: int
    words: int

    @classmethod
    def of(cls, counts: Counts, *, order: int, bits: int) -> "Model":
        """Sum up counts."""
        length_K = counts.key_K & np.uint64(2**LENGTH_BITS - 1)
        # Every caption starts, but nothing foresees a start.
        words = int((length_K == 1).sum()) - (order > 1 and len(length_K) > 0)
        return cls(counts, order, bits, int(counts[TOKENS][0]), words)


def count_grams(captions: Sequence[str], *, order: int, bits: int) -> Counts:
    """Count the runs of at most `order` words that end in a word or an end of a caption.

    Runs that end in the start of a caption are counted too: a context occurs as often as what
    follows it, so that c(h) is the count of a run like any other.
    """
    stream = _stream(captions, order)
    keys = gram_keys(stream, order, bits=bits)
    return Counts.of(
        np.concatenate([keys[n][_counted(stream, n, order)] for n in range(order + 1)])
    )


def bits_per_token(
    captions: Sequence[str], model: Model, *, leave_out: bool = True
) -> NDArray[np.float64]:
    """Return the mean of -log2 P over the tokens of each caption; float64 [C].

    Args:
        captions: C captions.
        model: Counts of their pool.
        leave_out: Take a caption's own counts out; False for captions that were not counted.
    """
    chance_P, caption_P = token_probabilities(captions, model, leave_out=leave_out)
    tokens_C = np.bincount(caption_P, minlength=len(captions))
    bits_C = np.bincount(caption_P, -np.log2(chance_P), minlength=len(captions))
    return bits_C / tokens_C


def token_probabilities(
    captions: Sequence[str], model: Model, *, leave_out: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the probability of each token, and whose it is; float64 [P], int64 [P].

    The tokens of a caption are its words and its end. Arguments as of `bits_per_token`.
    """
    order = model.order
    stream = _stream(captions, order)
    place_P = np.flatnonzero(_predicted(stream, order))
    caption_P = stream.caption_S[place_P]
    keys = gram_keys(stream, order, bits=model.bits)
    counts = [
        _others(keys[n], stream, _counted(stream, n, order), model, out=leave_out)
        for n in range(1, order + 1)
    ]
    tokens_P, words_P = np.array(model.tokens), np.array(model.words)
    if leave_out:
        tokens_P, words_P = _rest(keys[1][place_P], counts[0][place_P], caption_P, model)
    mass_P = np.maximum(words_P, 1)  # of words never seen
    chance_P = (counts[0][place_P] + mass_P / (words_P + 1)) / (tokens_P + mass_P)
    for shorter_S, longer_S in pairwise(counts):
        chance_P = (longer_S[place_P] + MASS * chance_P) / (shorter_S[place_P - 1] + MASS)
    return chance_P, caption_P


def _others(
    key_S: NDArray[np.uint64],
    stream: Stream,
    counted_S: NDArray[np.bool_],
    model: Model,
    *,
    out: bool,
) -> NDArray[np.int64]:
    """Return how often others have the run at each counted place, or, not `out`, all; int64 [S]."""
    key_K, at_P, pair_P = pairs_of(key_S[counted_S], stream.caption_S[counted_S])
    count_P = model.counts[key_K][at_P]
    if out:
        _, back_P, own = np.unique(pair_P, return_inverse=True, return_counts=True)
        count_P = np.maximum(count_P - own[back_P], 0)
    others_S = np.zeros(len(key_S), np.int64)
    others_S[counted_S] = count_P
    return others_S


def _rest(
    word_P: NDArray[np.uint64],
    others_P: NDArray[np.int64],
    caption_P: NDArray[np.int64],
    model: Model,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return tokens and different words of all other captions, for each place; int64 [P]."""
    own_C = np.bincount(caption_P)
    key_K, at_P, pair_P = pairs_of(word_P, caption_P)
    alone_P = (others_P == 0) & (model.counts[key_K][at_P] > 0)  # words that no other has
    alone_C = np.bincount(np.unique(pair_P[alone_P]) // len(key_K), minlength=len(own_C))
    return (model.tokens - own_C)[caption_P], (model.words - alone_C)[caption_P]


def _stream(captions: Sequence[str], order: int) -> Stream:
    return stream_of(captions, words_of, before=[START] * (order - 1), after=[END])


def _predicted(stream: Stream, order: int) -> NDArray[np.bool_]:
    return stream.place_S >= order - 1


def _counted(stream: Stream, n: int, order: int) -> NDArray[np.bool_]:
    """Tell where a run of n words ends that is counted: of the starts, only at the last."""
    return _predicted(stream, order if n in {0, order} else order - 1)
