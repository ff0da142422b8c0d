"""The text side of the input: what the text tower takes for every pair, made once and kept.

On disk beside the index, memory-mapped; for few pairs in memory.
Shape letters: N pairs, B of a batch, K captions of a pair, L tokens (or width of a locked trunk),
P parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.fingerprint import fingerprint
from pipeline.pairs import Pairs
from training.input.kept_texts import (
    Encode,
    Kind,
    Part,
    Tokenizer,
    inputs_of,
    last_file,
    open_part,
    part_of,
    save_part,
)
from training.parallel.ranks import ALONE, Ranks

VERSION = 1  # raise when the same captions come to give other inputs


@dataclass(frozen=True, slots=True)
class Texts:
    """What the text tower takes, by row of the pairs; sent to another process as paths.

    Attributes:
        kind: What is kept.
        captions: K.
        start_P: Row at which each part begins and, last, N; int64 [P + 1].
        stems: Paths of the parts' files without their ends; none if they are in memory.
        held: Parts that are open, by number.
    """

    kind: Kind
    captions: int
    start_P: NDArray[np.int64]
    stems: tuple[str, ...] = ()
    held: dict[int, Part] = field(default_factory=dict, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out parts that can be opened again."""
        held = {} if self.stems else self.held
        return Texts, (self.kind, self.captions, self.start_P, self.stems, held)

    def take(self, row_B: NDArray[np.int64], number_B: NDArray[np.int64] | None = None) -> Tensor:
        """Return the inputs of these rows, [B, L].

        Args:
            row_B: Positions of pairs.
            number_B: Which caption of each pair, in [0, K); None takes all, [B * K, L], those of a
                pair one after the other.
        """
        numbers = np.arange(self.captions)[None] if number_B is None else number_B[:, None]
        number_BK, row_BK = np.broadcast_arrays(numbers, np.asarray(row_B)[:, None])
        row_n, number_n = row_BK.reshape(-1), number_BK.reshape(-1)
        part_n = np.searchsorted(self.start_P, row_n, "right") - 1
        found, order = [], []
        for part in np.unique(part_n).tolist():
            which = np.flatnonzero(part_n == part)
            item_n = (row_n[which] - self.start_P[part]) * self.captions + number_n[which]
            found.append(self._part(part).take(item_n))
            order.append(which)
        back = np.argsort(np.concatenate(order), kind="stable")
        return torch.cat(found)[torch.from_numpy(back)]

    def _part(self, part: int) -> Part:
        if part not in self.held:
            self.held[part] = open_part(Path(self.stems[part]), self.kind)
        return self.held[part]


def texts_in_memory(
    captions: Sequence[str] | Sequence[Sequence[str]],
    tokenize: Tokenizer,
    *,
    encode: Encode | None = None,
) -> Texts:
    """Return what the text tower takes for few captions.

    Args:
        captions: N captions, or K columns of them.
        tokenize: The model's tokenizer.
        encode: What a locked trunk says of tokens, which is then kept in their place.
    """
    first = captions[0] if len(captions) else ""
    columns: Any = [captions] if isinstance(first, str) else captions
    kind = Kind.of(tokenize, encode)
    chunks = list(inputs_of(columns, range(len(columns[0])), tokenize, encode, kind))
    part = part_of(chunks, kind)
    return Texts(kind, len(columns), np.array([0, len(columns[0])]), held={0: part})


def texts_of(
    pairs: Pairs,
    tokenize: Tokenizer,
    *,
    identity: Any,
    encode: Encode | None = None,
    ranks: Ranks = ALONE,
) -> Texts:
    """Return what the text tower takes for pairs; made once, beside their index.

    Args:
        pairs: With K columns of captions.
        tokenize: The model's tokenizer.
        identity: What tokenizer, and weights of a locked trunk, are known by: plain values.
        encode: What a locked trunk says of tokens, which is then kept in their place.
        ranks: Who shares the work; all of them have to call.
    """
    columns = list(pairs.all_captions.values())
    if not pairs.home:
        return texts_in_memory(columns, tokenize, encode=encode)
    kind = Kind.of(tokenize, encode)
    what = [list(pairs.all_captions), kind.length, kind.pad, kind.width]
    name = fingerprint("texts", version=VERSION, what=what, identity=identity)
    home, start_P = Path(pairs.home) / f"texts-{name}", pairs.parts.start_P
    home.mkdir(exist_ok=True)
    stems = tuple(str(home / f"part-{part:05}") for part in range(pairs.parts.count))
    mine = list(range(ranks.rank, len(stems), ranks.count))
    for turn, parts in enumerate((mine, range(len(stems)))):  # then those of ranks with other disks
        for part in parts:
            if not Path(f"{stems[part]}{last_file(kind)}").exists():
                rows = range(int(start_P[part]), int(start_P[part + 1]))
                save_part(stems[part], inputs_of(columns, rows, tokenize, encode, kind), kind)
        if not turn:
            ranks.barrier()
    return Texts(kind, len(columns), start_P, stems)
