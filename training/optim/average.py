"""A moving average of the weights, which often judges better than the weights it follows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from training.parallel.gradients import local


class Average:
    """Float32 averages of everything of a model that trains; sharded as the model is.

    What is frozen is the same in both. Buffers (running statistics) are not averaged: where the
    averages are shown, they are the model's current ones, which are averages themselves.

    Args:
        model: Already in its final form, and on its device.
        decay: Of the average, in (0, 1). Early on it is (1 + n) / (10 + n) after n updates if that
            is less, so that the weights a run began with do not linger.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._averages = {n: p.detach().float().clone() for n, p in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Follow the weights; call it after each step that was taken."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        weights = [weight.float() for weight in _all(self._weights)]
        torch._foreach_lerp_(_all(self._averages), weights, 1 - decay)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Have the averages in the model, to evaluate or to export it; they change places."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        """Return averages by name (DTensors where the model is sharded), and their count."""
        return {"updates": self.updates, "averages": dict(self._averages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.updates = int(state["updates"])
        with torch.no_grad():
            for name, average in self._averages.items():
                average.copy_(state["averages"][name])

    @torch.no_grad()
    def _swap(self) -> None:
        """Exchange weights and averages, one weight at a time: memory for one more is enough."""
        pairs = zip(_all(self._weights), _all(self._averages), strict=True)
        for weight, average in pairs:
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)


def _all(tensors: dict[str, Any]) -> list[Tensor]:
    return [local(tensor.detach()) for tensor in tensors.values()]
