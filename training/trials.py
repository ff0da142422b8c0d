"""Is the subset worth its compute? The same run on the subset and on random pairs, then judged."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.fingerprint import file_digest, fingerprint
from pipeline.flow import Clock
from pipeline.folder import Folder
from pipeline.pairs import Pairs
from training.checkpoint.folder import SUMMARY, identify
from training.config import Distill, Evaluate, Train
from training.evaluation.evaluate import (
    RESULTS,
    evaluate,
    heldout_of,
    require_pictures,
    tasks_of,
    write_results,
)
from training.evaluation.judge import Exam
from training.jobs import Pretraining, Teaching
from training.loop import OnStep
from training.parallel.ranks import Ranks
from training.run import Run
from training.runs.launch import launch
from training.runs.runtime import Here
from training.shown import Shown, control_of

logger = logging.getLogger(__name__)

Results = dict[str, float]  # "<task>/<metric>" -> value in [0, 1]
Watched = Callable[[str], AbstractContextManager[OnStep]]  # title -> what shows the steps


def train_and_judge(
    cfg: Run,
    shown: Shown,
    *,
    here: Here,
    address: str,
    out: Folder,
    clock: Clock,
    watched: Watched,
    until: str,
) -> dict[str, Any]:
    """Train the encoders of a run, teach its student, judge all of them.

    Args:
        cfg: The run; it has a `train`.
        shown: What they are shown.
        here: What the command line has started.
        address: Of the Ray cluster, for runs with `workers`.
        out: The run folder.
        clock: Takes the time of each stretch.
        watched: Shows the steps of a run with some title.
        until: `train` leaves the student out.

    Returns:
        What the summary has of it: `runs`, folders by name, and `zero_shot`, results by name.
    """
    assert cfg.train is not None
    exam = exam_of(cfg.evaluate, cfg.data.heldout)
    trials = Trials(out=out, seed=cfg.seed, here=here, address=address, exam=exam, watched=watched)
    with clock.stage("train"):
        runs = trials.train(cfg.train, shown)
    if until != "train" and cfg.distill is not None:
        with clock.stage("distill"):
            runs["student"] = trials.teach(cfg.distill, runs["subset"], shown.subset)
    with clock.stage("evaluate"):
        results = judge(exam, runs, out=out / "eval", ranks=here.ranks) if exam else {}
    places = {name: folder.url.removeprefix(out.url).lstrip("/") for name, folder in runs.items()}
    return {"runs": places, "zero_shot": results}


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
        folder = self._folder(self.out / "student", identity)
        with self.watched("teach the student") as on_step:
            job = Teaching(
                cfg=cfg, teacher=checkpoint, pairs=pairs, out=folder, seed=seed, exam=self.exam,
                on_step=None if cfg.workers.count else on_step,
            )  # fmt: skip
            self._launch(cfg, job, on_step)
        return folder

    def _train(self, cfg: Train, pairs: Pairs, name: str) -> Folder:
        identity = identify(cfg, pairs, seed=self.seed)
        folder = self._folder(self.out / "train" / name, identity)
        with self.watched(f"train on {name} pairs") as on_step:
            job = Pretraining(
                cfg=cfg, pairs=pairs, out=folder, seed=self.seed, exam=self.exam,
                on_step=None if cfg.workers.count else on_step,
            )  # fmt: skip
            self._launch(cfg, job, on_step)
        return folder

    def _folder(self, place: Folder, identity: str) -> Folder:
        """Return the folder of a run; say so if it begins anew beside one that was cut off."""
        folder = _named(place, identity)
        if self.here.ranks.is_first and not folder.names():
            for other in _unfinished(place):
                logger.warning(
                    "%s begins anew: settings or pairs are not those of %s, which is unfinished and"
                    " stays as it is", folder.url, other.url,
                )  # fmt: skip
        return folder

    def _launch(self, cfg: Train | Distill, job: Pretraining | Teaching, on_report: OnStep) -> None:
        launch(
            job, cfg.workers, here=self.here, address=self.address, out=self.out,
            on_report=on_report,
        )  # fmt: skip


def exam_of(cfg: Evaluate, shards: Sequence[str]) -> Exam | None:
    """Return tasks and held-out pairs; None without held-out shards.

    Raises:
        ValueError: A task cannot be run on these pairs, or none of their pictures can be decoded,
            which is better known before training.
    """
    if not shards:
        return None
    heldout = heldout_of(shards, cfg.tasks)
    tasks_of(cfg, heldout)
    require_pictures(cfg, heldout)
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


def _named(out: Folder, identity: str) -> Folder:
    """Name a folder by what makes its content, so that a changed run never meets an old one."""
    return Folder(f"{out.url}-{identity}")


def _unfinished(place: Folder) -> list[Folder]:
    """Return the folders of runs named after a place that have a state and no checkpoint."""
    home, _, name = place.url.rpartition("/")
    beside = [Folder(f"{home}/{n}") for n in Folder(home).names() if n.startswith(f"{name}-")]
    return [
        one for one in beside
        if (one / "state").names() and not (one / "checkpoint").exists(SUMMARY)
    ]  # fmt: skip
