"""How much of the planted trouble was found; the only reader of a pool's truth."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.auc import auc
from filters.rules import DROP
from pipeline.deciding.decisions import VOTE
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


def found_by_kind(truth: str, decisions: Iterable[pa.Table]) -> dict[str, Found]:
    """Count how many planted rows of each kind are out of the subset.

    A row that has a twin (a copy and its original) counts as dropped unless both are kept: which of
    the two stands for the picture is a matter of taste.

    Args:
        truth: Parquet with `uid`, `kind` and `twin`; path or any fsspec URL.
        decisions: `uid` and `reason`, one row per sample of the pool, a table for each shard.

    Raises:
        ValueError: The truth names pairs that the pool does not have, or cannot be read.
    """
    table = read(truth, ["uid", "kind", "twin"])
    uids, kinds, twins = (table.column(c).to_pylist() for c in ("uid", "kind", "twin"))
    kept = _kept(decisions, {*uids, *twins})
    found: dict[str, Found] = {}
    rows = zip(uids, kinds, twins, strict=True)
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


def drops_by_rule(truth: str, decisions: Iterable[pa.Table]) -> dict[str, dict[str, Found]]:
    """Count for each rule the drop votes on each kind of planted trouble, and on clean pairs.

    Their share is the rule's recall on that kind, on clean pairs its rate of false drops. Pairs
    that no rule could vote on, such as corrupt pictures, do not count; a kind without others is not
    there. A pair is what its vote is about: twins play no part here.

    Args:
        truth: Parquet with `uid` and `kind`; path or any fsspec URL.
        decisions: `uid` and a `vote:<rule>` each, null without a vote, one row per sample of the
            pool, a table for each shard.
    """
    table = read(truth, ["uid", "kind"])
    by_uid = dict(zip(*(table.column(c).to_pylist() for c in ("uid", "kind")), strict=True))
    rows, drops = Counter[str](), Counter[tuple[str, str]]()
    rules: list[str] = []
    for part in decisions:
        rules = [name for name in part.column_names if name.startswith(VOTE)]
        voted = part.filter(pc.is_valid(part.column(rules[0]))) if rules else part.slice(0, 0)
        kind_N = np.array([by_uid.get(u.hex(), "") for u in voted.column("uid").to_pylist()], str)
        rows.update(kind_N[kind_N != ""].tolist())
        for rule in rules:
            drop_N = (voted.column(rule).to_numpy() == DROP) & (kind_N != "")
            drops.update((rule, kind) for kind in kind_N[drop_N].tolist())
    return {
        rule.removeprefix(VOTE): {
            kind: Found(rows[kind], drops[rule, kind]) for kind in sorted(rows)
        }
        for rule in rules
    }


def alignment_auc(truth: str, scored: Iterable[pa.Table]) -> float:
    """Probability that a clean pair scores above a swapped one, in [0, 1]; NaN without either.

    Args:
        truth: Parquet with `uid` and `kind`; path or any fsspec URL.
        scored: `uid` and `alignment` of the good rows, a table for each shard.
    """
    table = read(truth, ["uid", "kind"])
    kind = dict(zip(table.column("uid").to_pylist(), table.column("kind").to_pylist(), strict=True))
    found: dict[str, list[float]] = {CLEAN: [], SWAPPED: []}
    for part in scored:
        rows = zip(
            part.column("uid").to_pylist(), part.column("alignment").to_pylist(), strict=True
        )
        for uid, value in rows:
            if kind.get(uid.hex()) in found:
                found[kind[uid.hex()]].append(value)
    clean, swapped = (np.array(found[which], np.float32) for which in (CLEAN, SWAPPED))
    return auc(clean, swapped)


def _kept(decisions: Iterable[pa.Table], wanted: set[str]) -> dict[str, bool]:
    """Map the uids (hex) that are wanted to whether they are in the subset."""
    kept: dict[str, bool] = {}
    for part in decisions:
        uids = (uid.hex() for uid in part.column("uid").to_pylist())
        for uid, reason in zip(uids, part.column("reason").to_pylist(), strict=True):
            if uid in wanted:
                kept[uid] = kept.get(uid, False) or reason == Reason.OK
    return kept
