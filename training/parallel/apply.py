"""What is done to an encoder so that many ranks train it: functions applied to a plain module.

The model's code knows nothing of it. Order: memory format, compilation, then wrapping, innermost
parts first.
"""

import inspect
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from training.config import Parallel
from training.parallel.blocks import blocks, towers
from training.parallel.layout import lay_out
from training.parallel.ranks import Ranks

SHAPES = 64  # of one kind of block, each with and without gradients, that are compiled


def parallelise(
    encoder: nn.Module, cfg: Parallel, *, ranks: Ranks, backend: str = "inductor"
) -> nn.Module:
    """Make an encoder ready for a step; its parameters keep their names in the model it holds.

    bfloat16 is left to the encoder's autocast, with DDP and FSDP alike: weights, gradients and
    their reductions are float32, so that both compute the same but for rounding. FSDP's own policy
    would halve what is gathered, and round gains, biases and the residual stream besides.

    Args:
        encoder: On its device; changed in place.
        cfg: How.
        ranks: With whom; alone, the encoder itself comes back.
        backend: Of torch.compile.

    Raises:
        ValueError: This torch is too old for `kind = "fsdp"`, or there is nothing to compile with.
    """
    if cfg.compile != "off" and backend == "inductor":
        _require_compiler(cfg.compile, ranks.device)
    shards = cfg.kind == "fsdp" and ranks.count > 1
    for tower in towers(encoder)[:1]:  # pictures; no other tower's layers are 2D convolutions
        lay_out(tower, cfg.channels_last, convert_weights=not shards)
    _compile(encoder, cfg, backend)
    if ranks.count == 1:
        return encoder
    return _shard(encoder, ranks) if shards else _replicate(encoder, cfg, ranks)


def no_sync(encoder: nn.Module) -> AbstractContextManager[None]:
    """Leave gradients unreduced in backward passes inside; the next one outside reduces the sum."""
    if isinstance(encoder, DistributedDataParallel):
        return encoder.no_sync()
    return _unreduced(encoder) if isinstance(encoder, FSDPModule) else nullcontext()


def _compile(encoder: nn.Module, cfg: Parallel, backend: str) -> None:
    """Compile in place, which leaves names as they are.

    Blocks of a kind share their code, so torch compiles it once for each shape of weights: seconds
    for a tower of any depth, where a whole model takes minutes. Its own bound on such shapes, past
    which it stops compiling, is below what a ConvNet with many widths has.
    """
    if cfg.compile == "model":
        encoder.compile(backend=backend)
    elif cfg.compile == "blocks":
        import torch._dynamo.config as dynamo

        for name in ("recompile_limit", "cache_size_limit"):  # now, and before torch 2.7
            if hasattr(dynamo, name):
                setattr(dynamo, name, max(getattr(dynamo, name), SHAPES))
        for tower in towers(encoder):
            for block in blocks(tower):
                block.compile(backend=backend)


def _require_compiler(wanted: str, device: torch.device) -> None:
    """Refuse to compile without a compiler: torch says so late, and no remedy."""
    name, others = ("CXX", ("g++",)) if device.type == "cpu" else ("CC", ("gcc", "clang"))
    named = os.environ.get(name)
    compilers = tuple(shlex.split(named)[:1]) if named else others  # "ccache g++" is two words
    if sys.platform == "linux" and not any(shutil.which(compiler) for compiler in compilers):
        raise ValueError(
            f"parallel.compile: got {wanted!r} without {' or '.join(compilers)}, which torch needs "
            f"for it, expected a compiler; install one, name it in {name}, or set compile to 'off'"
        )


def _replicate(encoder: nn.Module, cfg: Parallel, ranks: Ranks) -> nn.Module:
    """Wrap in DDP.

    Buffers are not broadcast: of those that change, `RunningStatistics` takes the mean over ranks,
    and the rest (attention masks) are the same everywhere.

    A static graph also serves parameters that a loss does not reach, without a search in every
    step; but torch may then not be told to leave a pass unreduced, which micro-batches need.
    """
    once = cfg.micro_batch == 0
    quiet: dict[str, Any] = {_SYNC_BUFFERS: False}
    return DistributedDataParallel(
        encoder,
        device_ids=[ranks.device] if ranks.device.type == "cuda" else None,
        **quiet,
        gradient_as_bucket_view=True,
        static_graph=once,
        find_unused_parameters=not once,
    )


def _shard(encoder: nn.Module, ranks: Ranks) -> nn.Module:
    """Shard with FSDP2: every block is a group of its own, and what is left is the root's.

    What is frozen stays whole on every rank: it has neither gradient nor optimiser state, and
    needs no gathering. Scalars stay whole too (FSDP has no shards of one number); `synchronise`
    averages their gradients.
    """
    if "ignored_params" not in inspect.signature(fully_shard).parameters:
        raise ValueError(
            "parallel.kind: got 'fsdp' with a torch that cannot leave parameters unsharded, "
            "expected torch 2.7 or later; use 'ddp'"
        )
    mesh = init_device_mesh(ranks.device.type, (ranks.count,))
    kept = {p for p in encoder.parameters() if p.ndim == 0 or not p.requires_grad}
    for tower in towers(encoder):
        for block in blocks(tower):
            if any(p not in kept for p in block.parameters()):
                fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=kept)
    fully_shard(encoder, mesh=mesh, ignored_params=kept)
    return encoder


@contextmanager
def _unreduced(encoder: FSDPModule) -> Iterator[None]:
    encoder.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        encoder.set_requires_gradient_sync(True)


# One setting of DDP, by its name in this torch.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)
