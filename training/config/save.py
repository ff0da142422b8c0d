"""Settings of what a run leaves behind while it runs."""

from dataclasses import dataclass

from training.config.rule import require


@dataclass(frozen=True, kw_only=True, slots=True)
class Save:
    """When the resumable state is written, and how many stay.

    Attributes:
        every: Steps between two states.
        minutes: Also after so many minutes; 0 goes by steps alone.
        keep: Newest states that are kept.
    """

    every: int = 200
    minutes: float = 0.0
    keep: int = 2

    def __post_init__(self) -> None:
        """Refuse intervals that never come."""
        require("save.every", self.every, "at least 1", self.every >= 1)
        require("save.minutes", self.minutes, "at least 0", self.minutes >= 0)
        require("save.keep", self.keep, "at least 1", self.keep >= 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """What a run tells while it runs.

    Attributes:
        every: Steps between two lines of metrics.
        evaluate_every: Steps between two evaluations on the held-out pairs; 0 evaluates at the end.
        tensorboard: Also write TensorBoard's events (extra `tensorboard`).
        wandb: Project of Weights & Biases (extra `wandb`); `""` writes none.
        peak_tflops: Of one device, for the share of it that is used; 0 looks the device up.
    """

    every: int = 10
    evaluate_every: int = 0
    tensorboard: bool = False
    wandb: str = ""
    peak_tflops: float = 0.0

    def __post_init__(self) -> None:
        """Refuse intervals that never come."""
        require("log.every", self.every, "at least 1", self.every >= 1)
        require("log.evaluate_every", self.evaluate_every, "at least 0", self.evaluate_every >= 0)
        require("log.peak_tflops", self.peak_tflops, "at least 0", self.peak_tflops >= 0)
