"""What is kept of captions for the text tower: tokens without padding, or what a locked trunk said.

Tokens lie one after the other, what a trunk said as a row for each distinct caption of a chunk.
Shape letters: B captions of a batch, U distinct captions, L tokens (or W, width of a locked trunk),
I captions of a part, those of a pair one after the other, T tokens of all.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Tokenizer = Callable[[list[str]], Tensor]  # N texts -> int64 [N, L], padded to the model's length
Encode = Callable[[Tensor], Tensor]  # tokens [U, L] -> what a locked trunk says, float [U, W]
Array = NDArray[Any]
Chunk = tuple[Array, Array]  # tokens and their number by caption; or said [U, W], and which of U

CHUNK = 64  # captions that are tokenised at a time
SAID = "<f4"  # type of what a trunk said
SOME = 65_536  # captions that are held in memory at a time, and among which distinct ones are found


class Part(Protocol):
    """The inputs of some neighbouring pairs."""

    def take(self, item_B: NDArray[np.int64]) -> Tensor:
        """Return those of some captions, [B, L]."""
        ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens without their padding.

    Attributes:
        token_T: uint8, uint16 or int32.
        start_I: Where each caption's begin and, last, T; int64 [I + 1].
        length: L.
        pad: What fills up.
    """

    token_T: Array
    start_I: Array
    length: int
    pad: int

    def take(self, item_B: NDArray[np.int64]) -> Tensor:
        """Return the tokens of some captions, int64 [B, L]."""
        start_B, end_B = self.start_I[item_B], self.start_I[item_B + 1]
        place_BL = start_B[:, None] + np.arange(self.length)
        is_token_BL = place_BL < end_B[:, None]
        token_BL = np.full(place_BL.shape, self.pad, np.int64)
        token_BL[is_token_BL] = self.token_T[place_BL[is_token_BL]]
        return torch.from_numpy(token_BL)


@dataclass(frozen=True, slots=True)
class Said:
    """What a locked trunk said.

    Attributes:
        said_UW: float32.
        number_I: Which of them each caption is, int64 [I].
    """

    said_UW: Array
    number_I: Array

    def take(self, item_B: NDArray[np.int64]) -> Tensor:
        """Return what was said of some captions, float32 [B, W]."""
        return torch.from_numpy(self.said_UW[self.number_I[item_B]])


@dataclass(frozen=True, slots=True)
class Kind:
    """What is kept of captions.

    Attributes:
        length: L.
        pad: The token that fills up.
        width: W of what a locked trunk says; 0 keeps tokens.
    """

    length: int
    pad: int
    width: int

    @classmethod
    def of(cls, tokenize: Tokenizer, encode: Encode | None) -> "Kind":
        """Find out by a text without a word: all but its end is padding."""
        token_1L = tokenize([""])
        width = 0 if encode is None else encode(token_1L).shape[1]
        return cls(token_1L.shape[1], int(token_1L[0, -1]), width)


def distinct_texts(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct texts, short ones first, and which of them each text is.

    Neighbours are of like length, so that a chunk is padded little.
    """
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    number = {text: i for i, text in enumerate(distinct)}
    return distinct, np.array([number[text] for text in texts], np.int64)


def tokens_of(tokenize: Tokenizer, texts: list[str]) -> Tensor:
    """Return the tokens of N texts, int64 [N, L], a chunk at a time."""
    return torch.cat([tokenize(texts[i : i + CHUNK]) for i in range(0, len(texts), CHUNK)])


def inputs_of(
    columns: Sequence[Any], rows: range, tokenize: Tokenizer, encode: Encode | None, kind: Kind
) -> Iterator[Chunk]:
    """Yield the inputs of some pairs' captions at a time."""
    step = max(1, SOME // len(columns))
    for start in range(rows.start, rows.stop, step):
        some = slice(start, min(start + step, rows.stop))
        texts = [
            text for of_pair in zip(*(c[some] for c in columns), strict=True) for text in of_pair
        ]
        distinct, number_I = distinct_texts(texts)
        token_UL = tokens_of(tokenize, distinct)
        if encode is not None:
            said_UW = encode(token_UL).detach().cpu().numpy()
            yield said_UW.astype(SAID), number_I
        else:
            token_IL = token_UL.numpy()[number_I]
            is_kept_IL = np.cumsum((token_IL != kind.pad)[:, ::-1], axis=1)[:, ::-1] > 0
            yield _smallest(token_IL[is_kept_IL]), is_kept_IL.sum(axis=1)


def part_of(chunks: Sequence[Chunk], kind: Kind) -> Part:
    """Put chunks together in memory."""
    values, numbers = zip(*chunks, strict=True) if chunks else ((), ())
    if not kind.width:
        token_T = np.concatenate([np.empty(0, np.uint8), *values])
        start_I = np.concatenate([[0], np.cumsum(np.concatenate([np.empty(0, int), *numbers]))])
        return Tokens(token_T, start_I.astype(np.int64), kind.length, kind.pad)
    said_UW = np.concatenate([np.empty((0, kind.width), SAID), *values])
    before = np.cumsum([0, *(len(value) for value in values)])
    number_I = [number + start for number, start in zip(numbers, before, strict=False)]
    return Said(said_UW, np.concatenate([np.empty(0, np.int64), *number_I]))


def save_part(stem: str, chunks: Iterator[Chunk], kind: Kind) -> None:
    """Write a part; its last file appears when it is whole."""
    if not kind.width:
        part = part_of(list(chunks), kind)
        assert isinstance(part, Tokens)
        _publish(f"{stem}.tokens.npy", lambda file: np.save(file, part.token_T))
        _publish(f"{stem}{last_file(kind)}", lambda file: np.save(file, part.start_I))
        return
    numbers, rows = [np.empty(0, np.int64)], 0

    def write(file: Any) -> None:
        nonlocal rows
        for said_UW, number_I in chunks:
            file.write(said_UW.tobytes())
            numbers.append(number_I + rows)
            rows += len(said_UW)

    _publish(f"{stem}.said.bin", write)
    _publish(f"{stem}{last_file(kind)}", lambda file: np.save(file, np.concatenate(numbers)))


def _publish(path: str, write: Callable[[Any], None]) -> None:
    """Write a file under another name first, so that it is there whole or not at all."""
    draft = Path(f"{path}.{uuid.uuid4().hex}.tmp")
    try:
        with draft.open("xb") as file:
            write(file)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def open_part(stem: Path, kind: Kind) -> Part:
    """Map the files of a part."""
    last = np.load(f"{stem}{last_file(kind)}", mmap_mode="r", allow_pickle=False)
    if not kind.width:
        token_T = np.load(f"{stem}.tokens.npy", mmap_mode="r", allow_pickle=False)
        return Tokens(token_T, last, kind.length, kind.pad)
    return Said(np.memmap(f"{stem}.said.bin", SAID, "r").reshape(-1, kind.width), last)


def last_file(kind: Kind) -> str:
    """Return how the file of a part is called that is written last."""
    return ".numbers.npy" if kind.width else ".starts.npy"


def _smallest(token_T: Array) -> Array:
    """Return tokens in the smallest type that holds them."""
    largest = int(token_T.max(initial=0))
    if token_T.min(initial=0) < 0 or largest >= 1 << 16:
        return token_T.astype(np.int32)
    return token_T.astype(np.uint8 if largest < 1 << 8 else np.uint16)
