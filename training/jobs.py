"""Training as it is sent to its ranks: settings and places, no pictures and no weights."""

from dataclasses import dataclass

from pipeline.folder import Folder
from pipeline.pairs import Pairs
from training.config import Distill, Train
from training.distill import distill
from training.evaluation.judge import Exam
from training.loop import OnStep, train
from training.runs.runtime import Runtime


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretraining:
    """One encoder.

    Attributes:
        cfg: The run.
        pairs: What is shown.
        out: Folder of this run.
        seed: See `train`.
        exam: What it is judged by on the way.
        on_step: Gets the metrics of every step, on the first rank; None where ranks are elsewhere.
    """

    cfg: Train
    pairs: Pairs
    out: Folder
    seed: int
    exam: Exam | None
    on_step: OnStep | None = None

    def __call__(self, runtime: Runtime) -> Folder:
        """Train as one of the ranks; return the folder of the checkpoint."""
        return train(
            self.cfg, self.pairs, out=self.out, seed=self.seed, runtime=runtime, exam=self.exam,
            on_step=self.on_step if runtime.ranks.is_first else None,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Teaching:
    """One student.

    Attributes:
        cfg: The run.
        teacher: Checkpoint folder.
        pairs: Whose pictures are shown.
        out: Folder of this run.
        seed: See `distill`.
        exam: What it is judged by on the way.
        on_step: Gets the metrics of every step, on the first rank; None where ranks are elsewhere.
    """

    cfg: Distill
    teacher: Folder
    pairs: Pairs
    out: Folder
    seed: int
    exam: Exam | None
    on_step: OnStep | None = None

    def __call__(self, runtime: Runtime) -> Folder:
        """Teach as one of the ranks; return the folder of the checkpoint."""
        return distill(
            self.cfg, self.teacher, self.pairs, out=self.out, seed=self.seed, runtime=runtime,
            exam=self.exam, on_step=self.on_step if runtime.ranks.is_first else None,
        )  # fmt: skip
