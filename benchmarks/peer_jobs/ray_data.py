"""Ray Data as its guides show it: `read_webdataset` decodes, an actor pool scores, Parquet out."""

from pathlib import Path

import numpy as np
import ray
from job import Job, Tower, run_job


class Embed:
    """The shared model as a callable class."""

    def __init__(self, weights: Path, marks: Path) -> None:
        self._tower = Tower(weights, marks)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Turn decoded pictures into rows of key, caption and embedding."""
        return {
            "key": batch["__key__"],
            "caption": batch["txt"],
            "embedding": self._tower(list(batch["jpg"])),
        }


def start(job: Job) -> str:
    """Start Ray with room for the actors and for as many readers beside them."""
    ray.init(num_cpus=job.workers, include_dashboard=False, log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1 if job.tolerate else 0
    return ""


def work(job: Job) -> None:
    """Read, decode, score, write."""
    ray.data.read_webdataset(str(job.pool), ray_remote_args={"num_cpus": 0.5}).map_batches(
        Embed,
        fn_constructor_kwargs={"weights": job.weights, "marks": job.marks},
        batch_size=job.batch,
        compute=ray.data.ActorPoolStrategy(size=job.workers),
        num_cpus=0.4,
    ).write_parquet(str(job.out / "rows"))


if __name__ == "__main__":
    run_job(start, work)
