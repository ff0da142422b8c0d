"""One step of training, told once: encode, loss, backward, clip, update."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from training.checkpoint.parts import Moments, Parts, Weights
from training.config import Distill, Train
from training.input.batch import Batch
from training.objectives import Objective
from training.optim.adamw import build_optimizer, set_learning_rate
from training.parallel.ranks import Ranks


class Stepper:
    """Everything that a step changes: the model, the optimiser, and how often a step was left out.

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
        if ranks.count > 1:
            encoder = objective.encoder
            objective.encoder = DistributedDataParallel(encoder, static_graph=True)
        self.optimizer = build_optimizer(objective.model, cfg.optim)

    def __call__(self, batch: Batch, *, step: int) -> dict[str, float]:
        """Take a step; `step` is in [0, steps).

        Raises:
            RuntimeError: The loss is not finite; the weights are still those before the step.
        """
        lr = set_learning_rate(self.optimizer, step, self.steps, self.cfg.optim)
        self._seed(batch)
        loss = self.objective.loss(self.objective.encode(batch), batch)
        if not math.isfinite(loss.item()):
            raise RuntimeError(
                f"train: got loss {loss.item()}, expected a finite number; lower optim.lr or set "
                "precision to float32, and start again from another folder"
            )
        loss.backward()
        parameters = self.objective.model.parameters()
        grad_norm = nn.utils.clip_grad_norm_(parameters, self.cfg.optim.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        values = {"loss": loss.item(), "grad_norm": grad_norm.item(), "lr": lr}
        return {**values, **self.objective.after_step()}

    def parts(self) -> Parts:
        """Return what the next steps depend on besides the seed.

        Dropout's draws are a function of the seed and of the pairs shown, so no generator has a
        state to keep.
        """
        model = self.objective.model
        return {"model": Weights(model), "optimizer": Moments(model, self.optimizer)}

    def _seed(self, batch: Batch) -> None:
        """Seed dropout and stochastic depth by what is shown: the same on any number of ranks."""
        stream = np.random.SeedSequence([self.seed, batch.start, _DROPOUT])
        torch.manual_seed(int(stream.generate_state(1, np.uint64)[0] >> np.uint64(1)))


_DROPOUT = 2  # sets these streams apart from those of order and augmentation
