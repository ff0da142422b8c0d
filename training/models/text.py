"""Text towers from outside: what is trimmed, what a locked trunk says, what is projected.

Shape letters: B or N texts, L tokens, W width of the trunk, D embedding.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from training.input.kept_texts import distinct_texts, tokens_of
from training.models.build import ClipModel, text_tower

Tokenizer = Callable[[list[str]], Tensor]  # N texts -> int64 [N, L], padded to the model's length

CHUNK = 64  # captions that go through a network at a time


def trim(tower: Any, tokens_BL: Tensor) -> Tensor:
    """Cut padding that no text of the batch needs; exact, because attention masks it anyway.

    open_clip's own towers get all of it: whether they mask it depends on their settings.
    """
    if not _is_hugging_face(tower):
        return tokens_BL
    longest = int((tokens_BL != tower.config.pad_token_id).sum(dim=1).max())
    return tokens_BL[:, :longest]


def project(tower: Any, said_BW: Tensor) -> Tensor:
    """Return embeddings [B, D] of what the locked trunk said, not normalised."""
    return tower.proj(said_BW) if _is_hugging_face(tower) else said_BW


@torch.no_grad()
def trunk_outputs(tower: Any, tokens_NL: Tensor) -> Tensor:
    """Return what a tower computes below its projection, float32 [N, W], a chunk at a time."""
    return _through(partial(_trunk, tower), tokens_NL)


@torch.no_grad()
def embed_texts(model: ClipModel, tokenize: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Return float32 unit-norm embeddings [N, D] of N texts, as the model is now."""
    distinct, text_N = distinct_texts(texts)
    tower = text_tower(model)
    features_UD = _through(lambda t: tower(trim(tower, t)), tokens_of(tokenize, distinct))
    return F.normalize(features_UD, dim=-1)[torch.from_numpy(text_N)]


def _through(network: Callable[[Tensor], Tensor], tokens_NL: Tensor) -> Tensor:
    """Run all texts through a network, a chunk at a time; float32 [N, ...]."""
    return torch.cat([network(chunk_L) for chunk_L in tokens_NL.split(CHUNK)]).float()


def _is_hugging_face(tower: Any) -> bool:
    """Tell open_clip's Hugging Face tower from its own kinds, which are all of a piece."""
    return all(hasattr(tower, part) for part in ("transformer", "pooler", "proj"))


def _trunk(tower: Any, tokens_BL: Tensor) -> Tensor:
    tokens_BL = trim(tower, tokens_BL)
    if not _is_hugging_face(tower):
        return tower(tokens_BL)
    mask_BL = (tokens_BL != tower.config.pad_token_id).long()
    output = tower.transformer(input_ids=tokens_BL, attention_mask=mask_BL)
    return tower.pooler(output, mask_BL)
