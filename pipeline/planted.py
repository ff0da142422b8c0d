"""How much of the planted trouble was found; the only reader of a pool's truth."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from filters.auc import auc
from filters.rules import DROP
from pipeline.decide import VOTE
from pipeline.schema import Reason
from pipeline.tables import read

CLEAN, SWAPPED = "clean", "swapped"


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one kind of planted trouble."""

    planted: int
    dropped: int

    @property
    def share(self) -> float:
        """Dropped over planted, in [0, 1]."""
        return self.dropped / self.planted if self.planted else 0.0


def found_by_kind(truth: str, decisions: pa.Table) -> dict[str, Found]:
    """Count how many planted rows of each kind are out of the subset.

    A row that has a twin (a copy and its original) counts as dropped unless both are kept: which of
    the two stands for the picture is a matter of taste.

    Args:
        truth: Parquet with `uid`, `kind` and `twin`; path or any fsspec URL.
        decisions: One row per sample of the pool.

    Raises:
        ValueError: The truth names pairs that the pool does not have, or cannot be read.
    """
    table = read(truth, ["uid", "kind", "twin"])
    kept = _kept(decisions)
    found: dict[str, Found] = {}
    rows = zip(*(table.column(c).to_pylist() for c in ("uid", "kind", "twin")), strict=True)
    for uid, kind, twin in rows:
        if uid not in kept:
            raise ValueError(
                f"truth: got uid {uid} in {truth}, expected uids of this pool; set data.truth to "
                'the file that was built with the pool, or to ""'
            )
        is_out = not (kept[uid] and kept.get(twin, True))
        before = found.get(kind, Found(0, 0))
        found[kind] = Found(before.planted + 1, before.dropped + is_out)
    return dict(sorted(found.items()))


def drops_by_rule(truth: str, decisions: pa.Table) -> dict[str, dict[str, Found]]:
    """Count for each rule the drop votes on each kind of planted trouble, and on clean pairs.

    Their share is the rule's recall on that kind, on clean pairs its rate of false drops. Pairs
    that no rule could vote on, such as corrupt pictures, do not count; a kind without others is not
    there. A pair is what its vote is about: twins play no part here.

    Args:
        truth: Parquet with `uid` and `kind`; path or any fsspec URL.
        decisions: One row per sample of the pool, with a `vote:<rule>` each, null without a vote.
    """
    table = read(truth, ["uid", "kind"])
    by_uid = dict(zip(*(table.column(c).to_pylist() for c in ("uid", "kind")), strict=True))
    rules = [name for name in decisions.column_names if name.startswith(VOTE)]
    if not rules:
        return {}
    voted = decisions.filter(pc.is_valid(decisions.column(rules[0])))
    kind_N = np.array([by_uid.get(uid.hex(), "") for uid in voted.column("uid").to_pylist()], str)
    kinds = sorted(set(kind_N.tolist()) - {""})
    found = {}
    for rule in rules:
        drop_N = voted.column(rule).to_numpy() == DROP
        found[rule.removeprefix(VOTE)] = {
            kind: Found(int((kind_N == kind).sum()), int(drop_N[kind_N == kind].sum()))
            for kind in kinds
        }
    return found


def alignment_auc(truth: str, uid_N: NDArray[np.bytes_], alignment_N: NDArray[np.float32]) -> float:
    """Probability that a clean pair scores above a swapped one, in [0, 1]; NaN without either."""
    table = read(truth, ["uid", "kind"])
    kind = dict(zip(table.column("uid").to_pylist(), table.column("kind").to_pylist(), strict=True))
    kind_N = np.array([kind.get(bytes(u).ljust(16, b"\0").hex(), "") for u in uid_N])
    return auc(alignment_N[kind_N == CLEAN], alignment_N[kind_N == SWAPPED])


def _kept(decisions: pa.Table) -> dict[str, bool]:
    """Map the pool's uids (hex) to whether they are in the subset."""
    uids = [uid.hex() for uid in decisions.column("uid").to_pylist()]
    reasons = decisions.column("reason").to_pylist()
    kept: dict[str, bool] = {}
    for uid, reason in zip(uids, reasons, strict=True):
        kept[uid] = kept.get(uid, False) or reason == Reason.OK
    return kept
