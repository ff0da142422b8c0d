"""One step of training, told once: encode, loss, backward, judge, clip, update, average."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial

import numpy as np
import torch
from torch import Tensor

from training.checkpoint.parts import Moments, Parts, Weights
from training.config import Distill, Train
from training.input.batch import Batch
from training.losses.grad_cache import accumulate, passes, require_no_batch_norm
from training.objectives import Objective
from training.optim.adamw import build_optimizer, set_learning_rate
from training.optim.adaptive import clip_adaptively, clipped_adaptively
from training.optim.average import Average
from training.optim.guard import Watch
from training.optim.statistics import RunningStatistics
from training.parallel.apply import no_sync, parallelise
from training.parallel.gradients import measure, norm, scale_to, synchronise
from training.parallel.ranks import Ranks


class Stepper:
    """Everything that a step changes: the model, the optimiser, averages, and what was left out.

    Args:
        cfg: The run.
        objective: What is minimised; its encoder is wrapped for the ranks here.
        ranks: This process among those that train together.
        seed: Of dropout and stochastic depth.
        steps: Of the whole run.
    """

    def __init__(
        self, cfg: Train | Distill, objective: Objective, *, ranks: Ranks, seed: int, steps: int
    ) -> None:
        self.cfg = cfg
        self.objective = objective
        self.ranks = ranks
        self.seed = seed
        self.steps = steps
        model, micro_batch = objective.model, cfg.parallel.micro_batch
        require_no_batch_norm(model, micro_batch=micro_batch)
        self._passes = passes(ranks, cfg.batch_size, micro_batch=micro_batch)
        objective.encoder = parallelise(objective.encoder, cfg.parallel, ranks=ranks)
        self.parameters = [p for p in model.parameters() if p.requires_grad]  # as now sharded
        self.optimizer = build_optimizer(model, cfg.optim)
        self.watch = Watch(cfg.guard)
        self.statistics = RunningStatistics(model, ranks=ranks)
        self.average = Average(model, decay=cfg.optim.average) if cfg.optim.average else None
        self._clipped = clipped_adaptively(model) if cfg.optim.adaptive_clip else []

    def __call__(self, batch: Batch, *, step: int) -> dict[str, float | Tensor]:
        """Take a step, or leave it out on all ranks alike; `step` is in [0, steps).

        Raises:
            RuntimeError: Too many in a row were left out; the weights are still the last good ones.
        """
        lr = set_learning_rate(self.optimizer, step, self.steps, self.cfg.optim)
        self.statistics.keep()
        loss = self._backward(batch)
        synchronise(self.parameters, self.ranks)
        # The one place where a step waits for the device.
        loss_value, grad_norm = measure(loss, self.parameters, self.ranks).tolist()
        if self.watch.allows(loss_value, grad_norm):
            self._update(grad_norm)
        else:
            self.statistics.put_back()
        self.optimizer.zero_grad()
        values = {"loss": loss_value, "grad_norm": grad_norm, "lr": lr}
        return {**values, "skipped": self.watch.skipped, **self.objective.after_step()}

    def parts(self) -> Parts:
        """Return what the next steps depend on besides the seed.

        Dropout's draws are a function of the seed and of the pairs shown, so no generator has a
        state to keep.
        """
        model = self.objective.model
        average = {} if self.average is None else {"average": self.average}
        moments = Moments(model, self.optimizer)
        return {"model": Weights(model), "optimizer": moments, "guard": self.watch, **average}

    def shown(self) -> AbstractContextManager[None]:
        """Have in the model what is judged and exported: the averages, if the run keeps them."""
        return nullcontext() if self.average is None else self.average.shown()

    def _backward(self, batch: Batch) -> Tensor:
        """Leave gradients in the parameters; return this rank's part of the loss."""
        return accumulate(
            self.objective.encode,
            lambda features: self.objective.loss(features, batch),
            [batch.part(rows) for rows in self._passes],
            seed=self._seed,
            no_sync=partial(no_sync, self.objective.encoder),
        )

    def _update(self, grad_norm: float) -> None:
        """Clip the gradient, and follow it."""
        optim = self.cfg.optim
        if self._clipped:
            clip_adaptively(self._clipped, largest=optim.adaptive_clip)
            rest = norm(self.parameters, self.ranks)
            scale_to(self.parameters, rest, largest=optim.grad_clip)
        else:
            scale_to(self.parameters, grad_norm, largest=optim.grad_clip)
        self.optimizer.step()
        self.statistics.average()
        if self.average is not None:
            self.average.update()

    def _seed(self, batch: Batch) -> None:
        """Seed dropout and stochastic depth by what is shown: the same on any number of ranks."""
        stream = np.random.SeedSequence([self.seed, batch.start, _DROPOUT])
        torch.manual_seed(int(stream.generate_state(1, np.uint64)[0] >> np.uint64(1)))


_DROPOUT = 2  # sets these streams apart from those of order and augmentation
