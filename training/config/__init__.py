"""Settings of training, evaluation and distillation; nothing here imports torch.

Groups that hold *what* is computed (`Towers`, `Loss`, `Sampling`, `Augment`, `Optim`, `Guard`) are
part of a run's identity, so a changed value starts another run. Groups that hold only *how*
(`Loader`, `Parallel`, `Workers`, `Save`, `Log`) are not: a run may be resumed with other threads,
on other machines or with another interval, and ends with the same weights but for rounding.
"""

from training.config.input import Augment, Loader, Sampling, Source
from training.config.loss import Loss
from training.config.model import Towers
from training.config.optim import Guard, Optim
from training.config.parallel import Parallel, Workers
from training.config.save import Log, Save
from training.config.train import Device, Distill, Evaluate, Precision, Train

__all__ = [
    "Augment", "Device", "Distill", "Evaluate", "Guard", "Loader", "Log", "Loss", "Optim",
    "Parallel", "Precision", "Sampling", "Save", "Source", "Towers", "Train", "Workers",
]  # fmt: skip
