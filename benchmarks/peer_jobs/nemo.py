"""NeMo Curator: its partitioning and its image reader (DALI), our model as a stage behind them."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from job import Job, Tower, run_job, summary
from nemo_curator.backends.xenna import XennaExecutor
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.base import ProcessingStage
from nemo_curator.stages.file_partitioning import FilePartitioningStage
from nemo_curator.stages.image.io.image_reader import ImageReaderStage
from nemo_curator.stages.resources import Resources
from nemo_curator.tasks import ImageBatch
from nvidia import dali


@dataclass
class CpuImageReader(ImageReaderStage):
    """Their reader with `device_id=None`, and nothing else changed.

    As released it asks for GPU 0 even where it decodes on the CPU.
    """

    def _create_dali_pipeline(self, tar_paths: list[str]) -> Any:
        theirs = dali.pipeline_def
        dali.pipeline_def = lambda **settings: theirs(**(settings | {"device_id": None}))
        try:
            return super()._create_dali_pipeline(tar_paths)
        finally:
            dali.pipeline_def = theirs


@dataclass
class Embed(ProcessingStage[ImageBatch, ImageBatch]):
    """The shared model; writes Parquet itself, since their image writer encodes pixels again."""

    weights: str
    marks: str
    out: str
    workers: int
    name: str = "embed"
    resources: Resources = field(default_factory=lambda: Resources(cpus=0.4))

    def inputs(self) -> tuple[list[str], list[str]]:
        """Return what their contract asks for."""
        return ["data"], []

    def outputs(self) -> tuple[list[str], list[str]]:
        """Return what their contract asks for."""
        return ["data"], []

    def num_workers(self) -> int:
        """Return the size of the pool."""
        return self.workers

    def setup(self, _worker_metadata: Any = None) -> None:
        """Load the model, once per worker."""
        self._tower = Tower(Path(self.weights), Path(self.marks))

    def process(self, task: ImageBatch) -> ImageBatch:
        """Embed a batch, write its rows, and let go of the pixels."""
        features_BD = self._tower([image.image_data for image in task.data])
        embeddings = pa.FixedSizeListArray.from_arrays(features_BD.ravel(), features_BD.shape[1])
        keys = [image.image_id for image in task.data]
        table = pa.table({"key": keys, "embedding": embeddings})
        pq.write_table(table, Path(self.out) / f"{keys[0]}.parquet")
        for image in task.data:
            image.image_data = None
        return task


def start(job: Job) -> str:
    """Start Ray, and try their reader as it is."""
    (job.out / "rows").mkdir()
    ray.init(num_cpus=2 * job.workers, include_dashboard=True, log_to_driver=False)
    # Xenna connects to whatever runs on the machine, unless it is told to which.
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    try:
        ImageReaderStage()._create_dali_pipeline([str(min(job.pool.glob("*.tar")))])
    except Exception as error:
        return f"Its reader as released: {summary(error)}"
    return "Its reader runs as released."


def work(job: Job) -> None:
    """Partition, read, score, write."""
    reader = ImageReaderStage if torch.cuda.is_available() else CpuImageReader
    stages = [
        FilePartitioningStage(str(job.pool), files_per_partition=1, file_extensions=[".tar"]),
        reader(dali_batch_size=job.batch, num_threads=1).with_(resources=Resources(cpus=0.5)),
        Embed(
            weights=str(job.weights),
            marks=str(job.marks),
            out=str(job.out / "rows"),
            workers=job.workers,
        ),
    ]
    executor = XennaExecutor({"ignore_failures": job.tolerate})
    Pipeline(name="peers", stages=stages).run(executor)


if __name__ == "__main__":
    run_job(start, work)
