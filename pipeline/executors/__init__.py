"""Where cells run. `run_local` is a for-loop and the reference; `run_on_ray` must give its bytes.

What crosses Ray is small: plans, shard names, counts, metrics, and what was learned of a bounded
sample. Pixels never do, nor columns; rows that have to meet do so through files (`shuffle`).
"""

from pipeline.executors.job import Executor, Job, Progress
from pipeline.executors.local import run_local
from pipeline.executors.on_ray import run_on_ray
from pipeline.executors.tasks import at_once, some_at_once


def executor(where: str) -> Executor:
    """Return what `--ray` asks for: `off` is this process, anything else a Ray cluster."""
    return run_local if where == "off" else run_on_ray(where)


__all__ = [
    "Executor",
    "Job",
    "Progress",
    "at_once",
    "executor",
    "run_local",
    "run_on_ray",
    "some_at_once",
]
