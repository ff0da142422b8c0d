"""What a state is made of: weights and moments by the names that a model gives its parameters.

By name, so that neither how the model is spread over ranks nor how many there are plays a part.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.optim import Optimizer

# A frozen tower comes back from its own weights, so a state is megabytes, not gigabytes.
TRAINED = StateDictOptions(ignore_frozen_params=True, strict=False)


class Part(Protocol):
    """A part of a state: tensors, numbers, and dicts of them, by name; the same on any ranks."""

    def state_dict(self) -> dict[str, Any]:
        """Return what is saved; what is loaded is written into the tensors of the same."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> object:
        """Go on from a state."""
        ...


Parts = Mapping[str, Part]


class Weights:
    """What training changes in a model: parameters with a gradient, and buffers."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def state_dict(self) -> dict[str, Any]:
        """Return tensors by name; sharded ones stay sharded."""
        return get_model_state_dict(self.model, options=TRAINED)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        set_model_state_dict(self.model, state, options=TRAINED)


class Moments:
    """What optimisers remember of a model's parameters."""

    def __init__(self, model: nn.Module, optimizers: Optimizer | Sequence[Optimizer]) -> None:
        self.model = model
        self.optimizers = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' state by the names of parameters; made of zeros if need be."""
        return get_optimizer_state_dict(self.model, self.optimizers)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        set_optimizer_state_dict(self.model, self.optimizers, state)
