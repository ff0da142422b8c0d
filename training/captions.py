"""The text side of a step: what the captions of a batch say, as unit-norm embeddings.

A frozen trunk says the same of a caption every time, so it is asked once per distinct caption and
only the projection runs in a step. A trainable tower gets the tokens, made once.
Shape letters: B batch, U distinct captions, L tokens, W width of the trunk, D embedding.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.model import ClipModel, text_tower

Tokenizer = Callable[[list[str]], Tensor]  # B texts -> int64 [B, L], padded to the model's length

CHUNK = 64  # captions that go through a frozen trunk at a time


class TextSide:
    """Embeds captions by their row in the pairs.

    Args:
        model: An open_clip model with a text tower of its own.
        tokenize: The model's tokenizer.
        captions: One per row.
        frozen: Whether the trunk is locked, so that its output may be kept.
    """

    def __init__(
        self, model: ClipModel, tokenize: Tokenizer, captions: Sequence[str], *, frozen: bool
    ) -> None:
        self.tower: Any = text_tower(model)
        distinct, self.caption_N = distinct_texts(captions)
        tokens_UL = _tokens(tokenize, distinct)
        self.frozen = frozen
        inputs_U = _through(partial(_trunk, self.tower), tokens_UL) if frozen else tokens_UL
        self.inputs_U = inputs_U

    def __call__(self, row_B: NDArray[np.int64]) -> Tensor:
        """Return float32 unit-norm embeddings [B, D] of the captions of these rows."""
        inputs_B = self.inputs_U[torch.from_numpy(self.caption_N[row_B])]
        if self.frozen:
            features_BD = self.tower.proj(inputs_B) if _is_hugging_face(self.tower) else inputs_B
        else:
            features_BD = self.tower(_trim(self.tower, inputs_B))
        return F.normalize(features_BD.float(), dim=-1)


def embed_texts(model: ClipModel, tokenize: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Return float32 unit-norm embeddings [N, D] of N texts, as the model is now."""
    distinct, text_N = distinct_texts(texts)
    tower = text_tower(model)
    features_UD = _through(lambda t: tower(_trim(tower, t)), _tokens(tokenize, distinct))
    return F.normalize(features_UD, dim=-1)[torch.from_numpy(text_N)]


def distinct_texts(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct texts, short ones first, and which of them each text is.

    Neighbours are of like length, so that a chunk is padded little.
    """
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    number = {text: i for i, text in enumerate(distinct)}
    return distinct, np.array([number[text] for text in texts], np.int64)


def _tokens(tokenize: Tokenizer, texts: list[str]) -> Tensor:
    return torch.cat([tokenize(texts[i : i + CHUNK]) for i in range(0, len(texts), CHUNK)])


@torch.no_grad()
def _through(network: Callable[[Tensor], Tensor], tokens_UL: Tensor) -> Tensor:
    """Run all texts through a network, a chunk at a time; float32 [U, ...]."""
    return torch.cat([network(chunk_L) for chunk_L in tokens_UL.split(CHUNK)]).float()


def _is_hugging_face(tower: Any) -> bool:
    """Tell open_clip's Hugging Face tower from its own kinds, which are all of a piece."""
    return all(hasattr(tower, part) for part in ("transformer", "pooler", "proj"))


def _trim(tower: Any, tokens_BL: Tensor) -> Tensor:
    """Cut padding that no text of the batch needs; exact, because attention masks it anyway.

    open_clip's own towers get all of it: whether they mask it depends on their settings.
    """
    if not _is_hugging_face(tower):
        return tokens_BL
    longest = int((tokens_BL != tower.config.pad_token_id).sum(dim=1).max())
    return tokens_BL[:, :longest]


def _trunk(tower: Any, tokens_UL: Tensor) -> Tensor:
    """Return what a tower computes below its projection, [U, W]."""
    tokens_UL = _trim(tower, tokens_UL)
    if not _is_hugging_face(tower):
        return tower(tokens_UL)
    mask_UL = (tokens_UL != tower.config.pad_token_id).long()
    output = tower.transformer(input_ids=tokens_UL, attention_mask=mask_UL)
    return tower.pooler(output, mask_UL)
