"""Pretraining, told once: `train` is the story of a run, `fit` that of its steps."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pipeline.folder import Folder
from pipeline.pairs import Pairs
from training.checkpoint import TrainingFolder, identify
from training.config import Distill, Train
from training.data import Batch, Batches
from training.journal import Journal
from training.model import build_model, fit_to_loss, pick_device, preprocess_of
from training.objectives import Contrastive, Objective
from training.optim import build_optimizer, set_learning_rate
from training.order import num_steps

OnStep = Callable[[dict[str, Any]], None]


def train(
    cfg: Train, pairs: Pairs, *, out: Folder, seed: int, on_step: OnStep | None = None
) -> Folder:
    """Train an image-text model on pairs; go on where an earlier call was stopped.

    Args:
        cfg: The run.
        pairs: The subset; a pair given twice is shown twice an epoch.
        out: Folder of this run: metrics, state, checkpoint.
        seed: Weights, order and augmentation follow from it; at least 0.
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
    model, model_cfg = build_model(cfg.model, pretrained=cfg.pretrained, seed=seed)
    model_cfg = fit_to_loss(model, model_cfg, loss=cfg.loss, batch_size=cfg.batch_size)
    model.to(pick_device(cfg.device))
    objective = Contrastive(cfg, model, model_cfg, pairs.captions)
    summary = fit(cfg, objective, pairs, folder=folder, seed=seed, on_step=on_step)
    return folder.finish(model, model_cfg, summary)


def fit(
    cfg: Train | Distill,
    objective: Objective,
    pairs: Pairs,
    *,
    folder: TrainingFolder,
    seed: int,
    on_step: OnStep | None,
) -> dict[str, Any]:
    """Show `samples_seen` pictures, from the folder's newest state on; return the run's summary."""
    model = objective.model
    steps = num_steps(cfg.samples_seen, cfg.batch_size)
    batches = Batches.of(cfg, pairs, size=preprocess_of(model).image_size, seed=seed)
    optimizer = build_optimizer(model, cfg.optim)
    objective.train()
    with _seeded(seed):
        done, replaced = folder.restore(model, optimizer)
        batches.fill(done, steps)
        with Journal(cfg, folder.out, done=done, on_step=on_step) as journal:
            for batch in journal.waiting(batches.iterate(done, steps)):
                lr = set_learning_rate(optimizer, done, steps, cfg.optim)
                values = _step(objective, optimizer, batch, grad_clip=cfg.optim.grad_clip)
                done, replaced = done + 1, replaced + batch.replaced
                journal.record(step=done, steps=steps, lr=lr, **values, replaced=replaced)
                if done % cfg.save.every == 0 and done < steps:
                    journal.publish()  # first: a state must not be ahead of its log
                    folder.save(model, optimizer, step=done, replaced=replaced)
    return {"seed": seed, "pairs": len(pairs), "steps": steps, "replaced": replaced}


def _step(
    objective: Objective, optimizer: Optimizer, batch: Batch, *, grad_clip: float
) -> dict[str, float]:
    """Take one step of the optimiser.

    Raises:
        RuntimeError: The loss is not finite; the weights are still those before the step.
    """
    loss = objective.loss(batch)
    if not math.isfinite(loss.item()):
        raise RuntimeError(
            f"train: got loss {loss.item()}, expected a finite number; lower optim.lr or set "
            "precision to float32, and start again from another folder"
        )
    loss.backward()
    grad_norm = nn.utils.clip_grad_norm_(objective.model.parameters(), grad_clip)
    optimizer.step()
    optimizer.zero_grad()
    return {"loss": loss.item(), "grad_norm": grad_norm.item(), **objective.after_step()}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator (dropout, stochastic depth) and put it back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
