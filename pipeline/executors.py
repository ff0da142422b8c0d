"""Where cells run. `run_local` is a for-loop and the reference; `run_on_ray` must give its bytes.

Only plans, shard names, counts and metrics cross Ray; pixels and columns never do.
"""

import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeline.cells import Cell, CellPlan, Lease, Scored

Executor = Callable[[CellPlan, Sequence[Lease]], Iterator[Scored]]

CONNECT_TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


def run_local(plan: CellPlan, leases: Sequence[Lease]) -> Iterator[Scored]:
    """Score in this process, shard after shard."""
    cell = Cell(plan)
    cell.load()
    for lease in leases:
        yield cell.score(lease)


def run_on_ray(address: str) -> Executor:
    """Return an executor on a Ray cluster.

    Args:
        address: `local` starts one on this machine and stops it again; `auto` or `ray://...` or
            `host:port` joins one.
    """

    def run(plan: CellPlan, leases: Sequence[Lease]) -> Iterator[Scored]:
        import ray

        started = _connect(address)
        try:
            yield from _lease_out(plan, leases)
        finally:
            if started:
                ray.shutdown()

    return run


def _connect(address: str) -> bool:
    """Join or start Ray; True if it was not running in this process before."""
    import ray

    if ray.is_initialized():
        return False
    _require_listener(address)
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == "local":
            ray.init(address="local", num_cpus=os.cpu_count(), **quiet)
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, error) from error
    return True


def _get(reference: Any) -> Any:
    """Wait for a result; what the remote code raised is raised here as itself."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def _require_listener(address: str) -> None:
    """Refuse a `host:port` that nobody listens at; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ValueError:
    return ValueError(
        f"--ray: got {address!r}, expected off, local, auto or the address of a running Ray "
        f"cluster; start one with `ray start --head` or use --ray local ({error})"
    )


def _lease_out(plan: CellPlan, leases: Sequence[Lease]) -> Iterator[Scored]:
    """Keep every cell busy with one shard; a dead cell's shard goes back to the queue."""
    import ray

    cores = int(ray.cluster_resources().get("CPU", 1))
    cells = min(plan.settings.count or cores, len(leases))
    # A share of a core, so that more cells than cores start too and nothing waits for a free one.
    remote_cell = ray.remote(num_cpus=min(1.0, 0.9 * cores / cells), max_restarts=0)(Cell)
    queue, deaths = deque(leases), Counter[str]()
    working: dict[Any, tuple[Any, Lease]] = {}
    idle: list[Any] = [remote_cell.remote(plan) for _ in range(cells)]
    _get([cell.load.remote() for cell in idle])
    while queue or working:
        while queue and idle:
            cell, lease = idle.pop(), queue.popleft()
            working[cell.score.remote(lease)] = (cell, lease)
        (done,), _ = ray.wait(list(working), num_returns=1)
        cell, lease = working.pop(done)
        try:
            scored = _get(done)
        except ray.exceptions.RayActorError as error:
            deaths[lease.shard] += 1
            logger.warning("cell died on %s (%d of %d)", lease.shard, deaths[lease.shard],
                           plan.settings.attempts)  # fmt: skip
            if deaths[lease.shard] >= plan.settings.attempts:
                raise RuntimeError(
                    f"shard {lease.shard}: got {deaths[lease.shard]} cells killed by it, expected "
                    "none; take it out of data.shards, or raise cells.attempts if the machine "
                    f"was at fault ({error})"
                ) from error
            queue.appendleft(lease)
            fresh: Any = remote_cell.remote(plan)
            _get(fresh.load.remote())
            idle.append(fresh)
            continue
        idle.append(cell)
        yield scored
