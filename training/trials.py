"""Is the subset worth its compute? The same run on the subset and on random pairs, then judged."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from pipeline.fingerprint import file_digest, fingerprint
from pipeline.folder import Folder
from pipeline.pairs import Pairs, pairs_from_shards, select
from pipeline.shards import list_shards
from pipeline.staging import split_url
from training.checkpoint.state import identify
from training.config import Distill, Evaluate, Train
from training.distill import distill
from training.evaluation.evaluate import evaluate
from training.loop import OnStep, train

Results = dict[str, float]  # "<task>/<metric>" -> value in [0, 1]
RESULTS = "eval_results.jsonl"


def train_on_subset(
    cfg: Train, pool: Pairs, subset: NDArray[np.void], *, out: Folder, seed: int, on_step: OnStep
) -> Folder:
    """Train on the pairs of a `subset.npy`; return the folder of the run."""
    return _train(cfg, select(pool, subset), out / "subset", seed, on_step)


def train_on_random(
    cfg: Train, pool: Pairs, *, pairs: int, out: Folder, seed: int, on_step: OnStep
) -> Folder:
    """Train on as many random pairs of the pool, for as many samples; return the folder."""
    chosen = np.sort(np.random.default_rng(seed).choice(len(pool), pairs, replace=False))
    return _train(cfg, pool.take(chosen), out / "random", seed, on_step)


def teach_student(
    cfg: Distill, teacher: Folder, pairs: Pairs, *, out: Folder, seed: int, on_step: OnStep
) -> Folder:
    """Distil the encoder in folder `teacher` on the pairs' pictures; return the folder."""
    checkpoint = teacher / "checkpoint"
    folder = _named(out, identify(cfg, pairs, seed=seed, teacher=checkpoint))
    distill(cfg, checkpoint, pairs, out=folder, seed=seed, on_step=on_step)
    return folder


def judge(
    cfg: Evaluate, runs: Mapping[str, Folder], shards: Sequence[str], *, out: Folder
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


def _train(cfg: Train, pairs: Pairs, out: Folder, seed: int, on_step: OnStep) -> Folder:
    folder = _named(out, identify(cfg, pairs, seed=seed))
    train(cfg, pairs, out=folder, seed=seed, on_step=on_step)
    return folder


def _judge(cfg: Evaluate, checkpoint: Folder, heldout: Pairs, out: Folder) -> Results:
    of = [asdict(cfg), file_digest(checkpoint.url), heldout.uid_N.tobytes().hex()]
    folder = _named(out, fingerprint("evaluate", of=of))
    if not folder.exists(RESULTS):
        records = evaluate(
            checkpoint, heldout, tasks=cfg.tasks, batch_size=cfg.batch_size,
            templates=cfg.templates, ignore_classes=cfg.ignore_classes, calibrate=cfg.calibrate,
        )  # fmt: skip
        write_results(folder.path(RESULTS), records)
    records = [json.loads(line) for line in folder.read(RESULTS).splitlines()]
    return {f"{r['key']}/{name}": v for r in records for name, v in r["metrics"].items()}


def write_results(place: str, records: Sequence[Mapping]) -> None:
    """Write DataComp's `eval_results.jsonl`: one task a line; all of it or nothing."""
    folder, name = split_url(place)
    folder.write(name, "".join(json.dumps(r) + "\n" for r in records).encode())


def _named(out: Folder, identity: str) -> Folder:
    """Name a folder by what makes its content, so that a changed run never meets an old one."""
    return Folder(f"{out.url}-{identity}")
