"""Is the subset worth its compute? The same run on the subset and on random pairs, then judged."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.fingerprint import file_digest, fingerprint
from pipeline.pairs import Pairs, pairs_from_shards, select
from pipeline.shards import list_shards
from training.checkpoint import identify
from training.config import Distill, Evaluate, Train
from training.distill import distill
from training.evaluate import evaluate
from training.loop import OnStep, train

Results = dict[str, float]  # "<task>/<metric>" -> value in [0, 1]


def train_on_subset(
    cfg: Train, pool: Pairs, subset: NDArray[np.void], *, out: Path, seed: int, on_step: OnStep
) -> Path:
    """Train on the pairs of a `subset.npy`; return the folder of the run."""
    return _train(cfg, select(pool, subset), out / "subset", seed, on_step)


def train_on_random(
    cfg: Train, pool: Pairs, *, pairs: int, out: Path, seed: int, on_step: OnStep
) -> Path:
    """Train on as many random pairs of the pool, for as many samples; return the folder."""
    chosen = np.sort(np.random.default_rng(seed).choice(len(pool), pairs, replace=False))
    return _train(cfg, pool.take(chosen), out / "random", seed, on_step)


def teach_student(
    cfg: Distill, teacher: Path, pairs: Pairs, *, out: Path, seed: int, on_step: OnStep
) -> Path:
    """Distil the encoder in folder `teacher` on the pairs' pictures; return the folder."""
    checkpoint = teacher / "checkpoint"
    folder = _named(out, identify(cfg, pairs, seed=seed, teacher=checkpoint))
    distill(cfg, checkpoint, pairs, out=folder, seed=seed, on_step=on_step)
    return folder


def judge(
    cfg: Evaluate, runs: Mapping[str, Path], shards: Sequence[str], *, out: Path
) -> dict[str, Results]:
    """Evaluate each run's checkpoint on held-out shards; what was judged before is read back.

    Returns:
        Results by the name of the run; empty without held-out shards.
    """
    if not shards:
        return {}
    fields = [task.partition(":")[2] for task in cfg.tasks if ":" in task]
    heldout = pairs_from_shards(list_shards(shards), fields=fields)
    return {
        name: _judge(cfg, folder / "checkpoint", heldout, out / name)
        for name, folder in runs.items()
    }


def _train(cfg: Train, pairs: Pairs, out: Path, seed: int, on_step: OnStep) -> Path:
    folder = _named(out, identify(cfg, pairs, seed=seed))
    train(cfg, pairs, out=folder, seed=seed, on_step=on_step)
    return folder


def _judge(cfg: Evaluate, checkpoint: Path, heldout: Pairs, out: Path) -> Results:
    of = [asdict(cfg), file_digest(checkpoint), heldout.uid_N.tobytes().hex()]
    file = _named(out, fingerprint("evaluate", of=of)) / "eval_results.jsonl"
    if not file.is_file():
        records = evaluate(
            checkpoint, heldout, tasks=cfg.tasks, batch_size=cfg.batch_size,
            templates=cfg.templates, ignore_classes=cfg.ignore_classes,
        )  # fmt: skip
        file.parent.mkdir(parents=True, exist_ok=True)
        write_results(file, records)
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {f"{r['key']}/{name}": v for r in records for name, v in r["metrics"].items()}


def write_results(file: Path, records: Sequence[Mapping]) -> None:
    """Write DataComp's `eval_results.jsonl`: one task a line; all of it or nothing."""
    temporary = file.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    temporary.replace(file)


def _named(out: Path, identity: str) -> Path:
    """Name a folder by what makes its content, so that a changed run never meets an old one."""
    return out.with_name(f"{out.name}-{identity}")
