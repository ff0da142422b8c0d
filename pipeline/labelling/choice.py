"""Which pairs are shown: half of them at random, half where the rules are least sure.

Both halves depend on the decisions, the count and the seed alone:

- random: the first by a keyed hash of the uid, so every pair is as likely as every other. Shares
  among them (the prior, accuracies) hold for the pool, and a larger count adds to them.
- uncertain: of the rest, in turn the pair whose p(keep) is nearest to the cut, and the one on which
  most rules contradict each other; every vote pattern once before one comes twice, as equal votes
  would teach the same again. Good for fitting, but shares among them hold for nothing.

They are shown in turn, so whoever stops early has both. Letters: N rows that can be shown, M rules.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.ensemble.patterns import distinct, encode
from filters.rules import DROP, KEEP
from pipeline.labelling.answers import RANDOM, UNCERTAIN
from pipeline.schema import Reason

PASSED = (
    Reason.OK,
    Reason.DUPLICATE,
    Reason.QUOTA,
    Reason.BALANCE,
)  # what the ensemble let through
NO_CUT = 0.5


@dataclass(frozen=True, slots=True)
class Choice:
    """A pair to be shown.

    Attributes:
        row: Its position in the decisions.
        uid: 16 bytes.
        chosen: `RANDOM` or `UNCERTAIN`.
    """

    row: int
    uid: bytes
    chosen: str


def cut_of(decisions: pa.Table) -> float:
    """Return the lowest p(keep) that was let through: what the cut came to, however it was set."""
    passed = pc.is_in(decisions.column("reason"), value_set=pa.array([str(r) for r in PASSED]))
    lowest = pc.min(decisions.column("p_keep").filter(passed)).as_py()
    return NO_CUT if lowest is None else lowest


def choose(
    decisions: pa.Table, rules: Sequence[str], *, count: int, seed: int
) -> tuple[Choice, ...]:
    """Choose pairs that have votes and a picture, each uid once.

    Args:
        decisions: `uid`, `reason`, `offset`, `p_keep` and a `vote:<rule>` each.
        rules: Names of M rules.
        count: How many; fewer if there are not so many.
        seed: Of the hash.
    """
    has_votes = pc.is_valid(decisions.column("p_keep"))
    has_picture = pc.greater_equal(decisions.column("offset"), 0)
    is_first = pc.not_equal(decisions.column("reason"), str(Reason.REPEATED_UID))
    rows_N = np.flatnonzero(pc.and_(pc.and_(has_votes, has_picture), is_first).to_numpy())
    columns = ["uid", "p_keep", *(f"vote:{rule}" for rule in rules)]
    table = decisions.select(columns).take(rows_N)
    uids = table.column("uid").to_pylist()
    key = seed.to_bytes(8, "big", signed=True)
    hash_N = np.array([_hash(uid, key) for uid in uids], np.uint64)
    order_N = np.lexsort((np.arange(len(uids)), hash_N))
    half = -(-count // 2)
    at_random, rest_N = order_N[:half], order_N[half:]
    votes = [table.column(f"vote:{rule}").to_numpy().astype(np.int8) for rule in rules]
    votes_NM = np.stack(votes, axis=1) if votes else np.zeros((len(uids), 0), np.int8)
    distance_N = np.abs(table.column("p_keep").to_numpy() - cut_of(decisions))
    unsure = _least_sure(votes_NM[rest_N], distance_N[rest_N])
    uncertain = [int(rest_N[i]) for i, _ in zip(unsure, range(count - half), strict=False)]

    def of(at: int, chosen: str) -> Choice:
        return Choice(int(rows_N[at]), uids[at], chosen)

    pairs = zip_longest(at_random, uncertain)
    turns = ((a, why) for two in pairs for a, why in zip(two, (RANDOM, UNCERTAIN), strict=True))
    return tuple(of(int(at), why) for at, why in turns if at is not None)


def _hash(uid: bytes, key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(uid, key=key, digest_size=8).digest(), "big")


def _least_sure(votes_NM: NDArray[np.int8], distance_N: NDArray[np.float64]) -> Iterator[int]:
    """Yield all rows, those worth most first; ties stay in the order of the rows."""
    round_N = _round(votes_NM)
    against_N = np.minimum((votes_NM == KEEP).sum(axis=1), (votes_NM == DROP).sum(axis=1))
    nearest = np.lexsort((distance_N, round_N))
    most_torn = np.lexsort((distance_N, -against_N, round_N))
    seen = set[int]()
    for two in zip(nearest, most_torn, strict=True):
        for at in map(int, two):
            if at not in seen:
                seen.add(at)
                yield at


def _round(votes_NM: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return how many rows of the same votes come before each row, int64 [N]."""
    if not votes_NM.shape[1]:
        return np.zeros(len(votes_NM), np.int64)
    _, pattern_N = distinct(encode(votes_NM))
    order_N = np.argsort(pattern_N, kind="stable")
    starts_N = np.searchsorted(pattern_N[order_N], pattern_N[order_N])
    round_N = np.empty(len(order_N), np.int64)
    round_N[order_N] = np.arange(len(order_N)) - starts_N
    return round_N
