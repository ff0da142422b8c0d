"""A model looked at without its weights: sizes, FLOPs, what a backward pass waits for, shards.

Everything lies on the meta device, where tensors have a shape and no memory, and is sharded over
ranks that are not there.
Letters: B pairs, L tokens of a caption, D embedding.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor, UntypedStorage, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

from filters.open_clip_models import preprocess_of
from training.config import Train
from training.log.flops import train_flops
from training.models.build import ClipModel, build_model, fit_to_loss, text_tower
from training.parallel.apply import parallelise
from training.parallel.gradients import local
from training.parallel.ranks import Ranks

PAIRS = 2  # of the pass that is looked at: BatchNorm refuses to train on one


@dataclass(frozen=True, kw_only=True, slots=True)
class Tower:
    """One side of a model.

    Attributes:
        parameters: Of it.
        trained: Those of them that train.
        train_flops: Of one picture or caption in a step, forward and backward, nothing counted
            twice; 0 where no step computes it.
        kept_bytes: Activations of one that wait for the backward pass, eagerly and with attention
            written out; 0 where they are computed again.
    """

    parameters: int
    trained: int
    train_flops: float
    kept_bytes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Shapes:
    """A model of a run.

    Attributes:
        image: The picture side.
        text: The caption side.
        side: Pixels of a picture's side.
        length: L.
        dim: D.
        held: Weights that the rank which has most of them holds.
        held_trained: Those of them that train.
    """

    image: Tower
    text: Tower
    side: int
    length: int
    dim: int
    held: int
    held_trained: int


def shapes_of(cfg: Train, *, ranks: int) -> Shapes:
    """Return what a run trains, on so many ranks.

    Raises:
        ValueError: The model cannot be built.
    """
    with torch.device("meta"):
        fresh = replace(cfg.towers, image_pretrained=False)  # for weights there is no room
        model, model_cfg = build_model(cfg.model, towers=fresh, seed=0)
        model_cfg = fit_to_loss(model, model_cfg, loss=cfg.loss.kind, batch_size=cfg.batch_size)
        model.train()
        side = preprocess_of(model).image_size
        length = int(model_cfg["text_cfg"].get("context_length", 77))
        picture = torch.empty(PAIRS, 3, side, side)
        # What a frozen trunk says of captions is computed before the first step.
        caption = None if cfg.towers.frozen_text else torch.ones(PAIRS, length, dtype=torch.int64)
        image, text = _look(model.visual, picture, cfg), _look(text_tower(model), caption, cfg)
    held, held_trained = _held(model, cfg, ranks)
    return Shapes(
        image=image, text=text, side=side, length=length, dim=int(model_cfg["embed_dim"]),
        held=held, held_trained=held_trained,
    )  # fmt: skip


def _look(tower: nn.Module, example: Tensor | None, cfg: Train) -> Tower:
    trained = [p.numel() for p in tower.parameters() if p.requires_grad]
    flops = kept = 0.0
    if example is not None:
        flops = _by_shape(lambda: train_flops(tower, example))
        if not cfg.towers.checkpointing:
            kept = _by_shape(lambda: _kept_bytes(tower, example, cfg))
    return Tower(
        parameters=sum(p.numel() for p in tower.parameters()),
        trained=sum(trained),
        train_flops=flops,
        kept_bytes=kept,
    )


def _by_shape(look: Callable[[], float]) -> float:
    """Call what needs shapes alone.

    Masks of Hugging Face's towers ask what tokens hold, which meta tensors cannot say; of fake
    tensors, which are slower, they do not ask.
    """
    try:
        return look()
    except RuntimeError:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return look()


def _kept_bytes(tower: nn.Module, example: Tensor, cfg: Train) -> float:
    """Return the bytes that autograd keeps of one row, weights left out.

    bfloat16 is taken for all of the tower, where autocast leaves a few operators in float32.
    """
    dtype = torch.bfloat16 if cfg.precision == "bfloat16" else torch.float32
    kept: dict[int, UntypedStorage] = {}

    def cast(tensor: Tensor) -> Tensor:
        return tensor.detach().to(dtype if tensor.is_floating_point() else tensor.dtype)

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # held, or its number would be given away again
        return tensor

    state = {n: cast(p).requires_grad_(p.requires_grad) for n, p in tower.named_parameters()}
    state |= {name: cast(buffer) for name, buffer in tower.named_buffers()}
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        functional_call(tower, state, (cast(example),))
    for tensor in state.values():
        kept.pop(tensor.untyped_storage()._cdata, None)
    return sum(storage.nbytes() for storage in kept.values()) / len(example)


def _held(model: ClipModel, cfg: Train, ranks: int) -> tuple[int, int]:
    """Return how many weights a rank holds, and how many of those train."""
    if cfg.parallel.kind == "fsdp" and ranks > 1:
        with _imagined(ranks) as those:
            parallelise(model, replace(cfg.parallel, compile="off"), ranks=those)
    sizes = [(local(p).numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)


@contextmanager
def _imagined(count: int) -> Iterator[Ranks]:
    """Be the first of ranks whose others are not there: collectives return without an answer."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=count)
    try:
        yield Ranks(rank=0, count=count)
    finally:
        dist.destroy_process_group()
