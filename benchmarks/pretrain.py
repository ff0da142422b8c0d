"""Pretraining throughput on one device: ours against open_clip, eager and compiled, by model.

    python benchmarks/pretrain.py > benchmarks/results/DATE-pretrain.md
    python benchmarks/pretrain.py --device cpu --batch 8 --steps 2 --models ViT-B-32   # does it run

A step is ours whole (`Stepper`: uint8 pictures on the device, checks, log), and the body of
open_clip_train's `train_one_epoch`, whose pictures come normalised as floats in the precision that
its loader makes. Theirs moves its batch to the device in the step, from pinned memory, ours on a
stream of its own, as the loop does. bfloat16 is autocast over float32 weights on both sides. With
`--shards` ours also runs from real input, and the time its steps wait for batches is told.
Contestants run one after the other in a process, several turns each; the best turn is told, and
memory at its peak.

MFU counts forward and twice as much backward, as the plan does, against the device's data sheet.
"""

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
import torch
from heading import heading
from step import OPTIM, START, no_pairs, open_clip_step

from pipeline.pairs import Pairs, pairs_from_shards
from pipeline.shards import list_shards
from training.config import Loader, Loss, Parallel, Train
from training.input.batch import Batch
from training.input.batches import Batches
from training.input.device import ahead
from training.log.flops import StepFlops
from training.log.peak import peak_flops
from training.models.build import build_model, fit_to_loss
from training.objectives import Contrastive
from training.parallel.ranks import Ranks
from training.step import Stepper

MODELS = ("ViT-B-32", "ViT-B-16", "convnext_tiny", "convnext_base")
END = 49407
SIDE, LENGTH = 224, 77


@dataclass(frozen=True, slots=True)
class Measured:
    """One turn.

    Attributes:
        seconds: Of all steps.
        waiting: Of them without a batch.
        flops: Of the model in all steps, at the length that captions have.
        peak_bytes: Of the device's memory; 0 where nobody counts.
    """

    seconds: float
    waiting: float
    flops: float
    peak_bytes: int


