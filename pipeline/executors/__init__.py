"""Where cells run. `run_local` is a for-loop and the reference; `run_on_ray` must give its bytes.

Only plans, shard names, counts and metrics cross Ray; pixels and columns never do.
"""

from pipeline.executors.job import Executor, Job, Progress
from pipeline.executors.local import run_local
from pipeline.executors.on_ray import run_on_ray
from pipeline.executors.tasks import some_at_once


def executor(where: str) -> Executor:
    """Return what `--ray` asks for: `off` is this process, anything else a Ray cluster."""
    return run_local if where == "off" else run_on_ray(where)


__all__ = ["Executor", "Job", "Progress", "executor", "run_local", "run_on_ray", "some_at_once"]
