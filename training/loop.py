"""Pretraining, told once: `train` is the story of a run, `fit` that of its steps."""

from collections.abc import Callable
from typing import Any

import torch

from pipeline.folder import Folder
from pipeline.pairs import Pairs
from training.checkpoint.due import Due
from training.checkpoint.state import TrainingFolder, identify
from training.config import Distill, Train
from training.input.batches import Batches
from training.input.order import num_steps
from training.log.journal import Journal
from training.models.build import build_model, fit_to_loss, pick_device, preprocess_of
from training.objectives import Contrastive, Objective
from training.parallel.ranks import Ranks
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
    on_step: OnStep | None = None,
) -> Folder:
    """Train an image-text model on pairs; go on where an earlier call was stopped.

    Args:
        cfg: The run.
        pairs: The subset; a pair given twice is shown twice an epoch.
        out: Folder of this run: metrics, state, checkpoint.
        seed: Weights, order and augmentation follow from it; at least 0.
        runtime: Who started this process; None if nobody else trains with it.
        on_step: Gets the metrics of every step.

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
    runtime = runtime or Here(Ranks(device=pick_device(cfg.device)))
    ranks = runtime.ranks
    model, model_cfg = build_model(
        cfg.model, towers=cfg.towers, pretrained=cfg.pretrained, seed=seed
    )
    model_cfg = fit_to_loss(model, model_cfg, loss=cfg.loss.kind, batch_size=cfg.batch_size)
    model.to(ranks.device)
    objective = Contrastive(cfg, model, model_cfg, pairs, ranks=ranks)
    summary = fit(cfg, objective, pairs, folder=folder, seed=seed, runtime=runtime, on_step=on_step)
    return folder.finish(model, model_cfg, summary, ranks=ranks)


def fit(
    cfg: Train | Distill,
    objective: Objective,
    pairs: Pairs,
    *,
    folder: TrainingFolder,
    seed: int,
    runtime: Runtime,
    on_step: OnStep | None,
) -> dict[str, Any]:
    """Show `samples_seen` pictures, from the folder's newest state on; return the run's summary.

    Raises:
        Interrupted: Somebody asked for an end; the state is saved.
    """
    model, ranks = objective.model, runtime.ranks
    steps = num_steps(cfg.samples_seen, cfg.batch_size)
    size = preprocess_of(model).image_size
    batches = Batches.of(cfg, pairs, objective.texts, size=size, seed=seed, ranks=ranks)
    step = Stepper(cfg, objective, ranks=ranks, seed=seed, steps=steps)
    objective.train()
    with torch.random.fork_rng(devices=[]), runtime.listening(), folder.states(ranks) as states:
        state = states.restore(step.parts())
        done, replaced = state.step, state.counters.get("replaced", 0) * ranks.is_first
        batches.fill(done, steps)
        due = Due(cfg.save, ranks)
        own = folder.out if ranks.is_first else Folder(f"memory://rank-{ranks.rank}")
        with Journal(cfg, own, done=done, on_step=on_step) as journal:
            for batch in journal.waiting(batches.iterate(done, steps)):
                values = step(batch.to(ranks.device), step=done)
                done, replaced = done + 1, replaced + batch.replaced
                journal.record(step=done, steps=steps, **values, replaced=replaced)
                stop = runtime.should_stop()
                asked = runtime.should_save() or bool(stop)
                if due(done, asked=asked) and done < steps:
                    journal.publish()  # first: a state must not be ahead of its log
                    states.save(step.parts(), step=done, counters=_total(ranks, replaced))
                if stop and done < steps:
                    states.wait()
                    raise interrupted(stop, step=done, steps=steps, out=folder.out)
    return {"seed": seed, "pairs": len(pairs), "steps": steps, **_total(ranks, replaced)}


def _total(ranks: Ranks, replaced: int) -> dict[str, int]:
    """Count over all ranks."""
    return {"replaced": int(ranks.sum(torch.tensor(replaced, device=ranks.device)))}
