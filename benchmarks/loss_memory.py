"""Memory and time of a step's loss against the text-book form, and against a ViT-B/32 step.

    python benchmarks/loss_memory.py > benchmarks/results/DATE-loss-memory.md
    python benchmarks/loss_memory.py --plain 32768 --ours 32768    # wants 24 GiB for itself

Each turn is a process of its own with the same embeddings: loss and gradients, once. Memory is the
most that a process had, less what it had when the embeddings lay there, so gradients count. Time is
that of one core (torch on one thread), so that it says the same on a busy machine.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from heading import heading
from torch import Tensor

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from training.config import Loss, Parallel  # noqa: E402
from training.losses.pair import pair_loss  # noqa: E402
from training.losses.sigmoid import siglip_loss  # noqa: E402
from training.losses.softmax import clip_loss  # noqa: E402
from training.losses.tiles import SIDE  # noqa: E402
from training.models.encoder import Features  # noqa: E402
from training.parallel.ranks import ALONE  # noqa: E402

DIM = 512
ONE_JOB_S = 1800
PASSES = {
    "clip": 4,
    "siglip": 3,
}  # products of all pictures and captions: softmax makes tiles twice
SIDES = {"plain": "text-book", "ours": "Thresher", "torch": "torch, linear_cross_entropy twice"}


@dataclass(frozen=True)
class Told:
    """What a process measured: seconds of a core, MiB; `grads` is a file."""

    seconds: float
    mebibytes: float
    loss: float
    grads: str = ""


def main() -> None:
    """Measure what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", type=int, default=16_384, help="pairs, both forms")
    parser.add_argument("--ours", type=int, default=32_768, help="pairs, ours alone")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--micro-batch", type=int, default=16, help="of the ViT-B/32 step")
    parser.add_argument("--job", nargs=4, metavar=("SIDE", "KIND", "PAIRS", "FOLDER"))
    args = parser.parse_args()
    if args.job:
        side, kind, pairs, folder = args.job
        told = step(int(pairs)) if side == "step" else measure(side, kind, int(pairs), Path(folder))
        print(json.dumps(asdict(told)))
        return
    print(heading(f"float32, width {DIM}, tiles of {SIDE}, {args.rounds} rounds"))
    with tempfile.TemporaryDirectory() as folder:
        compare(args.plain, args.rounds, Path(folder))
        share_of_a_step(args.ours, args.micro_batch, args.rounds, Path(folder))


