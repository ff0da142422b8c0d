"""Pretraining, told once: `train` is the story of a run, `fit` that of its steps."""

from collections.abc import Callable
from typing import Any

import torch

from filters.open_clip_models import preprocess_of, tokenizer
from pipeline.folder import Folder
from pipeline.pairs import Pairs
from training.checkpoint.due import Due
from training.checkpoint.folder import TrainingFolder, identify
from training.checkpoint.states import States
from training.config import Distill, Train
from training.evaluation.judge import Exam, Judge, judge_of
from training.input.batch import Batch
from training.input.batches import Batches
from training.input.device import ahead
from training.input.order import num_steps
from training.log.flops import ideal_time
from training.log.journal import Journal, open_sinks
from training.models.build import build_model, fit_to_loss
from training.objectives import Contrastive, Objective
from training.parallel.ranks import Ranks, device_of
from training.runs.runtime import Here, Runtime, interrupted
from training.step import Stepper

OnStep = Callable[[dict[str, Any]], None]


def train(
    cfg: Train,
    pairs: Pairs,
    *,
    out: Folder,
    seed: int,
    runtime: Runtime | None = None,
    exam: Exam | None = None,
    on_step: OnStep | None = None,
) -> Folder:
    """Train an image-text model on pairs; go on where an earlier call was stopped.

    Args:
        cfg: The run.
        pairs: The subset; a pair given twice is shown twice an epoch.
        out: Folder of this run: metrics, state, checkpoint.
        seed: Weights, order and augmentation follow from it; at least 0.
        runtime: Who started this process; None if nobody else trains with it.
        exam: What the model is judged by every `log.evaluate_every` steps; None judges never.
        on_step: Gets the metrics of every step.

    Returns:
        The folder of the final checkpoint; at once, without touching data, if it is there.

    Raises:
        ValueError: `out` holds another run, or the model or the pairs cannot be used.
        Interrupted: Somebody asked for an end; the state is saved.
        RuntimeError: Too many steps in a row were not finite, or most of all.
    """
    identity = identify(cfg, pairs, seed=seed)
    folder = TrainingFolder(out, identity=identity, keep=cfg.save.keep)
    if folder.finished:
        return folder.checkpoint
    runtime = runtime or Here(Ranks(device=device_of(cfg.device)))
    ranks = runtime.ranks
    model, model_cfg = build_model(
        cfg.model, towers=cfg.towers, pretrained=cfg.pretrained, seed=seed
    )
    model_cfg = fit_to_loss(model, model_cfg, loss=cfg.loss.kind, batch_size=cfg.batch_size)
    model.to(ranks.device)
    objective = Contrastive(cfg, model, model_cfg, pairs, ranks=ranks)
    judge = judge_of(cfg, exam, objective, tokenizer(model_cfg), ranks=ranks)
    step, summary = fit(
        cfg, objective, pairs, folder=folder, seed=seed, runtime=runtime, judge=judge,
        on_step=on_step,
    )  # fmt: skip
    with step.shown():
        return folder.finish(model, model_cfg, summary, ranks=ranks)


def fit(
    cfg: Train | Distill,
    objective: Objective,
    pairs: Pairs,
    *,
    folder: TrainingFolder,
    seed: int,
    runtime: Runtime,
    judge: Judge | None,
    on_step: OnStep | None,
) -> tuple[Stepper, dict[str, Any]]:
    """Show `samples_seen` pictures, from the folder's newest state on.

    Returns:
        Who took the steps, and the run's summary.

    Raises:
        Interrupted: Somebody asked for an end; the state is saved.
        RuntimeError: Too many steps were left out.
    """
    ranks, steps = runtime.ranks, num_steps(cfg.samples_seen, cfg.batch_size)
    size = preprocess_of(objective.model).image_size
    batches = Batches.of(cfg, pairs, objective.texts, size=size, seed=seed, ranks=ranks)
    ideal_s = _ideal_time(cfg, objective, ranks)  # before the model is wrapped
    objective.train()
    step = Stepper(cfg, objective, ranks=ranks, seed=seed, steps=steps)
    with torch.random.fork_rng(devices=[]), runtime.listening(), folder.states(ranks) as states:
        state, due = states.restore(step.parts()), Due(cfg.save, ranks)
        done, replaced = state.step, state.counters.get("replaced", 0)
        batches.fill(done, steps)
        sinks = open_sinks(cfg, folder.out, identity=folder.identity, done=done, ranks=ranks)
        with Journal(
            cfg, sinks, steps=steps, done=done, replaced=replaced, ranks=ranks, ideal_s=ideal_s,
            on_step=on_step,
        ) as journal:  # fmt: skip
            coming = ahead(batches.iterate(done, steps), ranks.device, prepare=objective.trim)
            for batch in journal.waiting(coming):
                values = step(batch, step=done)
                done += 1
                line = journal.record(batch, step=done, **values)
                if line is not None:
                    runtime.report(line)
                if judge is not None and judge.due(done):  # before a state: none is lost
                    _judge(judge, step, journal, done)
                stop, asked = runtime.should_stop(), runtime.should_save()
                if done < steps and due(done, asked=asked or bool(stop)):
                    _save(states, step, journal, done)
                if done < steps and stop:
                    states.wait()
                    raise interrupted(stop, step=done, steps=steps, out=folder.out)
            replaced = journal.replaced()
    step.watch.conclude(steps)
    return step, {
        "seed": seed, "pairs": len(pairs), "steps": steps, "replaced": replaced,
        "skipped": step.watch.skipped,
    }  # fmt: skip


def _ideal_time(
    cfg: Train | Distill, objective: Objective, ranks: Ranks
) -> Callable[[Batch], float] | None:
    return ideal_time(
        cfg, objective.model, device=ranks.device, has_text=objective.texts is not None,
        teachers=objective.teachers,
    )  # fmt: skip


def _judge(judge: Judge, step: Stepper, journal: Journal, done: int) -> None:
    with journal.pause():
        found = judge(step.shown)
    journal.tell(done, found)


def _save(states: States, step: Stepper, journal: Journal, done: int) -> None:
    journal.publish()  # first: a state must not be ahead of its log
    states.save(step.parts(), step=done, counters={"replaced": journal.replaced()})
