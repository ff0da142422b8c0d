"""Captions by what they speak of: matched with a list of entries, thinned out where they are many.

Xu et al., "Demystifying CLIP Data" (arXiv:2309.16671). Balancing comes last, as whatever is dropped
afterwards changes the counts.

Letters: N captions, E entries, P pairs of a caption and an entry that is in it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WRAPPED = (",", ".", ";", ":", "?", "!", "`")  # spaces are put around these, as the authors do
SPACES = ("\t", "\n", "\r")  # and these become spaces


class Matcher:
    """Finds every entry in every caption, whatever the number of entries (Aho-Corasick).

    An entry is in a caption if it stands there between spaces, after the caption was padded with
    spaces and its punctuation set apart. Case counts, overlapping entries all count, each once a
    caption. An entry in which one of `, . ; : ? !` or a backtick touches a letter is in none.

    500,000 entries take 0.3 GB.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        """Build the automaton.

        Args:
            entries: E texts; what is in a caption is told by position. None is empty.
        """
        from ahocorasick_rs import AhoCorasick, MatchKind

        self._automaton = AhoCorasick(
            [f" {entry} " for entry in entries],
            matchkind=MatchKind.Standard,  # the one kind that tells overlapping ones
            store_patterns=False,
        )

    def match(self, captions: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the caption and the entry of each match, in order of both; [P], [P]."""
        counts = np.zeros(len(captions), np.int64)
        entries: list[int] = []
        for at, caption in enumerate(captions):
            found = self._automaton.find_matches_as_indexes(spaced(caption), overlapping=True)
            distinct = sorted({entry for entry, _, _ in found})
            counts[at] = len(distinct)
            entries += distinct
        return np.repeat(np.arange(len(captions)), counts), np.array(entries, np.int32)


def spaced(caption: str) -> str:
    """Pad a caption with spaces and set its punctuation apart.

    >>> spaced("A dog, a cat!")
    ' A dog ,  a cat !  '
    """
    caption = f" {caption} "
    for mark in WRAPPED:
        if mark in caption:
            caption = caption.replace(mark, f" {mark} ")
    for space in SPACES:
        caption = caption.replace(space, " ")
    return caption


def read_entries(path: Path) -> list[str]:
    """Read a list of entries: one a line, or a JSON list, such as MetaCLIP's metadata.json.

    Returns:
        Each entry once, in order, the empty ones left out.

    Raises:
        ValueError: The file cannot be read, is no such list, or holds no entry.
    """
    try:
        text = path.read_text(encoding="utf-8")
        is_json = path.suffix == ".json"
        found = json.loads(text) if is_json else [line.strip() for line in text.split("\n")]
    except (OSError, ValueError) as error:
        raise ValueError(
            f"entries: got {path}, expected UTF-8 text with an entry a line, or a JSON list of "
            f"texts; correct the file ({error})"
        ) from error
    wrong = not isinstance(found, list) or not all(isinstance(entry, str) for entry in found)
    entries = [] if wrong else list(dict.fromkeys(entry for entry in found if entry))
    if not entries:
        raise ValueError(
            f"entries: got {path} without any, expected an entry a line, or a JSON list of texts; "
            "correct the file"
        )
    return entries


def metaclip_probability(
    caption_P: NDArray[np.int64],
    entry_P: NDArray[np.int32],
    count_E: NDArray[np.int64],
    *,
    captions: int,
    threshold: float,
) -> NDArray[np.float64]:
    """Return with which probability each caption is kept, float64 [N] in [0, 1].

    Each entry in it fires with the probability min(1, threshold / count), and the caption is kept
    if any does: 1 - prod(1 - p), the closed form of the authors' loop over draws. The product is a
    sum of logarithms, so that it is right to the last bits for small p, too.

    Args:
        caption_P: Caption of each match, in [0, N).
        entry_P: Entry of each match.
        count_E: Captions of the whole pool in which each entry is.
        captions: N; a caption without a match has the probability 0.
        threshold: t in the paper: 20,000 for its 400 million pairs, 170,000 for its 2.5 billion.
    """
    fires_P = np.minimum(1.0, threshold / np.maximum(count_E[entry_P], 1))
    with np.errstate(divide="ignore"):  # an entry that always fires
        silent_P = np.log1p(-fires_P)
    return 0.0 - np.expm1(np.bincount(caption_P, weights=silent_P, minlength=captions))


def threshold_for(count_E: NDArray[np.int64], tail: float) -> int:
    """Return the threshold below which a share of all matches lies, at least 1.

    MetaCLIP 2 (arXiv:2507.22062) takes the share of English and finds each language's threshold
    from it. Matches of entries whose count is below the threshold make at most the share `tail` of
    all; with a threshold that is one higher they would make more.

    Args:
        count_E: Captions in which each entry is.
        tail: In [0, 1).
    """
    count_K, entries_K = np.unique(count_E[count_E > 0], return_counts=True)
    matches_K = np.cumsum(count_K * entries_K)
    if not len(matches_K):
        return 1
    first = int(np.searchsorted(matches_K, tail * matches_K[-1], side="right"))
    return int(count_K[min(first, len(count_K) - 1)])
