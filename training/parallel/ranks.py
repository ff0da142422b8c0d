"""The processes that train together, and the little they say to each other besides gradients.

Letters: W ranks, B pairs of the whole batch.
"""

from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

from training.config import Device


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train one model.

    With more than one, torch's default process group has to exist.

    Attributes:
        rank: Of this process, in [0, count).
        count: W.
        device: Where this process computes.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def share(self, batch_size: int, rank: int | None = None) -> range:
        """Return which of the B pairs of a batch a rank takes; shares differ by one at most.

        Every W is served, so that a run may go on with fewer machines than it began with.
        """
        at = self.rank if rank is None else rank
        return range(at * batch_size // self.count, (at + 1) * batch_size // self.count)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over ranks of a tensor that every rank has; no gradient flows."""
        total = values.detach().clone()
        if self.count > 1:
            dist.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        """Tell every rank whether any of them says yes."""
        if self.count == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)).item())

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.count > 1:
            dist.barrier()


def device_of(wanted: Device, local_rank: int = 0) -> torch.device:
    """Return the device of a rank, by its number on this machine.

    Raises:
        ValueError: There are no GPUs, or fewer than ranks on this machine.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and there == 0):
        return torch.device("cpu")
    if local_rank >= there:
        raise ValueError(
            f"train.device: got {wanted!r} and rank {local_rank} on this machine, expected a GPU "
            f"for each rank; there are {there} here, start no more ranks, or use 'cpu'"
        )
    return torch.device("cuda", local_rank)


ALONE = Ranks()
