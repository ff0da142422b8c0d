"""Gradients of a model that may be whole on every rank, sharded, or partly so.

After `synchronise`, each rank's gradients are the whole batch's: all of them with DDP, this rank's
shards (DTensors) with FSDP.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from training.parallel.ranks import Ranks

TINY = 1e-6  # torch's own, so that a step is what `clip_grad_norm_` would make it


def local(tensor: Tensor) -> Tensor:
    """Return what this rank holds of a tensor; writing into it writes into the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the gradients that there are."""
    return [p.grad for p in parameters if p.grad is not None]


def synchronise(parameters: Iterable[Tensor], ranks: Ranks) -> None:
    """Average over ranks what FSDP left alone: gradients of unsharded parameters, which are few.

    Call it once a step, after the last backward pass. DDP leaves nothing.
    """
    grads = gradients(parameters)
    if not any(isinstance(grad, DTensor) for grad in grads):
        return
    alone = [grad for grad in grads if not isinstance(grad, DTensor)]
    if not alone:
        return
    mean = ranks.sum(torch.cat([grad.reshape(-1) for grad in alone])) / ranks.count
    parts = mean.split([grad.numel() for grad in alone])
    for grad, part in zip(alone, parts, strict=True):
        grad.copy_(part.view_as(grad))


def measure(loss: Tensor, parameters: Iterable[Tensor], ranks: Ranks) -> Tensor:
    """Return the mean loss over ranks and the norm of the whole gradient, [2] float32.

    Every rank gets the same bits, whatever it computed itself: what follows from them, such as
    whether to take the step, is the same everywhere. One reduction, no wait for the device.
    """
    whole, sharded = _squares(parameters, loss.device)
    total = ranks.sum(torch.stack([loss.detach().float(), whole, sharded]))
    mean = total / ranks.count
    return torch.stack([mean[0], (mean[1] + total[2]).sqrt()])


def norm(parameters: Iterable[Tensor], ranks: Ranks) -> Tensor:
    """Return the norm of the whole gradient, a float32 scalar on the device."""
    parameters = list(parameters)
    return measure(torch.zeros((), device=parameters[0].device), parameters, ranks)[1]


@torch.no_grad()
def scale_to(parameters: Iterable[Tensor], norm: float | Tensor, *, largest: float) -> None:
    """Scale gradients of a given norm so that it is at most `largest`.

    A norm that is known here, and small enough, costs nothing.
    """
    if isinstance(norm, float) and norm <= largest:
        return
    grads = [local(grad) for grad in gradients(parameters)]
    if isinstance(norm, float):
        torch._foreach_mul_(grads, largest / (norm + TINY))
    else:
        torch._foreach_mul_(grads, torch.clamp(largest / (norm + TINY), max=1.0))


def _squares(parameters: Iterable[Tensor], device: torch.device) -> tuple[Tensor, Tensor]:
    """Sum the squares of the gradients that each rank holds whole, and of its shards."""
    grads = gradients(parameters)
    return (
        _square([g for g in grads if not isinstance(g, DTensor)], device),
        _square([local(g) for g in grads if isinstance(g, DTensor)], device),
    )


def _square(grads: list[Tensor], device: torch.device) -> Tensor:
    if not grads:
        return torch.zeros((), device=device)
    return torch.stack(torch._foreach_norm(grads)).to(device, torch.float32).square().sum()
