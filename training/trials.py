"""Is the subset worth its compute? The same run on the subset and on random pairs, then judged."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.fingerprint import file_digest, fingerprint
from pipeline.folder import Folder
from pipeline.pairs import Pairs, pairs_from_shards
from pipeline.shards import list_shards
from pipeline.staging import split_url
from training.checkpoint.state import identify
from training.config import Distill, Evaluate, Train
from training.evaluation.evaluate import evaluate, tasks_of
from training.evaluation.judge import Exam
from training.jobs import Pretraining, Teaching
from training.loop import OnStep
from training.parallel.ranks import Ranks
from training.runs.launch import launch
from training.runs.runtime import Here
from training.shown import Shown, control_of

Results = dict[str, float]  # "<task>/<metric>" -> value in [0, 1]
RESULTS = "eval_results.jsonl"
Watched = Callable[[str], AbstractContextManager[OnStep]]  # title -> what shows the steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Trials:
    """What every run of a trial has in common.

    Attributes:
        out: The run folder.
        seed: Of every run.
        here: What the command line has started.
        address: Of the Ray cluster, for runs with `workers`.
        exam: What models are judged by on the way.
        watched: Shows the steps of a run with some title.
    """

    out: Folder
    seed: int
    here: Here
    address: str
    exam: Exam | None
    watched: Watched

    def train(self, cfg: Train, shown: Shown) -> dict[str, Folder]:
        """Train on the subset and, if wanted, on random pairs; return folders by name."""
        runs = {"subset": self._train(cfg, shown.subset, "subset")}
        if shown.random is not None:
            runs["random"] = self._train(control_of(cfg), shown.random, "random")
        return runs

    def teach(self, cfg: Distill, teacher: Folder, pairs: Pairs) -> Folder:
        """Distil the encoder in folder `teacher` on the pairs' pictures; return the folder."""
        checkpoint, seed = teacher / "checkpoint", self.seed
        identity = identify(cfg, pairs, seed=seed, teacher=checkpoint)
        folder = _named(self.out / "student", identity)
        with self.watched("teach the student") as on_step:
            job = Teaching(
                cfg=cfg, teacher=checkpoint, pairs=pairs, out=folder, seed=seed, exam=self.exam,
                on_step=None if cfg.workers.count else on_step,
            )  # fmt: skip
            self._launch(cfg, job, on_step)
        return folder

    def _train(self, cfg: Train, pairs: Pairs, name: str) -> Folder:
        folder = _named(self.out / "train" / name, identify(cfg, pairs, seed=self.seed))
        with self.watched(f"train on {name} pairs") as on_step:
            job = Pretraining(
                cfg=cfg, pairs=pairs, out=folder, seed=self.seed, exam=self.exam,
                on_step=None if cfg.workers.count else on_step,
            )  # fmt: skip
            self._launch(cfg, job, on_step)
        return folder

    def _launch(self, cfg: Train | Distill, job: Pretraining | Teaching, on_report: OnStep) -> None:
        launch(
            job, cfg.workers, here=self.here, address=self.address, out=self.out,
            on_report=on_report,
        )  # fmt: skip


def exam_of(cfg: Evaluate, shards: Sequence[str]) -> Exam | None:
    """Return tasks and held-out pairs; None without held-out shards.

    Raises:
        ValueError: A task cannot be run on these pairs, which is better known before training.
    """
    if not shards:
        return None
    fields = [task.partition(":")[2] for task in cfg.tasks if ":" in task]
    heldout = pairs_from_shards(list_shards(shards), fields=fields)
    tasks_of(cfg, heldout)
    return Exam(cfg, heldout)


def judge(
    exam: Exam, runs: Mapping[str, Folder], *, out: Folder, ranks: Ranks
) -> dict[str, Results]:
    """Evaluate each run's checkpoint; what was judged before is read back.

    Returns:
        Results by the name of the run.
    """
    return {
        name: _judge(exam, folder / "checkpoint", out / name, ranks)
        for name, folder in runs.items()
    }


def _judge(exam: Exam, checkpoint: Folder, out: Folder, ranks: Ranks) -> Results:
    cfg, heldout = exam.cfg, exam.heldout
    of = [asdict(cfg), file_digest(checkpoint.url), heldout.digest]
    folder = _named(out, fingerprint("evaluate", of=of))
    if not folder.exists(RESULTS):
        records = evaluate(
            checkpoint, heldout, tasks=cfg.tasks, batch_size=cfg.batch_size,
            templates=cfg.templates, ignore_classes=cfg.ignore_classes, calibrate=cfg.calibrate,
            ranks=ranks,
        )  # fmt: skip
        if ranks.is_first:
            write_results(folder.path(RESULTS), records)
        ranks.barrier()
    records = [json.loads(line) for line in folder.read(RESULTS).splitlines()]
    return {f"{r['key']}/{name}": v for r in records for name, v in r["metrics"].items()}


def write_results(place: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Write DataComp's `eval_results.jsonl`: one task a line; all of it or nothing."""
    folder, name = split_url(place)
    folder.write(name, "".join(json.dumps(r) + "\n" for r in records).encode())


def _named(out: Folder, identity: str) -> Folder:
    """Name a folder by what makes its content, so that a changed run never meets an old one."""
    return Folder(f"{out.url}-{identity}")