def compare(pairs: int, rounds: int, folder: Path) -> None:
    """Print time, memory and how far gradients differ, at one number of pairs."""
    print(f"\n## {pairs:,} pairs\n")
    print("| loss | | s of a core, median (best) | MiB | of the text-book's | gradients differ |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind in PASSES:
        sides = [s for s in SIDES if s != "torch" or (kind == "clip" and has_torch())]
        told: dict[str, list[Told]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side in sides:
                told[side].append(job(side, kind, pairs, folder))
        plain = told["plain"]
        for side, every in told.items():
            share = memory(plain) / memory(every)
            print(
                f"| {kind} | {SIDES[side]} | {seconds(every)} | {memory(every):,.0f} | "
                f"{'1' if side == 'plain' else f'1/{share:.1f}'} | "
                f"{difference(plain[0], every[0]):.1e} |"
            )
    square = pairs**2 * 4 / 2**20
    print(
        f"\nOne matrix of logits is {square:,.0f} MiB; both gradients {pairs * DIM / 2**17:,.0f}."
    )
    print("Gradients differ by the largest absolute difference over the largest gradient.")


def share_of_a_step(pairs: int, micro_batch: int, rounds: int, folder: Path) -> None:
    """Print what our losses cost beside a ViT-B/32 step, a pair, at one number of pairs."""
    steps, told = [], {kind: [] for kind in PASSES}
    for _ in range(rounds):
        steps.append(job("step", "clip", micro_batch, folder))
        for kind, every in told.items():
            every.append(job("ours", kind, pairs, folder))
    per_pair = statistics.median(s.seconds for s in steps) / micro_batch
    print(f"\n## {pairs:,} pairs, beside open_clip's ViT-B-32\n")
    print(
        f"A step of it, forward and backward, {micro_batch} pairs at a time, 224 pixels and 77 "
        f"tokens: {per_pair * 1e3:,.0f} ms of a core a pair.\n"
    )
    print("| loss | MiB | matrices of logits | s of a core, median (best) | ms a pair | "
          "of a step | GFLOP a pair |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind, every in told.items():
        each = statistics.median(t.seconds for t in every) / pairs
        flops = PASSES[kind] * 2 * pairs * DIM / 1e9
        print(
            f"| {kind} | {memory(every):,.0f} | {memory(every) / (pairs**2 * 4 / 2**20):.3f} | "
            f"{seconds(every)} | {each * 1e3:.2f} | {each / per_pair:.2%} | {flops:.3f} |"
        )
    print("\nA ViT-B/32 step is 44 GFLOP a pair.")


def measure(side: str, kind: str, pairs: int, folder: Path) -> Told:
    """Take a loss and its gradients once, and write the gradients."""
    torch.set_num_threads(1)
    loss_of = {"plain": plain, "ours": ours, "torch": twice_linear}[side]
    take(loss_of(kind, 64), embeddings(64))  # imports and first uses are not counted
    features = embeddings(pairs)
    loss = loss_of(kind, pairs)
    before, start = resident(), time.process_time()
    value = take(loss, features)
    told = Told(time.process_time() - start, peak() - before, value)
    grads = folder / f"{side}-{kind}.pt"
    torch.save([f.grad for f in features if f.grad is not None], grads)
    return Told(told.seconds, told.mebibytes, told.loss, str(grads))


def take(loss: Callable[[Features], Tensor], features: Features) -> float:
    """Return a loss and leave its gradients in the features."""
    value = loss(features)
    value.backward()
    return value.item()


def plain(kind: str, _pairs: int) -> Callable[[Features], Tensor]:
    """Return the text-book form."""
    if kind == "clip":
        return lambda f: clip_loss(f.image_BD, f.text_BD, scale=f.scale)
    return lambda f: siglip_loss(f.image_BD, f.text_BD, scale=f.scale, bias=f.bias)


def ours(kind: str, pairs: int) -> Callable[[Features], Tensor]:
    """Return what a step takes."""
    cfg = Loss(kind=kind)
    loss = pair_loss(cfg, Parallel(), ranks=ALONE, batch_size=pairs)
    return lambda f: loss(f, torch.ones(pairs))


def has_torch() -> bool:
    """Tell whether torch has it: 2.13 does."""
    return hasattr(F, "linear_cross_entropy")


def twice_linear(_kind: str, pairs: int) -> Callable[[Features], Tensor]:
    """Return torch's chunked cross-entropy, once for each direction."""
    settings = {"target": torch.arange(pairs), "options": torch.nn.LinearCrossEntropyOptions()}

    def loss(f: Features) -> Tensor:
        image_BD, text_BD = f.scale * f.image_BD, f.scale * f.text_BD
        there = F.linear_cross_entropy(image_BD, f.text_BD, **settings)
        return (there + F.linear_cross_entropy(text_BD, f.image_BD, **settings)) / 2

    return loss


def embeddings(pairs: int) -> Features:
    """Return captions some way from their pictures, as after a while of training."""
    generator = torch.Generator().manual_seed(0)
    image_BD = F.normalize(torch.randn(pairs, DIM, generator=generator), dim=1)
    noise_BD = F.normalize(torch.randn(pairs, DIM, generator=generator), dim=1)
    text_BD = F.normalize(0.4 * image_BD + noise_BD, dim=1)
    scale, bias = torch.tensor(20.0), torch.tensor(-10.0)
    return Features(*(f.detach().requires_grad_() for f in (image_BD, text_BD, scale, bias)))


def step(pairs: int) -> Told:
    """Time open_clip's ViT-B-32, forward and backward, after one to warm up."""
    from filters.open_clip_models import ensure_torchvision

    torch.set_num_threads(1)
    ensure_torchvision()
    import open_clip

    model = open_clip.create_model("ViT-B-32").train()
    pixels = torch.randn(pairs, 3, 224, 224)
    tokens = torch.randint(1, 40_000, (pairs, 77))
    before = resident()
    for _ in range(2):
        start = time.process_time()
        image_BD, text_BD, scale = model(pixels, tokens)
        value = clip_loss(image_BD, text_BD, scale=scale)
        value.backward()
        seconds = time.process_time() - start
    return Told(seconds, peak() - before, value.item())


def resident() -> float:
    """Return what this process has now, MiB, and forget what the most was."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> float:
    """Return the most that this process had since `resident`, MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 2**10


def job(side: str, kind: str, pairs: int, folder: Path) -> Told:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, "--job", side, kind, str(pairs), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=ONE_JOB_S, check=False)
    if done.returncode:
        raise SystemExit(f"{side} {kind}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return Told(**json.loads(done.stdout.splitlines()[-1]))


def difference(left: Told, right: Told) -> float:
    """Return how far two sets of gradients are apart, relative to the largest of each tensor."""
    both = zip(torch.load(left.grads), torch.load(right.grads), strict=True)
    return max(((a - b).abs().max() / a.abs().max()).item() for a, b in both)


def memory(told: list[Told]) -> float:
    """Return the median, MiB."""
    return statistics.median(t.mebibytes for t in told)


def seconds(told: list[Told]) -> str:
    """Return median and best."""
    every = [t.seconds for t in told]
    return f"{statistics.median(every):.1f} ({min(every):.1f})"


if __name__ == "__main__":
    main()
