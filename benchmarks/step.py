"""One float32 step of training on a CPU: ours against open_clip's, same model, weights, batch.

    python benchmarks/step.py > benchmarks/results/DATE-step.md

Theirs is the body of open_clip_train's `train_one_epoch` (no gradient, forward, loss, backward,
clip, AdamW, clamp), called on a batch at a time, with pictures that were normalised beforehand.
Ours is the whole `Stepper`, from uint8 pictures on, with its checks and what it logs. Each has a
process of its own, because what one leaves in memory changes how soon the other gets some. They
take turns, so that whatever else the machine does meets both; best and median of the rounds are
told, and the processor time, which other processes move less.

With short captions our text tower reads only as far as the longest goes, which is exact; theirs
reads all of the padding.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from heading import heading
from torch import Tensor

from filters.open_clip_models import ensure_torchvision, preprocess_of
from pipeline.pairs import Pairs
from training.config import Loss, Optim, Train
from training.input.batch import Batch
from training.models.build import build_model, fit_to_loss
from training.objectives import Contrastive
from training.parallel.ranks import ALONE
from training.step import Stepper

SMALL = {
    "embed_dim": 192,
    "vision_cfg": {"image_size": 64, "layers": 6, "width": 192, "head_width": 64, "patch_size": 8},
    "text_cfg": {
        "context_length": 32, "vocab_size": 49408, "width": 192, "heads": 3, "layers": 4,
    },
    "custom_text": True,
}  # fmt: skip
VIT_B_32 = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {
        "context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12,
    },
    "custom_text": True,
}  # fmt: skip
CPU = torch.device("cpu")
START, END = 49406, 49407  # CLIP's tokens around a caption
OPTIM = Optim(lr=1e-4, weight_decay=0.2, grad_clip=1.0)

Step = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of the table: a model, its batch, and the longest caption, in tokens."""

    name: str
    document: dict[str, Any]
    batch: int
    longest: int


SETTINGS = (
    Setting("small CLIP, captions fill the context", SMALL, 32, 32),
    Setting("small CLIP, captions up to 12 tokens", SMALL, 32, 12),
    Setting("ViT-B-32, captions fill the context", VIT_B_32, 16, 77),
    Setting("ViT-B-32, captions up to 24 tokens", VIT_B_32, 16, 24),
)


