"""Text towers from outside: what is trimmed, what a locked trunk says, what is projected.

Shape letters: B or N texts, L tokens, W width of the trunk, D embedding.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from filters.byte_tower import PAD, ByteTower

CHUNK = 64  # captions that go through a network at a time
LENGTHS = 8  # trimmed lengths are multiples of it, so that a compiled tower meets few shapes


def trim(tower: Any, tokens_BL: Tensor) -> Tensor:
    """Cut what comes after the last token that any embedding of the batch depends on.

    It looks at the tokens; where they are on a GPU already, that is waited for.
    Exact where padding is masked (Hugging Face's towers, the byte tower) and where a token sees
    only those before it and the embedding is read off at the end of the text (CLIP's own). Towers
    that look at their padding, such as SigLIP's, get all of it.
    """
    needed = -(-_needed(tower, tokens_BL) // LENGTHS) * LENGTHS
    return tokens_BL[:, :needed]


def encode_text(tower: Any, tokens_BL: Tensor) -> Tensor:
    """Return embeddings [B, D], not normalised, from as few tokens as the batch needs."""
    return encode_trimmed(tower, trim(tower, tokens_BL))


def encode_trimmed(tower: Any, tokens_BL: Tensor) -> Tensor:
    """Return embeddings [B, D], not normalised, of what `trim` has left."""
    mask = cut_mask(tower, tokens_BL.shape[1])
    return torch.func.functional_call(tower, mask, (tokens_BL,)) if mask else tower(tokens_BL)


def cut_mask(tower: Any, length: int) -> dict[str, Tensor]:
    """Return the causal mask of a tower that has a longer one: open_clip does not cut it."""
    if not _reads_off(tower) or len(tower.attn_mask) == length:
        return {}
    return {"attn_mask": tower.attn_mask[:length, :length]}


def project(tower: Any, said_BW: Tensor) -> Tensor:
    """Return embeddings [B, D] of what the locked trunk said, not normalised."""
    return tower.proj(said_BW) if hasattr(tower, "proj") else said_BW


@torch.no_grad()
def trunk_outputs(tower: Any, tokens_NL: Tensor) -> Tensor:
    """Return what a tower computes below its projection, float32 [N, W], a chunk at a time.

    open_clip's own towers are locked with their projection: theirs is the embedding.
    """
    return _through(partial(_trunk, tower), tokens_NL)


def _needed(tower: Any, tokens_BL: Tensor) -> int:
    """Return how many leading tokens the batch's embeddings depend on."""
    if isinstance(tower, ByteTower):
        return _last(tokens_BL != PAD)
    if _is_hugging_face(tower):
        return _last(tokens_BL != tower.config.pad_token_id)
    if _reads_off(tower):
        # As `text_global_pool`: the largest token ends a text, or the one that is said to.
        ends_BL = tokens_BL if tower.pool_type == "argmax" else (tokens_BL == tower.eos_id).int()
        return int(ends_BL.argmax(dim=1).max()) + 1
    return tokens_BL.shape[1]


def _last(kept_BL: Tensor) -> int:
    """Return the length up to the last kept token of any row, at least 1."""
    return max(
        1, int((kept_BL * torch.arange(1, kept_BL.shape[1] + 1, device=kept_BL.device)).max())
    )


def _reads_off(tower: Any) -> bool:
    """Tell open_clip's causal towers whose embedding stands at the end of the text."""
    return (
        getattr(tower, "attn_mask", None) is not None
        and getattr(tower, "cls_emb", None) is None
        and getattr(tower, "pool_type", "") in ("argmax", "eos")
    )


def _is_hugging_face(tower: Any) -> bool:
    """Tell open_clip's Hugging Face tower from its own kinds, which are all of a piece."""
    return all(hasattr(tower, part) for part in ("transformer", "pooler", "proj"))


def _through(network: Callable[[Tensor], Tensor], tokens_NL: Tensor) -> Tensor:
    """Run all texts through a network, a chunk at a time; float32 [N, ...]."""
    return torch.cat([network(chunk_L) for chunk_L in tokens_NL.split(CHUNK)]).float()


def _trunk(tower: Any, tokens_BL: Tensor) -> Tensor:
    if isinstance(tower, ByteTower):
        return tower.trunk(trim(tower, tokens_BL))
    if not _is_hugging_face(tower):
        return encode_text(tower, tokens_BL)
    tokens_BL = trim(tower, tokens_BL)
    mask_BL = (tokens_BL != tower.config.pad_token_id).long()
    output = tower.transformer(input_ids=tokens_BL, attention_mask=mask_BL)
    return tower.pooler(output, mask_BL)
