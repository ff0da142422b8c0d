"""The text side of the input: what the text tower takes for every pair, made once.

Shape letters: N pairs, B of a batch, U distinct captions, L tokens (or width of a locked trunk).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Tokenizer = Callable[[list[str]], Tensor]  # N texts -> int64 [N, L], padded to the model's length

CHUNK = 64  # captions that are tokenised at a time


class Texts:
    """What the text tower takes, by row of the pairs.

    Args:
        captions: N captions.
        tokenize: The model's tokenizer.
        encode: What a locked trunk says of tokens, which is then kept in their place; None keeps
            the tokens.
    """

    def __init__(
        self,
        captions: Sequence[str],
        tokenize: Tokenizer,
        *,
        encode: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        distinct, self.caption_N = distinct_texts(captions)
        tokens_UL = tokens_of(tokenize, distinct)
        self.inputs_UL = tokens_UL if encode is None else encode(tokens_UL)

    def take(self, row_B: NDArray[np.int64]) -> Tensor:
        """Return the inputs of these rows, [B, L]."""
        return self.inputs_UL[torch.from_numpy(self.caption_N[row_B])]


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
