"""Names that tables share: reason codes, the uid, and the columns every score table begins with."""

from enum import StrEnum

import numpy as np
import pyarrow as pa

UID_BYTES = 16
UID_DTYPE = np.dtype("u8,u8")  # DataComp's subset record: high word first, each little-endian


class Reason(StrEnum):
    """Why a sample is not in the training set; `OK` until something says otherwise.

    The first group is found while reading or scoring, the second while deciding. A sample has the
    first reason that is found; it is never replaced by a later one.
    """

    OK = "ok"

    NOT_A_TAR = "not_a_tar"  # the whole shard is something else; one row stands for it
    EMPTY_SHARD = "empty_shard"  # no bytes, or no members; one row stands for it
    TRUNCATED = "truncated"  # the tar ends inside this sample, or before its end marker
    UNSAFE_NAME = "unsafe_name"  # absolute, or climbs out with `..`
    REPEATED_KEY = "repeated_key"  # the shard holds a member of this name twice
    SPLIT_KEY = "split_key"  # members of one key lie apart from each other
    TOO_LARGE = "too_large"  # a member is larger than the limit
    BAD_JSON = "bad_json"  # not UTF-8, not JSON, or not an object
    BAD_UID = "bad_uid"  # the json has a uid that is not 1 to 32 hex digits
    MISSING_IMAGE = "missing_image"
    MISSING_CAPTION = "missing_caption"
    EMPTY_CAPTION = "empty_caption"
    BAD_UTF8 = "bad_utf8"  # the caption is not UTF-8
    TOO_MANY_PIXELS = "too_many_pixels"  # by the picture's own header, before decoding
    DECODE_ERROR = "decode_error"
    EXTRACT_ERROR = "extract_error"  # an extractor raised on this very sample
    CELL_DIED = "cell_died"  # it took its cell down, alone and again and again
    TIMEOUT = "timeout"  # its cell stood still on it, alone and again and again
    UNREADABLE = "unreadable"  # the whole shard cannot be fetched; one row stands for it

    REPEATED_UID = "repeated_uid"  # an earlier row of the pool has the same uid
    VETO = "veto"  # a rule with a veto voted drop
    LOW_P_KEEP = "low_p_keep"  # the ensemble's p(keep) is below the cut
    OVER_BUDGET = "over_budget"  # others fill the budget: a higher p(keep), or a lower uid
    DUPLICATE = "duplicate"  # copy of another pair, or nearly
    QUOTA = "quota"  # its concept cluster has filled its share
    NO_EMBEDDING = "no_embedding"  # zero or not finite, so no concept has a place for it
    BALANCE = "balance"  # what its caption speaks of is spoken of often enough


def parse_reasons(text: str) -> list[str]:
    """Read reason codes separated by commas.

    Raises:
        ValueError: One of them is none.
    """
    found = [part.strip() for part in text.split(",") if part.strip()]
    known = [str(reason) for reason in Reason if reason is not Reason.OK]
    for reason in found:
        if reason not in known:
            raise ValueError(f"errors: got {reason!r}, expected some of {', '.join(known)}")
    return found


# The columns every score table begins with; an extractor's own columns follow (filters/extract).
# `offset` and `size` are the byte range of the picture inside the shard, so that a loader can read
# one picture without opening the archive; -1 where there is none.
BASE_SCHEMA = pa.schema(
    [
        pa.field("uid", pa.binary(UID_BYTES), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("caption", pa.string()),
    ]
)
