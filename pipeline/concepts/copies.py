"""Copies of pictures go, over the whole pool: the same file, or nearly the same perceptual hash."""

from dataclasses import dataclass

import pyarrow as pa

from filters.extract import Column
from filters.extract.base import Values
from pipeline.columns.exchange import Answers
from pipeline.columns.remaining import ROW, Remaining, reason_column
from pipeline.columns.stages import ColumnStage, Place, column_stage
from pipeline.concepts.clusters import reads_of
from pipeline.concepts.equal_hashes import Search, equal_hashes
from pipeline.concepts.near_hashes import near_hashes
from pipeline.concepts.twins import best_answers, spread_uids
from pipeline.schema import UID_BYTES, Reason
from pipeline.scores import Scores
from pipeline.settings import Dedup

CONTENT, PHASH = "content", "phash"
COPY_OF = Column("copy_of", "uid", "", "", "uid of the pair whose picture this one copies")
STEP = "copies"


@dataclass(frozen=True, slots=True)
class _Found:
    remaining: Remaining
    answers: tuple[Answers, ...]


def drop_copies(remaining: Remaining, cfg: Dedup, *, seed: int, place: Place) -> Remaining:
    """Put copies out; of those that are alike, the one that goes before the others stays.

    A pair is a copy if any pair that goes before it has the same `content` hash, or a `phash` that
    differs in at most `cfg.copy_bits` bits, whether or not that pair is a copy itself. `copy_of` is
    the one that differs in the fewest bits, ties to the first. What `cfg.prefer` says goes first; a
    copy has no distance, so "hard" and "easy" are "p_keep" here. A pair without a hash is no copy.

    Args:
        remaining: The pairs.
        cfg: What copies are; with `content` off and `copy_bits` -1 nothing is done or written.
        seed: Of a random order.
        place: Where it is done.

    Returns:
        What stays; `copy_of` and `reason_copies` are known of every good pair.
    """
    hashes = tuple(n for n, on in ((CONTENT, cfg.content), (PHASH, cfg.copy_bits >= 0)) if on)
    if not hashes:
        return remaining
    prefer = "random" if cfg.prefer == "random" else "p_keep"
    reads = () if prefer == "random" else (prefer,)
    stage = column_stage(
        remaining.scores, STEP, [COPY_OF, reason_column(STEP)], place=place,
        reads=reads_of(remaining, *hashes, *reads), version=1, reason=remaining.reason,
        hashes=hashes, bits=max(cfg.copy_bits, 0), prefer=prefer,
        seed=seed if prefer == "random" else 0,
    )  # fmt: skip
    if stage.is_whole:
        scores = stage.known()
    else:
        answers = _compared(Search(remaining, hashes, prefer, seed), stage, bits=cfg.copy_bits)
        scores = stage.fill(_make, _Found(remaining, answers))
    return Remaining(scores, reason_column(STEP).name)


def _compared(search: Search, stage: ColumnStage, *, bits: int) -> tuple[Answers, ...]:
    pairs = search.remaining.count(stage.place.execute)
    equal = equal_hashes(search, stage, pairs=pairs)
    if bits < 1:
        return (equal,)
    near = near_hashes(search, stage, column=PHASH, bits=bits, equal=equal, pairs=pairs)
    return equal, near


def _make(found: _Found, scores: Scores, shard: int) -> dict[str, Values]:
    """Return the columns of one shard."""
    del scores
    reason_n = found.remaining.reasons(shard)
    told = best_answers(found.answers, shard, by="closeness", twin="copy_of", rank="copy_rank")
    if told is None:
        copy_n = pa.nulls(len(reason_n), pa.binary(UID_BYTES))
    else:
        row_m = told.column(ROW).to_numpy()
        copy_n = spread_uids(told.column("copy_of"), row_m, len(reason_n))
        reason_n[row_m] = str(Reason.DUPLICATE)
    return {COPY_OF.name: copy_n, reason_column(STEP).name: reason_n}
