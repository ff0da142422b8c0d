"""torchrun: it has started this process among others, and says so in the environment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import torch
import torch.distributed as dist

from training.parallel.ranks import Device, Ranks, device_of
from training.runs.runtime import Here

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def started_by_torchrun() -> bool:
    """Tell whether torchrun, or what speaks as it does, has started this process."""
    return all(name in os.environ for name in VARIABLES)


@contextmanager
def joined(device: Device = "auto") -> Iterator[Here]:
    """Join torchrun's other ranks for a `with` block; without torchrun this process is alone.

    What the other ranks print to standard output is not shown: it would be said many times.

    Args:
        device: `auto` takes a GPU for each rank if there are any.

    Raises:
        ValueError: There are no GPUs, or fewer than ranks on this machine.
    """
    if not started_by_torchrun():
        here = Here(Ranks(device=device_of(device)))
        yield here
        return
    rank, count, local = (int(os.environ[name]) for name in VARIABLES[:3])
    own = device_of(device, local)
    if own.type == "cuda":
        torch.cuda.set_device(own)
        dist.init_process_group("nccl", device_id=own)
    else:
        dist.init_process_group("gloo")
    here = Here(Ranks(rank, count, own))
    try:
        with _printing(here.ranks.is_first):
            yield here
        here.once(lambda: None)  # whoever leaves early breaks the connections of the others
    finally:
        here.close()
        dist.destroy_process_group()


@contextmanager
def _printing(wanted: bool) -> Iterator[None]:
    if wanted:
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield
