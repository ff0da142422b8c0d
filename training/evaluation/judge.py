"""Evaluation during training: the model as it is now, judged by all ranks, and left as it was."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch.distributed.fsdp import FSDPModule

from filters.open_clip_models import preprocess_of
from pipeline.pairs import Pairs
from training.config import Distill, Evaluate, Train
from training.evaluation.encoders import live_encoders
from training.evaluation.evaluate import run_tasks, tasks_of
from training.input.kept_texts import Tokenizer
from training.input.order import num_steps
from training.objectives import Objective
from training.parallel.ranks import Ranks

CONSTANTS = ("classes", "pictures", "captions", "chance", "skipped")  # the same at every step


@dataclass(frozen=True, slots=True)
class Exam:
    """What a model in training is judged by: tasks and held-out pairs."""

    cfg: Evaluate
    heldout: Pairs


class Judge:
    """Evaluates the model that is being trained; to be made before it is wrapped or sharded.

    No weight and no statistic changes, and nothing is drawn from the training's generators, so a
    run that is watched ends with the weights of one that is not.

    Args:
        exam: Tasks and pairs.
        objective: Of the run.
        tokenize: The model's.
        ranks: Those that train together; all of them call.
        every: Steps between two evaluations.
        steps: Of the whole run; after the last there is one, too.

    Raises:
        ValueError: A task cannot be run on these pairs.
    """

    def __init__(
        self,
        exam: Exam,
        objective: Objective,
        tokenize: Tokenizer,
        *,
        ranks: Ranks,
        every: int,
        steps: int,
    ) -> None:
        tasks_of(exam.cfg, exam.heldout)
        self.exam = exam
        self.objective = objective
        self.every, self.steps = every, steps
        size = preprocess_of(objective.model).image_size
        self.encoders = live_encoders(objective, tokenize, size=size, ranks=ranks)

    def due(self, step: int) -> bool:
        """Tell whether to judge after so many steps."""
        return step % self.every == 0 or step == self.steps

    def __call__(
        self, averaged: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> dict[str, float]:
        """Return `eval/<task>/<metric>` of the model as it is now, and `eval/seconds`.

        Args:
            averaged: Puts the moving average of the weights into the model for the length of a
                `with` block, where the run keeps one.
        """
        begin = time.perf_counter()
        with averaged(), _only_looked_at(self.objective, self.encoders.ranks.device):
            records = run_tasks(self.exam.cfg, self.encoders, self.exam.heldout)
        values = {
            f"eval/{record['key']}/{name}": value
            for record in records
            for name, value in record["metrics"].items()
            if name not in CONSTANTS
        }
        return {**values, "eval/seconds": round(time.perf_counter() - begin, 3)}


def judge_of(
    cfg: Train | Distill,
    exam: Exam | None,
    objective: Objective,
    tokenize: Tokenizer,
    *,
    ranks: Ranks,
) -> Judge | None:
    """Return the judge that a run's settings ask for; None if they ask for none."""
    if exam is None or not cfg.log.evaluate_every:
        return None
    steps = num_steps(cfg.samples_seen, cfg.batch_size)
    return Judge(exam, objective, tokenize, ranks=ranks, every=cfg.log.evaluate_every, steps=steps)


@contextmanager
def _only_looked_at(objective: Objective, device: torch.device) -> Iterator[None]:
    """Eval mode, generators and modes put back; what is compiled runs as it was written.

    Another mode and other shapes would have it compiled anew, for minutes. What FSDP has gathered
    is let go: it is what was judged, averages maybe, and the next step would go on with it.
    """
    every = {*objective.model.modules(), *objective.encoder.modules()}
    modes = {module: module.training for module in every}
    forked = [device] if device.type == "cuda" else []
    try:
        for module in every:
            module.training = False
        with torch.random.fork_rng(forked), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
            if isinstance(module, FSDPModule):
                module.reshard()
