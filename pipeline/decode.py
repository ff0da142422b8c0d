"""One decode per picture: bytes in, RGB out, bounded before anything is allocated."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.samples import Limits
from pipeline.schema import Reason

ORIENTATION = 0x0112  # EXIF tag
MAX_PIXELS = Limits().pixels
# What the web is made of. Pillow knows more, among them formats that start other programs (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about odd metadata; decoding decides
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return _decode(data, image, min_side, max_pixels)
    except DecodeError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own, higher bound
        raise DecodeError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:  # decoders raise anything from OSError to struct.error on junk
        raise DecodeError(Reason.DECODE_ERROR, f"{type(error).__name__}: {error}") from error


def picture_bounds(data: bytes) -> tuple[int, int] | None:
    """Return width and height as the header declares them; None if it cannot be read."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except Exception:
        return None


def _decode(data: bytes, image: Image.Image, min_side: int | None, max_pixels: int) -> Picture:
    width, height = image.size
    if width * height > max_pixels:
        raise DecodeError(
            Reason.TOO_MANY_PIXELS,
            f"picture: got {width} x {height}, expected at most {max_pixels} pixels",
        )
    orientation = image.getexif().get(ORIENTATION, 1)
    if image.format == "JPEG" and image.mode in {"RGB", "L"} and orientation == 1:
        return Picture(_decode_jpeg(data, width, height, min_side), width, height)
    image.seek(0)
    upright = ImageOps.exif_transpose(image)
    rgb = _flatten(upright)
    factor = 1 if min_side is None else min(rgb.size) // min_side
    return Picture(np.asarray(rgb.reduce(factor) if factor > 1 else rgb), *upright.size)


def _decode_jpeg(data: bytes, width: int, height: int, min_side: int | None) -> NDArray[np.uint8]:
    if min_side is None:
        return simplejpeg.decode_jpeg(data, "RGB")
    share = min(1.0, min_side / min(width, height))
    return simplejpeg.decode_jpeg(
        data,
        "RGB",
        min_height=max(1, int(height * share)),
        min_width=max(1, int(width * share)),
        min_factor=2,  # smaller factors have no SIMD path: slower than a full decode
    )


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
