"""Text of pictures: where it is, what it says, and which of it is text after all.

The detector alone is not to be trusted with drawings: of 3,150 clean clip arts without trouble it
takes 43 % for one glyph that fills the picture. Those that the recogniser reads are 0.7 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import Batch
from filters.extract.text.detector import TextDetector
from filters.extract.text.reader import Line, TextReader, crop_of

DETECTOR, RECOGNISER = "rapidocr_detector", "rapidocr_recogniser"
# A line is legible from here on. Of rendered text 95 % of the lines score above 0.97; what is read
# in drawings has a median of 0.53, and where it scores higher it is one letter, mostly.
LEGIBLE_SCORE, LEGIBLE_LETTERS = 0.8, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSearch:
    """How text is looked for; extractors with the same settings share what is found.

    Attributes:
        side: Longest side the detector sees, pixels. 224 to 320 finds captions and slogans; fine
            print needs more and costs quadratically.
        threshold: Least mean probability inside a quad.
        recognise: Read lines, too, out of the picture as it was decoded; without, whatever the
            detector takes for text is text.
        lines: Most lines read of one picture, the largest; a word costs about what the detector
            does.
    """

    side: int = 256
    threshold: float = 0.5
    recognise: bool = True
    lines: int = 8

    def __post_init__(self) -> None:
        """Refuse a number of lines that nothing is read of."""
        if self.lines < 1:
            raise ValueError(
                f"lines: got {self.lines}, expected at least 1; set recognise = false to read none"
            )

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the model files."""
        return (DETECTOR, RECOGNISER) if self.recognise else (DETECTOR,)

    def finder(self, weights: Mapping[str, Path], *, threads: int) -> "TextFinder":
        """Load the networks."""
        detector = TextDetector(
            weights[DETECTOR], side=self.side, threshold=self.threshold, threads=threads
        )
        if not self.recognise:
            return TextFinder(detector)
        return TextFinder(detector, TextReader(weights[RECOGNISER], threads=threads), self.lines)


@dataclass(frozen=True, slots=True)
class Text:
    """The text of one picture.

    Attributes:
        quad_n42: Every quad found, corners in [0, 1], in reading order.
        lines: What the legible ones among them say, in the same order.
        region_m42: The quads that are text: legible, or not read because too many are larger.
            Without a recogniser all of them.
    """

    quad_n42: NDArray[np.float32]
    lines: tuple[str, ...]
    region_m42: NDArray[np.float32]


class TextFinder:
    """Detector and, if wanted, recogniser."""

    def __init__(
        self, detector: TextDetector, reader: TextReader | None = None, most_lines: int = 0
    ) -> None:
        """Take the networks; `most_lines` of a picture are read, the largest."""
        self._detector, self._reader, self._most_lines = detector, reader, most_lines

    def of(self, batch: Batch, *, originals: bool = False) -> list[Text]:
        """Return the text of each picture (or original) of a batch, found once per batch."""
        pictures = batch.originals if originals else batch.pictures
        quads = self._detector.quads_of(batch, originals=originals)
        key = ("text", *self._detector.settings, self._most_lines, originals)
        return batch.once(key, lambda: self._read(pictures, quads))

    def _read(
        self, pictures: Sequence[NDArray[np.uint8]], quads: Sequence[NDArray[np.float32]]
    ) -> list[Text]:
        if self._reader is None:
            return [Text(quad_n42, (), quad_n42) for quad_n42 in quads]
        chosen = [largest(quad_n42, self._most_lines) for quad_n42 in quads]
        wanted = [(i, int(k)) for i, positions in enumerate(chosen) for k in positions]
        read = self._reader([crop_of(pictures[i], quads[i][k]) for i, k in wanted])
        said = dict(zip(wanted, read, strict=True))
        return [
            _text(quad_n42, {k: said[i, k] for k in positions})
            for i, (quad_n42, positions) in enumerate(zip(quads, chosen, strict=True))
        ]


def largest(quad_n42: NDArray[np.float32], count: int) -> list[int]:
    """Return the positions of the `count` quads with the largest area, in order."""
    x_n4, y_n4 = quad_n42[:, :, 0], quad_n42[:, :, 1]
    area_n = np.abs((x_n4 * np.roll(y_n4, -1, 1) - np.roll(x_n4, -1, 1) * y_n4).sum(1))
    return sorted(np.argsort(-area_n, kind="stable")[:count].tolist())


def legible(line: Line) -> bool:
    """Tell a line of text from a drawing that was taken for one."""
    return line.score >= LEGIBLE_SCORE and letters(line.text) >= LEGIBLE_LETTERS


def letters(text: str) -> int:
    """Count letters and digits."""
    return sum(character.isalnum() for character in text)


def _text(quad_n42: NDArray[np.float32], read: Mapping[int, Line]) -> Text:
    """Put quads and the lines read at some of their positions together."""
    refuted = {k for k, line in read.items() if not legible(line)}
    regions = [k for k in range(len(quad_n42)) if k not in refuted]
    lines = tuple(read[k].text.strip() for k in sorted(read) if k not in refuted)
    return Text(quad_n42, lines, quad_n42[regions])
