"""A model's weights in one piece, wherever its shards lie."""

from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict


def full_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return all weights and buffers on the CPU, under the model's own names, on the first rank.

    All ranks call it; the others get an empty dict where the model is sharded. At no time is more
    than one weight of a sharded model whole on a rank's device.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state: dict[str, Any] = get_model_state_dict(model, options=options)
    return state
