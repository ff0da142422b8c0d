"""Our cells: an extractor with the model, scored by the public functions of `pipeline`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import ray
from job import DIM, SIDE, Job, Tower, run_job

from filters.extract import Batch, Column, Extractor, Score
from pipeline.config import Cells
from pipeline.executors import run_on_ray
from pipeline.folder import Folder
from pipeline.score import score_shards
from pipeline.shards import find_shards


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding(Extractor):
    """The shared model as an extractor."""

    marks: str
    kind: str = "peer_embedding"
    columns = (Column("embedding", "embedding", "", "(-inf, inf)", "EfficientNet-Lite0", DIM),)
    weights = ("tower",)
    vital: ClassVar[bool] = True
    side: ClassVar[int] = SIDE

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Load the model."""
        del threads
        tower = Tower(weights["tower"], Path(self.marks))
        return lambda batch: _columns(tower, batch)


def _columns(tower: Tower, batch: Batch) -> dict:
    return {"embedding": tower(batch.pictures)}


def start(job: Job) -> str:
    """Start Ray; the executor joins what runs in this process."""
    ray.init(num_cpus=job.workers, include_dashboard=False, log_to_driver=False)
    return ""


def work(job: Job) -> None:
    """Score all shards. The one place that knows how cells are called."""
    score_shards(
        find_shards([str(job.pool)]),
        [Embedding(marks=str(job.marks))],
        store=Folder(str(job.out)),
        weights=lambda name: job.weights,  # noqa: ARG005
        cells=Cells(count=job.workers, batch=job.batch),
        execute=run_on_ray("local"),
        progress=lambda *_: None,
    )


if __name__ == "__main__":
    run_job(start, work)
