"""Plain functions as Ray tasks, a bounded number at a time."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.executors.cluster import Parcel, receive
from pipeline.executors.job import Call, Item, Result, Shared

RETRIES = 3  # of a task whose worker or node died
AHEAD = 2  # tasks in flight for each core, so that none waits for the driver
AT_ONCE = 16  # shards of one task, which is started, and loads its model, once
FEW, MANY = 32, 4096  # tasks: a small pool is dealt to so many, and a large one to no more


def map_in_tasks(
    function: Call[Shared, Item, Result],
    shared: Shared,
    items: Sequence[Item],
    *,
    weights: Mapping[str, str],
    parcels: Mapping[str, Parcel],
) -> Iterator[Result]:
    """Yield results as tasks end, in any order; Ray has to be running.

    Raises:
        Exception: What the function raised, as it was.
        RuntimeError: A task's worker died again and again.
    """
    import ray

    cores = ray.cluster_resources().get("CPU", 1.0)
    task = ray.remote(_call).options(
        num_cpus=min(1.0, cores / 2), max_retries=RETRIES, scheduling_strategy="SPREAD"
    )
    kept, left = ray.put((function, shared, weights, parcels)), iter(items)
    running: list[Any] = []
    try:
        while True:
            room = max(2, int(AHEAD * cores)) - len(running)
            running += [task.remote(kept, item) for item in islice(left, room)]
            if not running:
                return
            (done, *_), running = ray.wait(running, num_returns=1)
            yield ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.WorkerCrashedError as error:
        raise RuntimeError(
            f"tasks: got a worker that died {RETRIES + 1} times, expected it to live; give it "
            f"memory, or look at its log ({str(error).splitlines()[0]})"
        ) from error
    finally:
        for reference in running:
            ray.cancel(reference)


def at_once(shards: int) -> int:
    """Return how many of so many shards a task does, at least 1.

    >>> [at_once(shards) for shards in (8, 100, 50_000, 1_000_000)]
    [1, 4, 16, 245]
    """
    return max(1, min(AT_ONCE, -(-shards // FEW)), -(-shards // MANY))


def some_at_once(shards: Sequence[int]) -> list[Sequence[int]]:
    """Deal shards out to tasks."""
    size = at_once(len(shards))
    return [shards[at : at + size] for at in range(0, len(shards), size)]


def _call(kept: tuple[Any, Any, Mapping[str, str], Mapping[str, Parcel]], item: Any) -> Any:
    function, shared, weights, parcels = kept
    paths = {name: Path(path) for name, path in receive(weights, parcels).items()}
    return function(shared, paths, item)
