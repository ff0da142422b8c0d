"""The funnel: pairs in, what each reason took, pairs kept; it adds up or there is no report."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.schema import Reason

MEANING = {
    Reason.NOT_A_TAR: "the shard is no tar",
    Reason.EMPTY_SHARD: "the shard is empty",
    Reason.TRUNCATED: "the tar ends inside the sample",
    Reason.UNSAFE_NAME: "the name is absolute or climbs out of its folder",
    Reason.REPEATED_KEY: "the shard holds a member of this name twice",
    Reason.SPLIT_KEY: "members of one key lie apart",
    Reason.TOO_LARGE: "a member is larger than the limit",
    Reason.BAD_JSON: "the json cannot be parsed",
    Reason.BAD_UID: "the uid is not 1 to 32 hex digits",
    Reason.MISSING_IMAGE: "no picture",
    Reason.MISSING_CAPTION: "no caption",
    Reason.EMPTY_CAPTION: "an empty caption",
    Reason.BAD_UTF8: "the caption is not UTF-8",
    Reason.TOO_MANY_PIXELS: "more pixels than the limit, by its header",
    Reason.DECODE_ERROR: "the picture cannot be decoded",
    Reason.EXTRACT_ERROR: "an extractor failed on it",
    Reason.CELL_DIED: "it killed its cell, alone and repeatedly",
    Reason.TIMEOUT: "its cell stood still on it, alone and repeatedly",
    Reason.UNREADABLE: "its shard cannot be fetched",
    Reason.REPEATED_UID: "an earlier row has the same uid",
    Reason.DUPLICATE: "near-copy of another pair",
    Reason.VETO: "a rule with a veto voted drop",
    Reason.LOW_P_KEEP: "the ensemble's p(keep) is below the cut",
    Reason.OVER_BUDGET: "pairs of a higher p(keep), or a lower uid, fill the budget",
    Reason.QUOTA: "its concept has filled its share",
    Reason.NO_EMBEDDING: "its embedding is zero or not finite, so no concept has it",
    Reason.BALANCE: "what its caption speaks of is spoken of often enough, or not listed",
}


@dataclass(frozen=True, slots=True)
class Step:
    """What one reason took out.

    Attributes:
        reason: Its code.
        meaning: The code in words.
        rows: Rows taken out.
        left: Rows that remain after it.
    """

    reason: str
    meaning: str
    rows: int
    left: int


@dataclass(frozen=True, slots=True)
class Funnel:
    """From `rows_in` through the steps to `rows_kept`."""

    rows_in: int
    steps: tuple[Step, ...]
    rows_kept: int


def funnel(decisions: pa.Table, *, claimed: Mapping[str, int], is_whole: bool = True) -> Funnel:
    """Count the decisions by reason, in the order in which reasons are found.

    Args:
        decisions: One row per sample, with its `reason`.
        claimed: `reasons` of the summary, which must tell the same; empty if there is none.
        is_whole: Whether these are all of the pool; if not, what the summary tells counts.

    Raises:
        ValueError: The summary counts something else.
    """
    counted = pc.value_counts(decisions.column("reason")).to_pylist()
    rows_by_reason = {item["values"]: item["counts"] for item in counted}
    expected = {reason: rows for reason, rows in claimed.items() if rows}
    if expected and not is_whole:
        rows_by_reason = expected
    if expected and expected != rows_by_reason:
        raise ValueError(
            f"report: got reasons {expected} in summary.json, expected {rows_by_reason} as in "
            "subset/scores.parquet; they are of different runs, run it again"
        )
    rows_in = sum(rows_by_reason.values())
    steps, left = [], rows_in
    order = [str(reason) for reason in Reason]
    for reason in sorted(rows_by_reason.keys() - {Reason.OK}, key=order.index):
        left -= rows_by_reason[reason]
        steps.append(Step(reason, MEANING[Reason(reason)], rows_by_reason[reason], left))
    assert left == rows_by_reason.get(Reason.OK, 0)  # in = kept + sum of reasons
    return Funnel(rows_in, tuple(steps), left)
