"""A large batch in several passes through the towers, with one loss over all of it: GradCache.

Features of all passes are made without a graph, the loss gives their gradients, and each pass is
made a second time to take them on to the parameters (arXiv:2101.06983). It costs one more forward
pass and is exact: the loss sees all pairs, dropout draws the same twice, scale and bias get their
gradient once.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from training.parallel.ranks import Ranks

Part = TypeVar("Part")
Encode = Callable[[Part], tuple[Tensor, ...]]


def passes(ranks: Ranks, batch_size: int, *, micro_batch: int) -> list[range]:
    """Cut this rank's share of a batch into passes of at most `micro_batch` pairs.

    All ranks make equally many, because collectives of sharded towers wait for all of them; so a
    pass may have two pairs where `micro_batch` is 1 and the shares differ.

    Args:
        ranks: Who share the batch; each has a pair at least.
        batch_size: Pairs of the whole batch.
        micro_batch: 0 makes one pass.

    Returns:
        Ranges that begin at 0, with this rank's first pair.
    """
    shares = [len(ranks.share(batch_size, rank)) for rank in range(ranks.count)]
    count = min(-(-max(shares) // micro_batch), *shares) if micro_batch else 1
    pairs = shares[ranks.rank]
    return [range(i * pairs // count, (i + 1) * pairs // count) for i in range(count)]


def accumulate(
    encode: Encode[Part],
    loss: Callable[[tuple[Tensor, ...]], Tensor],
    parts: Sequence[Part],
    *,
    seed: Callable[[Part], None],
    no_sync: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Tensor:
    """Add the gradients of a batch's loss to those of the parameters; return the loss, detached.

    Args:
        encode: Through the towers. The first dimension of its tensors goes over pairs; those
            without dimensions (scale, bias) are the same for every part.
        loss: Of the features of all parts, one after the other; called once.
        parts: Of the batch, at least one. A single one is encoded only once.
        seed: Called before each pass: a part has to draw the same dropout again.
        no_sync: Makes the context in which gradients stay on their rank, as DDP's does; all
            second passes but the last are in it.
    """
    if len(parts) == 1:
        seed(parts[0])
        value = loss(encode(parts[0]))
        value.backward()
        return value.detach()
    encoded = _encode_without_graph(encode, parts, seed)
    features = tuple(
        (column[0] if column[0].dim() == 0 else torch.cat(column)).requires_grad_()
        for column in zip(*encoded, strict=True)
    )
    value = loss(features)
    value.backward()
    grads = _cut(features, encoded)
    for part, of_part in zip(parts[:-1], grads[:-1], strict=True):
        with no_sync():
            _backward_again(encode, part, of_part, seed)
    _backward_again(encode, parts[-1], grads[-1], seed)
    return value.detach()


def require_no_batch_norm(model: nn.Module, *, micro_batch: int) -> None:
    """Refuse passes through a model whose layers go by the statistics of a batch.

    Args:
        model: As it trains: layers in eval mode do no harm.
        micro_batch: Pairs of a pass; 0 is the whole batch.

    Raises:
        ValueError: A BatchNorm layer is in train mode.
    """
    layers = [n for n, m in model.named_modules() if isinstance(m, _BatchNorm) and m.training]
    if micro_batch and layers:
        raise ValueError(
            f"parallel.micro_batch: got {micro_batch} for a model with {len(layers)} BatchNorm "
            f"layers (the first is {layers[0]}), expected 0, because their statistics would be "
            "those of a pass; take a tower without BatchNorm, or more ranks"
        )


@torch.no_grad()
def _encode_without_graph(
    encode: Encode[Part], parts: Sequence[Part], seed: Callable[[Part], None]
) -> list[tuple[Tensor, ...]]:
    encoded = []
    for part in parts:
        seed(part)
        encoded.append(tuple(feature.detach() for feature in encode(part)))
    return encoded


def _cut(
    features: tuple[Tensor, ...], encoded: list[tuple[Tensor, ...]]
) -> list[tuple[Tensor | None, ...]]:
    """Return the gradients of each part's features; those of scalars go with the last part."""
    cut: list[list[Tensor | None]] = [[] for _ in encoded]
    for i, feature in enumerate(features):
        of_parts: list[Tensor | None] = [None] * len(encoded)
        if feature.dim() == 0:
            of_parts[-1] = feature.grad
        elif feature.grad is not None:
            of_parts = list(feature.grad.split([len(part[i]) for part in encoded]))
        for grads, grad in zip(cut, of_parts, strict=True):
            grads.append(grad)
    return [tuple(grads) for grads in cut]


def _backward_again(
    encode: Encode[Part],
    part: Part,
    grads: tuple[Tensor | None, ...],
    seed: Callable[[Part], None],
) -> None:
    seed(part)
    both = [
        (feature, grad)
        for feature, grad in zip(encode(part), grads, strict=True)
        if feature.requires_grad and grad is not None
    ]
    torch.autograd.backward([feature for feature, _ in both], [grad for _, grad in both])
