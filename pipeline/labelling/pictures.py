"""A pair's picture for the page, re-encoded from decoded pixels; the original stays inside."""

import io

from PIL import Image

from pipeline.decode import DecodeError, decode_rgb
from pipeline.schema import Reason
from pipeline.shards import read_range

SIDE = 1024  # px, longest side
QUALITY = 85
MOST_PIXELS = 50_000_000  # of a picture that is decoded for the page
MOST_BYTES = 64 * 2**20  # of a picture that is read for the page


class NoPictureError(Exception):
    """There is none to show; the message says why."""


def picture(url: str, offset: int, size: int) -> bytes:
    """Return a picture as WebP, at most `SIDE` pixels in either direction.

    Args:
        url: Its shard.
        offset: Byte offset in the shard.
        size: Bytes.

    Raises:
        NoPictureError: It cannot be read or decoded, or is too large.
    """
    if size > MOST_BYTES:
        raise NoPictureError("too large to show")
    try:
        rgb = decode_rgb(read_range(url, offset, size), min_side=SIDE, max_pixels=MOST_PIXELS)
    except DecodeError as error:
        is_large = error.reason is Reason.TOO_MANY_PIXELS
        raise NoPictureError("too large to show" if is_large else "cannot be decoded") from error
    except (OSError, EOFError, ValueError) as error:
        raise NoPictureError("its shard cannot be read") from error
    image = Image.fromarray(rgb)
    image.thumbnail((SIDE, SIDE))
    sink = io.BytesIO()
    image.save(sink, "WEBP", quality=QUALITY)
    return sink.getvalue()
