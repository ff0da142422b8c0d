"""What a training run would be: its model, its steps, what a rank holds, what it costs.

Nothing is trained, no weight is allocated, no shard is opened.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from training.config import Train
from training.input.order import num_steps
from training.log.peak import by_name
from training.losses.tiles import SIDE
from training.shapes import Shapes, Tower, shapes_of

MFU = 0.4  # share of the peak that the estimate of time takes for granted
MEMORY = 80 * 10**9  # bytes of an H100
FLOAT = 4  # bytes of a weight, a gradient, a moment, a logit
RANKS = 8  # that a sharded model is planned for where the config names none


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """A run, in numbers.

    Attributes:
        cfg: Its settings.
        shapes: What it trains.
        ranks: Processes.
    """

    cfg: Train
    shapes: Shapes
    ranks: int

    @property
    def steps(self) -> int:
        """Return the number of steps."""
        return num_steps(self.cfg.samples_seen, self.cfg.batch_size)

    @property
    def share(self) -> int:
        """Return the pairs of a batch that the rank with most of them takes."""
        return ceil(self.cfg.batch_size / self.ranks)

    @property
    def micro(self) -> int:
        """Return the pairs that go through the towers at a time."""
        return min(self.share, self.cfg.parallel.micro_batch or self.share)

    @property
    def flops(self) -> float:
        """Return model FLOPs of the whole run."""
        one = self.shapes.image.train_flops + self.shapes.text.train_flops
        return self.steps * self.cfg.batch_size * one

    @property
    def h100_seconds(self) -> float:
        """Return the seconds one H100 takes at `MFU`."""
        peak = by_name("H100", self.cfg.precision, tf32=True)
        assert peak is not None, "the table of peaks has an H100"
        return self.flops / (MFU * peak)

    @property
    def rank_bytes(self) -> dict[str, float]:
        """Return what a rank's device holds at the height of a step, by name."""
        cfg, shapes = self.cfg, self.shapes
        side = cfg.parallel.chunk or SIDE
        average = shapes.held if cfg.optim.average else 0
        pixels = 3 * shapes.side**2
        return {
            "weights": FLOAT * shapes.held,
            "gradients": FLOAT * shapes.held_trained,
            "optimiser": FLOAT * (2 * shapes.held_trained + average),
            "logits": FLOAT * min(self.share, side) * min(cfg.batch_size, side),
            "pictures": (self.share + FLOAT * self.micro) * pixels,
            "activations": self.micro * (shapes.image.kept_bytes + shapes.text.kept_bytes),
        }

    def __str__(self) -> str:
        """Say it, a line each."""
        lines = [*_model_lines(self), *_step_lines(self), *_memory_lines(self), _cost_line(self)]
        return "\n".join([lines[0], *(f"       {line}" for line in lines[1:])])


def plan_of(cfg: Train) -> TrainingPlan:
    """Return what a run would be.

    Args:
        cfg: The run; `workers.count` are the ranks, without any one, or 8 of a sharded model.

    Raises:
        ValueError: The model cannot be built.
    """
    ranks = cfg.workers.count or (RANKS if cfg.parallel.kind == "fsdp" else 1)
    return TrainingPlan(cfg=cfg, shapes=shapes_of(cfg, ranks=ranks), ranks=ranks)


def _model_lines(plan: TrainingPlan) -> Iterator[str]:
    shapes = plan.shapes
    towers = (shapes.image, shapes.text)
    whole, trained = sum(t.parameters for t in towers), sum(t.trained for t in towers)
    yield f"train  {plan.cfg.model}: {whole:,} parameters in two towers, {trained:,} train"
    yield f"pictures of {shapes.side} x {shapes.side}: {_told(shapes.image)}"
    yield f"captions of {shapes.length} tokens: {_told(shapes.text)}"


def _told(tower: Tower) -> str:
    if not tower.train_flops:
        return f"{tower.parameters:,} parameters, computed once for each caption"
    flops = tower.train_flops / 1e9
    forward = f" ({flops / 3:.1f} forward)" if tower.trained == tower.parameters else ""
    return f"{tower.parameters:,} parameters, {flops:.1f} GFLOPs to train{forward}"


def _step_lines(plan: TrainingPlan) -> Iterator[str]:
    cfg, shapes, steps = plan.cfg, plan.shapes, plan.steps
    warmup, shown = max(1, round(cfg.optim.warmup * steps)), steps * cfg.batch_size
    yield f"{steps:,} steps of {cfg.batch_size:,} pairs, {warmup:,} of them warm-up"
    yield f"{shown:,} pairs shown, repeats counted"
    passes = ceil(plan.share / plan.micro)
    split = "at once" if passes == 1 else f"in {passes} passes of {plan.micro:,}, and forward twice"
    yield f"{_ranks(plan)}, {plan.share:,} pairs each, {split}"
    share, side = plan.share, shapes.side
    batch = f"uint8 [{share}, {side}, {side}, 3] and {shapes.length} tokens [{share}]"
    yield f"a rank's batch: {batch}; its embeddings: 2 x float32 [{share}, {shapes.dim}]"


def _ranks(plan: TrainingPlan) -> str:
    count, kind = plan.ranks, plan.cfg.parallel.kind
    more = "" if plan.cfg.workers.count else "; train.workers.count plans for others"
    return f"{count} rank{'s' if count > 1 else ''} ({kind}{more})"


def _memory_lines(plan: TrainingPlan) -> Iterator[str]:
    held = plan.rank_bytes
    parts = ", ".join(f"{name} {_size(count)}" for name, count in held.items() if count)
    besides = ", and activations at the borders of blocks" if plan.cfg.towers.checkpointing else ""
    yield f"a rank holds about {_size(sum(held.values()))}: {parts}{besides}"
    if sum(held.values()) > MEMORY:
        remedies = "train.parallel.micro_batch or train.towers.checkpointing"
        yield f"that is more than the 80 GB of an H100: take more ranks, or set {remedies}"


def _cost_line(plan: TrainingPlan) -> str:
    time = _time(plan.h100_seconds)
    return f"{plan.flops:.2e} FLOPs: {time} of one H100 at {MFU:.0%} of its peak, an estimate"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:  # noqa: PLR2004 -- of each unit in the next
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"


def _time(seconds: float) -> str:
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} seconds"
