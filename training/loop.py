"""Pretraining, told once: `train` is the story of a run, `fit` that of its steps."""

from collections.abc import Callable
from typing import Any

import torch

from filters.open_clip_models import tokenizer
from pipeline.folder import Folder
from pipeline.pairs import Pairs
from training.checkpoint.state import TrainingFolder, identify
from training.config import Distill, Train
from training.evaluation.judge import Exam, Judge, judge_of
from training.input.batches import Batches
from training.input.order import num_steps
from training.log.flops import ideal_time
from training.log.journal import Journal, open_sinks
from training.models.build import build_model, fit_to_loss, pick_device, preprocess_of
from training.objectives import Contrastive, Objective
from training.runs.runtime import Here, Runtime
from training.step import Stepper

OnStep = Callable[[dict[str, Any]], None]


def train(
    cfg: Train,
    pairs: Pairs,
    *,
    out: Folder,
    seed: int,
    runtime: Runtime | None = None,
    on_step: OnStep | None = None,
    exam: Exam | None = None,
) -> Folder:
    """Train an image-text model on pairs; go on where an earlier call was stopped.

    Args:
        cfg: The run.
        pairs: The subset; a pair given twice is shown twice an epoch.
        out: Folder of this run: metrics, state, checkpoint.
        seed: Weights, order and augmentation follow from it; at least 0.
        runtime: Who started this process; None if nobody else trains with it.
        on_step: Gets the metrics of every step.
        exam: What the model is judged by every `log.evaluate_every` steps.

    Returns:
        The folder of the final checkpoint; at once, without touching data, if it is there.

    Raises:
        ValueError: `out` holds another run, or the model or the pairs cannot be used.
        RuntimeError: The loss stopped being finite.
    """
    identity = identify(cfg, pairs, seed=seed)
    folder = TrainingFolder(out, identity=identity, keep=cfg.save.keep)
    if folder.finished:
        return folder.checkpoint
    runtime = runtime or Here()
    model, model_cfg = build_model(cfg.model, pretrained=cfg.pretrained, seed=seed)
    model_cfg = fit_to_loss(model, model_cfg, loss=cfg.loss.kind, batch_size=cfg.batch_size)
    model.to(pick_device(cfg.device))
    objective = Contrastive(cfg, model, model_cfg, pairs, ranks=runtime.ranks)
    judge = judge_of(cfg, exam, objective, tokenizer(model_cfg), ranks=runtime.ranks)
    summary = fit(
        cfg, objective, pairs, folder=folder, seed=seed, runtime=runtime, on_step=on_step,
        judge=judge,
    )  # fmt: skip
    return folder.finish(model, model_cfg, summary)


def fit(
    cfg: Train | Distill,
    objective: Objective,
    pairs: Pairs,
    *,
    folder: TrainingFolder,
    seed: int,
    runtime: Runtime,
    on_step: OnStep | None,
    judge: Judge | None = None,
) -> dict[str, Any]:
    """Show `samples_seen` pictures, from the folder's newest state on; return the run's summary."""
    model, ranks = objective.model, runtime.ranks
    steps = num_steps(cfg.samples_seen, cfg.batch_size)
    size = preprocess_of(model).image_size
    batches = Batches.of(cfg, pairs, objective.texts, size=size, seed=seed, ranks=ranks)
    teachers = objective.teachers
    ideal_s = ideal_time(
        cfg, model, device=ranks.device, has_text=objective.texts is not None, teachers=teachers
    )
    step = Stepper(cfg, objective, ranks=ranks, seed=seed, steps=steps)
    objective.train()
    with torch.random.fork_rng(devices=[]):
        done, replaced = folder.restore(model, step)
        batches.fill(done, steps)
        sinks = open_sinks(cfg, folder.out, identity=folder.identity, done=done, ranks=ranks)
        with Journal(
            cfg, sinks, steps=steps, done=done, replaced=replaced, ranks=ranks, ideal_s=ideal_s,
            on_step=on_step,
        ) as journal:  # fmt: skip
            for batch in journal.waiting(batches.iterate(done, steps)):
                values = step(batch.to(ranks.device), step=done)
                done += 1
                journal.record(batch, step=done, **values)
                if judge is not None and judge.due(done):
                    with journal.pause():
                        found = judge()
                    journal.tell(done, found)
                if done % cfg.save.every == 0 and done < steps:
                    journal.publish()  # first: a state must not be ahead of its log
                    folder.save(model, step, step=done, replaced=journal.replaced())
            replaced = journal.replaced()
    return {"seed": seed, "pairs": len(pairs), "steps": steps, "replaced": replaced}
