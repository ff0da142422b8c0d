"""Tennis Rally, a public matrix of votes with labels; `tennis.txt` says where it is from.

Letters: N rows, P patterns, M rules (6), K classes: 0 no rally, 1 rally.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filters.ensemble import Labelled, PatternCounts, count, count_labels


def train_votes() -> NDArray[np.int8]:
    """Return the votes without labels, int8 [6959, 6], equal rows side by side."""
    votes_PM, count_PX = _read()
    return np.repeat(votes_PM, count_PX[:, 0], axis=0)


def train_counts() -> PatternCounts:
    """Count the 6959 rows without labels."""
    return count(train_votes())


def dev_votes() -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Return the 746 rows with labels: votes, int8 [746, 6], and classes, int64 [746]."""
    votes_PM, count_PX = _read()
    votes_NM = np.concatenate([np.repeat(votes_PM, count_PX[:, 1 + k], axis=0) for k in (0, 1)])
    return votes_NM, np.repeat([0, 1], count_PX[:, 1:].sum(axis=0))


def dev_labelled() -> Labelled:
    """Count the 746 rows with labels."""
    return count_labels(*dev_votes())


def _read() -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Return int8 [P, 6], and int64 [P, 3]: training rows, labelled 0, labelled 1."""
    text = Path(__file__).with_suffix(".txt").read_text()
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    votes_PM = np.array([[".-+".index(vote) - 1 for vote in word] for word, *_ in lines], np.int8)
    return votes_PM, np.array([numbers for _, *numbers in lines], np.int64)
