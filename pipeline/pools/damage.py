"""What planting does to a picture's bytes; each damage is its own settings and one verb."""

import io
import textwrap
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.decode import DecodeError, decode_rgb

Format = Literal["JPEG", "PNG"]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FONT_SIZES_PX = (96, 72, 56, 44, 34, 26, 20, 16)
MARGIN = 0.06  # of the canvas, on each side
LONGEST_TEXT = 140  # characters that are rendered
ATTEMPTS = 8  # a decoder may survive a cut in trailing metadata, or a flipped pixel
FLIPPED_BYTES = 64
STUMP_BYTES = 24  # a signature and no picture


@dataclass(frozen=True, slots=True)
class Resized:
    """The same picture, smaller, encoded again."""

    factor: float
    format: Format

    def __call__(self, data: bytes) -> bytes:
        """Resize both sides by `factor`."""
        picture = _open(data)
        size = [max(1, round(side * self.factor)) for side in picture.size]
        return encode(picture.resize((size[0], size[1]), Image.Resampling.LANCZOS), self.format)


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The same picture as an icon: its long side is `side` pixels."""

    side: int

    def __call__(self, data: bytes) -> bytes:
        """Shrink, keeping the aspect."""
        picture = _open(data)
        picture.thumbnail((self.side, self.side), Image.Resampling.LANCZOS)
        return encode(picture, "PNG")


@dataclass(frozen=True, slots=True)
class TextOnly:
    """Another picture altogether: big text on a plain ground, in Pillow's own font.

    Attributes:
        text: Rendered, wrapped, as large as fits.
        size: Width and height in pixels.
        ink: Text colour.
        ground: Background colour.
    """

    text: str
    size: tuple[int, int]
    ink: str
    ground: str

    def __call__(self, data: bytes) -> bytes:  # noqa: ARG002
        """Render the text; the picture it replaces does not matter."""
        picture = Image.new("RGB", self.size, self.ground)
        draw = ImageDraw.Draw(picture)
        width, height = (side * (1 - 2 * MARGIN) for side in self.size)
        lines, font = fit_text(draw, self.text[:LONGEST_TEXT], width, height)
        middle = (self.size[0] / 2, self.size[1] / 2)
        draw.multiline_text(middle, lines, fill=self.ink, font=font, anchor="mm", align="center")
        return encode(picture, "PNG")


@dataclass(frozen=True, slots=True)
class Corrupted:
    """A file that no longer decodes: cut off, or with bytes overwritten."""

    seed: int

    def __call__(self, data: bytes) -> bytes:
        """Damage the bytes until neither Pillow nor our decoder reads them."""
        rng = np.random.default_rng(self.seed)
        for _ in range(ATTEMPTS):
            if rng.random() < 0.5:  # noqa: PLR2004
                damaged = data[: int(len(data) * rng.uniform(0.2, 0.8))]
            else:
                noise = np.frombuffer(data, np.uint8).copy()
                start = len(noise) // 4
                places = rng.integers(start, len(noise), FLIPPED_BYTES)
                noise[places] ^= rng.integers(1, 256, FLIPPED_BYTES).astype(np.uint8)
                damaged = noise.tobytes()
            if not decodes(damaged):
                return damaged
        return data[:STUMP_BYTES]


def fit_text(draw: ImageDraw.ImageDraw, text: str, width: float, height: float) -> tuple[str, Font]:
    """Wrap a text between words and choose the largest font that fits; at worst break words."""
    for pixels in FONT_SIZES_PX:
        font = ImageFont.load_default(pixels)
        columns = max(1, int(width / font.getlength("n")))
        lines = textwrap.fill(text, columns, break_long_words=False)
        left, top, right, bottom = draw.multiline_textbbox((0, 0), lines, font=font)
        if right - left <= width and bottom - top <= height:
            return lines, font
    smallest = ImageFont.load_default(FONT_SIZES_PX[-1])
    return textwrap.fill(text, max(1, int(width / smallest.getlength("W")))), smallest


Damage = Resized | Shrunk | TextOnly | Corrupted


def decodes(data: bytes) -> bool:
    """Tell whether Pillow or our decoder makes a picture of these bytes."""
    try:
        decode_rgb(data)
    except DecodeError:
        pass
    else:
        return True
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
    except Exception:  # decoders raise anything on junk
        return False
    return True


def encode(picture: Image.Image, form: Format) -> bytes:
    """Encode; a JPEG has no transparency, so it is laid on white first."""
    if form == "JPEG" and picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    file = io.BytesIO()
    picture.save(file, form, **({"quality": 85} if form == "JPEG" else {}))
    return file.getvalue()


def _open(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGBA")