def main() -> None:
    args = arguments()
    device = torch.device(args.device)
    cfg = Train(
        model="ViT-B-32", samples_seen=10**9, batch_size=args.batch, precision="bfloat16",
        loss=Loss(kind="clip"), optim=OPTIM, loader=Loader(threads=args.threads, cache_bytes=0),
    )  # fmt: skip
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    note = f"{name}, batch {args.batch}, {args.steps} steps a turn, best of {args.turns} turns"
    print(f"# Pretraining on one device\n\n{heading(note)}\n")
    print("| model | who | input | samples/s | MFU | peak memory | waits for data |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for model in args.models:
        one = replace(cfg, model=model)
        for who, contestant in contestants(one, args, device):
            print(f"| {model} | {who} | {measure(contestant, one, args, device)}", flush=True)


# Yields, after each step, the seconds it waited for a batch, and its model FLOPs.
Steps = Callable[[], Iterator[tuple[float, float]]]


def contestants(
    cfg: Train, args: argparse.Namespace, device: torch.device
) -> Iterator[tuple[str, Callable[[], Steps]]]:
    """Yield who runs, and what makes it ready; one is dropped before the next is made."""
    for compiled in args.compile:
        mode = "eager" if compiled == "off" else f"compiled {compiled}"
        parallel = Parallel(compile=compiled, channels_last=args.channels_last)
        own = replace(cfg, parallel=parallel)
        yield f"ours, {mode} | uint8 in memory", lambda own=own: ours(own, device, None)
        if args.shards:
            pairs = pairs_from_shards(list_shards(args.shards))
            yield f"ours, {mode} | shards", lambda own=own, p=pairs: ours(own, device, p)
        yield (
            f"open_clip, {mode} | floats in memory",
            lambda c=compiled: open_clip(cfg, device, compiled=c != "off"),
        )


def ours(cfg: Train, device: torch.device, pairs: Pairs | None) -> Steps:
    model, model_cfg = build_model(cfg.model, seed=0)
    model_cfg = fit_to_loss(model, model_cfg, loss=cfg.loss.kind, batch_size=cfg.batch_size)
    model.to(device)
    ranks = Ranks(device=device)
    objective = Contrastive(cfg, model, model_cfg, pairs or no_pairs(), ranks=ranks)
    flops = StepFlops(model)
    stepper = Stepper(cfg, objective, ranks=ranks, seed=0, steps=10_000)
    objective.train()
    if pairs is None:
        made: Iterator[Batch] = repeat(synthetic(cfg.batch_size, device))
    else:
        loader = Batches.of(cfg, pairs, objective.texts, size=SIDE, seed=0, ranks=ranks)
        made = loader.iterate(0, 10_000)
    batches = ahead(made, device, prepare=objective.trim)

    def steps() -> Iterator[tuple[float, float]]:
        for step in range(10_000):
            start = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - start
            stepper(batch, step=step)
            yield waited, flops(batch)

    return steps


def open_clip(cfg: Train, device: torch.device, *, compiled: bool) -> Steps:
    model, model_cfg = build_model(cfg.model, seed=0)
    fit_to_loss(model, model_cfg, loss=cfg.loss.kind, batch_size=cfg.batch_size)
    model.to(device)
    batch = synthetic(cfg.batch_size, device)
    flops = StepFlops(model)(batch)
    step = open_clip_step(
        model, batch, kind=cfg.loss.kind, device=device, half=True, compiled=compiled
    )

    def steps() -> Iterator[tuple[float, float]]:
        while True:
            step()
            yield 0.0, flops

    return steps


def measure(
    make: Callable[[], Steps], cfg: Train, args: argparse.Namespace, device: torch.device
) -> str:
    """Run turns and return the rest of the row."""
    steps = make()()  # weights, optimiser and batches live as long as it does
    for _ in range(args.warmup):
        next(steps)
    turns = [turn(steps, args.steps, device) for _ in range(args.turns)]
    best = min(turns, key=lambda t: t.seconds)
    del steps
    torch.compiler.reset()  # it holds on to what it compiled
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    rate = args.steps * cfg.batch_size / best.seconds
    peak = peak_flops(device, cfg.precision)
    mfu = "" if peak is None else f"{best.flops / best.seconds / peak:.1%}"
    memory = f"{best.peak_bytes / 2**30:.1f} GiB" if best.peak_bytes else ""
    return f"{rate:,.1f} | {mfu} | {memory} | {best.waiting / best.seconds:.1%} |"


def turn(steps: Iterator[tuple[float, float]], count: int, device: torch.device) -> Measured:
    is_gpu = device.type == "cuda"
    if is_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    waiting, flops = (sum(each) for each in zip(*(next(steps) for _ in range(count)), strict=True))
    if is_gpu:
        torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) if is_gpu else 0
    return Measured(time.perf_counter() - start, waiting, flops, peak)


def synthetic(count: int, device: torch.device) -> Batch:
    """Return uint8 noise and captions that fill the context, in pinned memory where that helps."""
    rng = np.random.default_rng(0)
    token_BL = rng.integers(1, START, (count, LENGTH))
    token_BL[:, 0], token_BL[:, -1] = START, END
    pixels = torch.from_numpy(rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8))
    tokens, pinned = torch.from_numpy(token_BL), device.type == "cuda"
    return Batch(
        start=0,
        pixels_BHWC=pixels.pin_memory() if pinned else pixels,
        text_BL=tokens.pin_memory() if pinned else tokens,
        weight_B=torch.ones(count),
        row_B=np.arange(count),
        replaced=0,
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=3, help="steps before the first turn")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--compile", nargs="+", default=("off", "blocks", "model"))
    parser.add_argument("--channels-last", default="auto", choices=("auto", "on", "off"))
    parser.add_argument("--shards", nargs="*", default=(), help="real pictures for ours")
    parser.add_argument("--threads", type=int, default=16, help="that decode")
    return parser.parse_args()


if __name__ == "__main__":
    main()
