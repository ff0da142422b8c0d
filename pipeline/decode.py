"""One decode per picture: bytes in, RGB out, bounded before anything is allocated.

JPEGs, most of the web, go straight through libjpeg-turbo; Pillow opens what is left.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.samples import Limits
from pipeline.schema import Reason

ORIENTATION = 0x0112  # EXIF tag
MAX_PIXELS = Limits().pixels
# What the web is made of. Pillow knows more, among them formats that start other programs (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
# DCT scalings with a SIMD path, coarsest first; the ones between are slower than a full decode.
REDUCTIONS = (8, 4, 2)
JPEG_START = b"\xff\xd8"
START_OF_SCAN = b"\xda"
FIRST_TURNED = 5  # from this EXIF orientation on, width and height change places
COLOURS = {"Gray", "YCbCr", "RGB"}  # of a JPEG; CMYK is left to Pillow, which knows Adobe's inks

T = TypeVar("T")


class DecodeError(ValueError):
    """The picture cannot be decoded; `reason` is its row's reason code."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Attributes:
        rgb: uint8 [height, width, 3], possibly reduced.
        width: Pixels of the original, after orientation.
        height: Pixels of the original, after orientation.
    """

    rgb: NDArray[np.uint8]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a JPEG says of itself before anything is decoded.

    Attributes:
        width: Pixels, after orientation.
        height: Pixels, after orientation.
        orientation: EXIF's, 1 to 8.
    """

    width: int
    height: int
    orientation: int