def main() -> None:
    args = arguments()
    print(f"# One step on a CPU\n\n{heading(f'{args.threads} torch thread(s)')}\n")
    columns = "ours, ms: best | median | CPU | theirs: best | median | CPU | ours / theirs, median"
    print(f"| | loss | {columns} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for setting in SETTINGS:
        if args.only in setting.name:
            for kind in ("clip", "siglip"):
                print(row(setting, kind, args), flush=True)


def row(setting: Setting, kind: str, args: argparse.Namespace) -> str:
    wall: list[list[float]] = [[], []]
    busy: list[list[float]] = [[], []]
    with contestants(setting, kind, args.threads) as both:
        for turn in range(args.rounds + 1):
            for who in (0, 1) if turn % 2 else (1, 0):
                both[who].send(args.steps)
                seconds, of_core = both[who].recv()
                if turn:  # the first makes the optimiser's state
                    wall[who].append(seconds / args.steps * 1e3)
                    busy[who].append(of_core / args.steps * 1e3)
    cells = [
        f"{min(w):.1f} | {statistics.median(w):.1f} | {statistics.median(b):.1f}"
        for w, b in zip(wall, busy, strict=True)
    ]
    of_median = statistics.median(wall[0]) / statistics.median(wall[1])
    of_busy = statistics.median(busy[0]) / statistics.median(busy[1])
    name = f"{setting.name}, batch {setting.batch}"
    return f"| {name} | {kind} | {' | '.join(cells)} | {of_median:.2f} (CPU {of_busy:.2f}) |"


@contextmanager
def contestants(setting: Setting, kind: str, threads: int) -> Iterator[list[Any]]:
    """Start ours and theirs; each takes as many steps as it is sent, and tells what they took."""
    context = get_context("spawn")
    pipes = [context.Pipe() for _ in MAKERS]
    processes = [
        context.Process(target=contestant, args=(theirs, who, setting, kind, threads))
        for who, (_, theirs) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    try:
        yield [ours for ours, _ in pipes]
    finally:
        for process, (ours, _) in zip(processes, pipes, strict=True):
            ours.send(0)
            process.join()


def contestant(pipe: Any, who: int, setting: Setting, kind: str, threads: int) -> None:
    torch.set_num_threads(threads)
    step = MAKERS[who](setting, kind)
    while steps := pipe.recv():
        busy, start = time.process_time(), time.perf_counter()
        for _ in range(steps):
            step()
        pipe.send((time.perf_counter() - start, time.process_time() - busy))


def our_step(setting: Setting, kind: str) -> Step:
    cfg, model, model_cfg = built(setting, kind)
    objective = Contrastive(cfg, model, model_cfg, no_pairs(), ranks=ALONE)
    stepper = Stepper(cfg, objective, ranks=ALONE, seed=0, steps=10_000)
    objective.train()
    batch, done = _batch(setting), iter(range(10_000))
    return lambda: void(stepper(objective.trim(batch), step=next(done)))


def their_step(setting: Setting, kind: str) -> Step:
    _, model, _ = built(setting, kind)
    return open_clip_step(model, _batch(setting), kind=kind)


MAKERS = (our_step, their_step)


def built(setting: Setting, kind: str) -> tuple[Train, Any, dict[str, Any]]:
    """Return the run, and the same model each time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        path.write_text(json.dumps(setting.document))
        cfg = Train(
            model=str(path), samples_seen=10_000 * setting.batch, batch_size=setting.batch,
            optim=OPTIM, loss=Loss(kind=kind),
        )  # fmt: skip
        model, model_cfg = build_model(cfg.model, seed=0)
    return cfg, model, fit_to_loss(model, model_cfg, loss=kind, batch_size=setting.batch)


def open_clip_step(
    model: Any,
    batch: Batch,
    *,
    kind: str,
    device: torch.device = CPU,
    half: bool = False,
    compiled: bool = False,
) -> Step:
    """Return open_clip's step, as its trainer does it without a scaler, on normalised pictures."""
    ensure_torchvision()
    import open_clip
    from open_clip_train.precision import get_autocast
    from open_clip_train.scheduler import cosine_lr

    settings = preprocess_of(model)
    mean, std = torch.tensor(settings.mean), torch.tensor(settings.std)
    images = ((batch.pixels_BHWC / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
    images = images.pin_memory() if device.type == "cuda" else images
    model.output_dict = True
    model.train()
    optimizer = their_optimizer(model)
    scheduler = cosine_lr(optimizer, OPTIM.lr, 1000, 10_000)
    autocast = get_autocast("amp_bf16" if half else "fp32", device_type=device.type)
    loss = open_clip.ClipLoss() if kind == "clip" else open_clip.loss.SigLipLoss()
    called = torch.compile(model) if compiled else model
    done = iter(range(10_000))

    def step() -> None:
        scheduler(next(done))
        shown = images.to(device=device, non_blocking=True)
        texts = batch.text_BL.to(device=device, non_blocking=True)
        optimizer.zero_grad()
        with autocast():
            output = called(shown, texts)
            total: Tensor = sum(loss(**output, output_dict=True).values())
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIM.grad_clip, norm_type=2.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))

    return step


def their_optimizer(model: torch.nn.Module) -> torch.optim.AdamW:
    """AdamW as open_clip_train.main makes it: groups by name, torch's own choice of kernel."""

    def excluded(name: str, p: Tensor) -> bool:
        return p.ndim <= 1 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))

    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if excluded(n, p)], "weight_decay": 0.0},
        {"params": [p for n, p in named if not excluded(n, p)], "weight_decay": 0.2},
    ]
    return torch.optim.AdamW(groups, lr=OPTIM.lr, betas=(OPTIM.beta1, OPTIM.beta2))


def _batch(setting: Setting) -> Batch:
    rng = np.random.default_rng(0)
    side = setting.document["vision_cfg"]["image_size"]
    length = setting.document["text_cfg"]["context_length"]
    count = setting.batch
    token_BL = np.zeros((count, length), np.int64)
    token_BL[:, 0], token_BL[:, setting.longest - 1] = START, END
    token_BL[:, 1 : setting.longest - 1] = rng.integers(1, START, (count, setting.longest - 2))
    return Batch(
        start=0,
        pixels_BHWC=torch.from_numpy(rng.integers(0, 256, (count, side, side, 3), np.uint8)),
        text_BL=torch.from_numpy(token_BL),
        weight_B=torch.ones(count),
        row_B=np.arange(count),
        replaced=0,
    )


def no_pairs() -> Pairs:
    """One pair that is never shown: captions come with the batch."""
    return Pairs.of(
        [""], shard_N=[0], offset_N=[0], size_N=[0], uids=[bytes(16)],
        captions={"caption": ["a caption"]},
    )  # fmt: skip


def void(_: object) -> None:
    """Drop what a step returns."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=2, help="of a turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    return parser.parse_args()


if __name__ == "__main__":
    main()
