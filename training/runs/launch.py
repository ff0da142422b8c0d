"""Start the ranks that a job wants: this process, torchrun's that are there, or Ray Train's."""

from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.folder import Folder
from training.config import Workers
from training.runs.runtime import Here, Runtime

T = TypeVar("T")


def launch(
    job: Callable[[Runtime], T],
    workers: Workers,
    *,
    here: Here,
    address: str,
    out: Folder,
    on_report: Callable[[dict[str, Any]], None] | None = None,
) -> T:
    """Do a job as each of the ranks; return what it returns on the first.

    Args:
        job: Gets the rank's runtime. For Ray Train it is pickled, and done again from its newest
            state when ranks die.
        workers: Of Ray Train; with `count = 0` the ranks are those that are there.
        here: What this command line has started (see `joined`).
        address: Of the Ray cluster; `local` starts one here.
        out: The run folder.
        on_report: Gets what the first of Ray Train's ranks reports.

    Raises:
        ValueError: Ray Train is asked for without Ray, or by one of several ranks.
    """
    if workers.count == 0:
        return job(here)
    if address == "off" or here.ranks.count > 1:
        got = "--ray off" if address == "off" else f"{here.ranks.count} ranks of torchrun"
        raise ValueError(
            f"train.workers: got count = {workers.count} with {got}, expected one process with "
            "Ray; set train.workers.count=0, or start with --ray and without torchrun"
        )
    from training.runs.ray_train import local_scratch, on_ray

    scratch = local_scratch() if address == "local" else out / ".ray-train"
    return on_ray(job, workers, address=address, scratch=scratch, on_report=on_report)