def decode_rgb(
    data: bytes, *, min_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Return the RGB of `decode_picture`, uint8 [height, width, 3]."""
    return decode_picture(data, min_side=min_side, max_pixels=max_pixels).rgb


def decode_picture(
    data: bytes, *, min_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Decode a picture of `FORMATS`, by content and not by name, into 8-bit RGB.

    Orientation is applied, transparency lies on white, 16-bit greyscale is scaled to 8 bits, CMYK
    and palettes are converted, of an animation the first frame is taken. A picture larger than
    needed comes back reduced by a whole factor (a JPEG by libjpeg-turbo's DCT scaling), its short
    side never below `min_side`.

    Args:
        data: The encoded picture.
        min_side: Pixels the short side must keep; None decodes at full size.
        max_pixels: Largest declared width times height.

    Raises:
        DecodeError: Too many pixels by the header, or not decodable.
    """
    header = read_header(data, max_pixels=max_pixels)
    if header is None:
        return _guarded(lambda: _decode_by_pillow(data, min_side, max_pixels))
    width, height = header.width, header.height
    factor = 1 if min_side is None else reduction(min(width, height), min_side)
    rgb = decode_jpeg(data, header, factor=factor, fine_colours=min_side is None)
    return Picture(rgb, width, height)


def read_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Header | None:
    """Return the header of a JPEG that `decode_jpeg` takes, None for any other bytes.

    Raises:
        DecodeError: Too many pixels.
    """
    found = _jpeg_size(data)
    if found is None:
        return None
    _check(*found, max_pixels)
    orientation = _guarded(lambda: _orientation(data))
    width, height = found if orientation < FIRST_TURNED else found[::-1]
    return Header(width, height, orientation)


def reduction(pixels: int, needed: int) -> int:
    """Return the largest of 1, 2, 4 and 8 by which `pixels` can be reduced and leave `needed`."""
    return next((factor for factor in REDUCTIONS if pixels >= factor * needed), 1)


def decode_jpeg(
    data: bytes, header: Header, *, factor: int, fine_colours: bool = False
) -> NDArray[np.uint8]:
    """Decode a JPEG at 1 / `factor` of its size (1, 2, 4 or 8), sides rounded up.

    Args:
        data: The encoded picture.
        header: Its header.
        factor: Of libjpeg-turbo's DCT scaling; at most what `reduction` says of the part and the
            pixels that are wanted.
        fine_colours: Interpolate colours that were stored at half the resolution (8 % slower)
            instead of repeating them.

    Returns:
        uint8 [height, width, 3], upright.

    Raises:
        DecodeError: Not decodable.
    """
    turned = header.orientation >= FIRST_TURNED
    width, height = (header.height, header.width) if turned else (header.width, header.height)

    def decode() -> NDArray[np.uint8]:
        # `fastdct` is left alone: 3 % for errors that show at high quality.
        rgb = simplejpeg.decode_jpeg(
            data,
            "RGB",
            fastupsample=not fine_colours,
            min_height=-(-height // factor),
            min_width=-(-width // factor),
            min_factor=factor,
        )
        return _upright(rgb, header.orientation)

    return _guarded(decode)


def decode_exact(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode as open_clip's own loader does: Pillow at full size, then `convert("RGB")`.

    Neither orientation nor a white ground is applied, and nothing is reduced. For scores that must
    equal those of other people's code; everything else wants `decode_picture`.

    Args:
        data: The encoded picture.
        max_pixels: Largest declared width times height.

    Returns:
        uint8 [height, width, 3].

    Raises:
        DecodeError: Too many pixels by the header, or not decodable.
    """

    def decode() -> NDArray[np.uint8]:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(*image.size, max_pixels)
            return np.array(image.convert("RGB"))

    return _guarded(decode)


def picture_bounds(data: bytes) -> tuple[int, int] | None:
    """Return width and height as the header declares them, or None where no header can be read.

    Nothing is decoded and orientation is not applied: a bound for memory. None also where Pillow
    takes the picture for a bomb; decoding it costs no memory either.
    """

    def look() -> tuple[int, int]:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size

    try:
        return _jpeg_size(data) or _guarded(look)
    except DecodeError:
        return None


def _guarded(decode: Callable[[], T]) -> T:
    """Run a decoder on hostile bytes; whatever it raises becomes a DecodeError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about odd metadata; decoding decides
            return decode()
    except DecodeError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own, higher bound
        raise DecodeError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except UnidentifiedImageError as error:  # whose own text names an address in memory
        raise DecodeError(Reason.DECODE_ERROR, "cannot identify the kind of picture") from error
    except Exception as error:  # decoders raise anything from OSError to struct.error on junk
        raise DecodeError(Reason.DECODE_ERROR, f"{type(error).__name__}: {error}") from error


def _check(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise DecodeError(
            Reason.TOO_MANY_PIXELS,
            f"picture: got {width} x {height}, expected at most {max_pixels} pixels",
        )


def _decode_by_pillow(data: bytes, min_side: int | None, max_pixels: int) -> Picture:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check(*image.size, max_pixels)
        image.seek(0)
        upright = ImageOps.exif_transpose(image)
    rgb = _flatten(upright)
    factor = 1 if min_side is None else min(rgb.size) // min_side
    return Picture(np.array(rgb.reduce(factor) if factor > 1 else rgb), *upright.size)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG that libjpeg-turbo turns into RGB, else None."""
    if not data.startswith(JPEG_START):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (int(width), int(height)) if colours in COLOURS else None


def _orientation(data: bytes) -> int:
    """Return a JPEG's EXIF orientation, 1 to 8; Pillow is asked only if there is EXIF data."""
    at = len(JPEG_START)
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != START_OF_SCAN:
        if data[at + 4 : at + 10] == b"Exif\0\0":
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
                found = image.getexif().get(ORIENTATION, 1)
            return found if found in range(1, 9) else 1
        at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))  # marker, then the length
    return 1


def _upright(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation: an optional transposition, then mirrored axes."""
    if orientation == 1:
        return rgb
    if orientation >= FIRST_TURNED:
        rgb = rgb.swapaxes(0, 1)
    down = -1 if orientation in {3, 4, 7, 8} else 1
    across = -1 if orientation in {2, 3, 6, 7} else 1
    return np.ascontiguousarray(rgb[::down, ::across])


def _flatten(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB on white."""
    if image.mode.startswith(("I", "F")):  # Pillow's own conversion clips everything above 255
        scaled = np.clip(np.asarray(image, np.float64) / 257.0, 0, 255).round()
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    ground = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(ground, rgba).convert("RGB")
