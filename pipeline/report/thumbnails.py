"""Small pictures for the page, re-encoded from decoded pixels: no byte of the original gets in."""

import base64
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from PIL import Image

from pipeline.decode import DecodeError, decode_rgb
from pipeline.schema import Reason
from pipeline.shards import read_range

SIDE = 96  # px, longest side
QUALITY = 70
THREADS = 4  # mostly wait for shards that lie far away; each may hold a whole decoded picture
MOST_PIXELS = 50_000_000  # of a picture that is decoded for the page


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture, or why there is none.

    Attributes:
        uri: `data:` URI; "" without a picture.
        defect: What a grey tile says; "" with a picture.
        width: Pixels.
        height: Pixels.
    """

    uri: str = ""
    defect: str = ""
    width: int = SIDE
    height: int = SIDE


def load_thumbnails(
    decisions: pa.Table, shards: tuple[str, ...], rows: Iterable[int]
) -> Mapping[int, Thumbnail]:
    """Read the pictures of some rows of the decisions by byte range; bad ones become grey tiles."""
    wanted = sorted(set(rows))
    samples = decisions.select(["shard", "offset", "size", "reason"]).take(wanted).to_pylist()

    def load(sample: dict[str, Any]) -> Thumbnail:
        return _load(shards[sample["shard"]], sample["offset"], sample["size"], sample["reason"])

    with ThreadPoolExecutor(THREADS, thread_name_prefix="thumbnails") as pool:
        return dict(zip(wanted, pool.map(load, samples), strict=True))


def _load(url: str, offset: int, size: int, reason: str) -> Thumbnail:
    if offset < 0 or reason == Reason.TOO_MANY_PIXELS:  # none, or over the bound that the run had
        return Thumbnail(defect=reason if reason != Reason.OK else Reason.MISSING_IMAGE)
    try:
        rgb = decode_rgb(read_range(url, offset, size), min_side=SIDE, max_pixels=MOST_PIXELS)
    except DecodeError as error:
        is_large = error.reason is Reason.TOO_MANY_PIXELS
        return Thumbnail(defect="too large to show" if is_large else error.reason)
    except (OSError, EOFError):
        return Thumbnail(defect="shard gone")
    image = Image.fromarray(rgb)
    image.thumbnail((SIDE, SIDE))
    sink = io.BytesIO()
    image.save(sink, "WEBP", quality=QUALITY)
    uri = "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode("ascii")
    return Thumbnail(uri=uri, width=image.width, height=image.height)
