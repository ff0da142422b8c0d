"""What tests have ranks do: a short distillation, in a process of whatever starter."""

import json
import os
import pickle
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from filters.open_clip_models import save_checkpoint_dir
from pipeline.folder import Folder
from pipeline.pairs import Pairs
from training.config import Distill, Log, Save, Workers
from training.distill import distill
from training.jobs import Pretraining
from training.models.build import build_model
from training.runs.launch import launch
from training.runs.runtime import Runtime
from training.runs.torchrun import joined

STEPS, BATCH = 6, 10  # no multiple of the ranks: their shares differ


@dataclass(frozen=True, kw_only=True)
class Teach:
    """A job."""

    cfg: Distill
    teacher: Folder
    pairs: Pairs
    out: Folder

    def __call__(self, runtime: Runtime) -> str:
        torch.set_num_threads(1)
        return distill(
            self.cfg, self.teacher, self.pairs, out=self.out, seed=5, runtime=runtime
        ).url  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Mortal(Pretraining):
    """A job; `kill` is a step after which rank 1 dies, once, by SIGKILL."""

    kill: int

    def __call__(self, runtime: Runtime) -> Folder:
        torch.set_num_threads(1)
        report = runtime.report

        def die(metrics):
            died = Path(self.out.url, "died")
            if metrics["step"] == self.kill and runtime.ranks.rank == 1 and not died.exists():
                died.write_text("")
                os.kill(os.getpid(), signal.SIGKILL)
            report(metrics)

        runtime.report = die
        return super().__call__(runtime)


def make(tiny_model, pairs, folder, *, every=2):
    """Return a job in a folder of its own, with a teacher beside it.

    Its tower has no batch norms, which see a rank's own pictures: one rank does as two do.
    """
    document = json.loads(Path(tiny_model).read_text())
    document["vision_cfg"]["timm_model_name"] = "test_convnext"
    folder.write("model.json", json.dumps(document).encode())
    tiny_model = folder.path("model.json")
    teacher = folder / "teacher"
    model, document = build_model(tiny_model, seed=1)
    save_checkpoint_dir(Path(teacher.url), model, document)
    cfg = Distill(
        model=tiny_model,
        samples_seen=STEPS * BATCH,
        batch_size=BATCH,
        save=Save(every=every),
        log=Log(every=1),
    )
    return Teach(cfg=cfg, teacher=teacher, pairs=pairs, out=folder / "run")


def main() -> None:
    """Do a pickled job as torchrun's rank, or alone."""
    job = pickle.loads(Path(sys.argv[1]).read_bytes())
    with joined("cpu") as here:
        place = here.once(lambda: f"{job.out.url} for {here.ranks.count} ranks")
        print(f"{place}: {launch(job, Workers(), here=here, address='off', out=job.out)}")  # noqa: T201


if __name__ == "__main__":
    main()
