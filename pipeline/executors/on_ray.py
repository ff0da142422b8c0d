"""A pool of cells on Ray: started at full size, mended while it works, gone when it is done."""

import hashlib
import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from pipeline.cells import CellPlan
from pipeline.executors.actors import CellActor, CoordinatorActor
from pipeline.executors.cluster import NAMESPACE, connected, ship
from pipeline.executors.job import Call, Executor, Item, Job, Progress, Result, Shared
from pipeline.executors.tasks import map_in_tasks
from pipeline.schema import Reason

POLL_S = 0.25
FAREWELL_S = 20.0  # for cells to come home when all is done
NAME_S = 60.0  # for the coordinator of a killed driver to go
PLACE_S = 600.0  # for an autoscaler to bring the nodes

logger = logging.getLogger(__name__)


class OnRay(Executor):
    """A Ray cluster."""

    def __init__(self, address: str) -> None:
        """Take an address; nothing is joined yet.

        Args:
            address: `local` starts one on this machine and stops it again; `auto` or `ray://...` or
                `host:port` joins one.
        """
        self.address = address
        self._kept: ExitStack | None = None

    def __enter__(self) -> Self:
        """Keep the connection, once there is one, until the end of the block."""
        self._kept = ExitStack()
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        import ray

        if self._kept is None:
            with connected(self.address):
                yield
            return
        if not ray.is_initialized():
            self._kept.enter_context(connected(self.address))
        yield

    def __call__(self, job: Job, progress: Progress) -> list[str]:
        """Score with a pool of cells."""
        with self._connected():
            parcels = {} if self.address == "local" else ship(job.plan.weights)
            count, share = _size(job.plan, len(job.shards))
            pool = Pool(job, count, share, parcels)
            try:
                return pool.run(progress)
            finally:
                pool.close()

    def map(
        self,
        function: Call[Shared, Item, Result],
        shared: Shared,
        items: Sequence[Item],
        *,
        weights: Mapping[str, Path],
    ) -> Iterator[Result]:
        """Call in tasks, on every node."""
        with self._connected():
            paths = {name: str(path) for name, path in weights.items()}
            parcels = {} if self.address == "local" else ship(paths)
            yield from map_in_tasks(function, shared, items, weights=paths, parcels=parcels)


def run_on_ray(address: str) -> Executor:
    """Return an executor on a Ray cluster."""
    return OnRay(address)


def _size(plan: CellPlan, shards: int) -> tuple[int, dict[str, float]]:
    """Return how many cells there are, and what each of them takes from the cluster."""
    import ray

    cluster, settings = ray.cluster_resources(), plan.settings
    cores, gpus = cluster.get("CPU", 1.0), cluster.get("GPU", 0.0)
    wants = any(e.accelerator for e in plan.extractors)
    gpu = settings.gpus or (1.0 if wants and gpus else 0.0)
    count = settings.count or int(gpus // gpu if gpu else cores) or 1
    count = min(count, max(1, shards)) if not settings.count else count
    # A share of a core, so that more cells than cores start too and nothing waits for a free one.
    share = {"CPU": settings.cpus or min(1.0, 0.9 * cores / count)}
    return count, share | ({"GPU": gpu} if gpu else {})


class Pool:
    """The coordinator and its cells, as the driver sees them."""

    def __init__(
        self, job: Job, count: int, share: dict[str, float], parcels: dict[str, Any]
    ) -> None:
        """Ask for every cell's place at once, which tells an autoscaler the whole need."""
        import ray

        self._plan, self._parcels, self._count = job.plan, ray.put(parcels), count
        self._group = _places(count, share)
        self._share = share
        self._assignment = ray.put(job.assignment(count))  # kept for a coordinator's second life
        self._coordinator = _coordinator(job, self._assignment)
        self._cells: dict[Any, tuple[str, Any, int]] = {}
        self._overdue = set[str]()
        self._unborn = 0
        self.names: list[str] = []

    def run(self, progress: Progress) -> list[str]:
        """Keep the cells alive until every shard is done; return the names of all there were."""
        import ray

        for place in range(self._count):
            self._start(place)
        while True:
            ended, _ = ray.wait(list(self._cells), timeout=POLL_S) if self._cells else ([], [])
            for reference in ended:
                self._see_to(reference)
            snapshot = ray.get(self._coordinator.snapshot.remote())
            progress(snapshot)
            if snapshot.problem:
                raise RuntimeError(snapshot.problem)
            if snapshot.finished:
                break
            for name in ray.get(self._coordinator.stalled.remote(self._plan.settings.timeout)):
                self._end(name)
        self._say_farewell()
        ray.get(self._coordinator.close.remote())
        return self.names

    def _say_farewell(self) -> None:
        """Let cells that have worked seal their journals; others may be waiting for a place."""
        import ray

        known = set(ray.get(self._coordinator.cells.remote()))
        leaving = [reference for reference, (name, *_) in self._cells.items() if name in known]
        if leaving:
            ray.wait(leaving, num_returns=len(leaving), timeout=FAREWELL_S)

    def close(self) -> None:
        """End what is left."""
        import ray

        for _, actor, _ in self._cells.values():
            ray.kill(actor)
        ray.kill(self._coordinator)
        ray.util.remove_placement_group(self._group)

    def _start(self, place: int) -> None:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        name = uuid.uuid4().hex
        strategy = PlacementGroupSchedulingStrategy(self._group, place)
        actor: Any = (
            ray.remote(CellActor)
            .options(
                num_cpus=self._share["CPU"], num_gpus=self._share.get("GPU", 0), max_restarts=0,
                scheduling_strategy=strategy,
            )
            .remote(self._plan, name, self._coordinator)
        )  # fmt: skip
        self._cells[actor.run.remote(self._parcels)] = (name, actor, place)
        self.names.append(name)

    def _see_to(self, reference: Any) -> None:
        """Let a cell go that has come home, and replace one that died."""
        import ray

        name, actor, place = self._cells.pop(reference)
        try:
            ray.get(reference)
        except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
            ray.kill(actor)  # one that only cannot be reached must not go on beside its successor
            reason = Reason.TIMEOUT if name in self._overdue else Reason.CELL_DIED
            asked = ray.get(self._coordinator.lose.remote(name, reason))
            self._unborn = 0 if asked else self._unborn + 1
            if self._unborn > self._count + self._plan.settings.attempts:
                raise RuntimeError(
                    f"cells: got {self._unborn} in a row that died while they loaded their models, "
                    "expected them to live; give them memory, or fewer of them "
                    f"({str(error).splitlines()[0]})"
                ) from error
            self._start(place)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def _end(self, name: str) -> None:
        import ray

        for its_name, actor, _ in self._cells.values():
            if its_name == name:
                self._overdue.add(name)
                ray.kill(actor)


def _places(count: int, share: dict[str, float]) -> Any:
    """Reserve a place for every cell, spread over the nodes.

    Raises:
        RuntimeError: The cluster did not have them in time.
    """
    import ray

    group = ray.util.placement_group([dict(share) for _ in range(count)], strategy="SPREAD")
    if not group.wait(PLACE_S):
        has = {k: v for k, v in ray.cluster_resources().items() if k in {"CPU", "GPU"}}
        ray.util.remove_placement_group(group)
        raise RuntimeError(
            f"cells: got {count} of {share}, expected what the cluster can place ({has}) within "
            f"{PLACE_S:.0f} s; lower cells.count, cells.cpus or cells.gpus"
        )
    return group


def _coordinator(job: Job, assignment: Any) -> Any:
    """Start the pass's coordinator on the driver's node; its name keeps a second one out.

    Raises:
        RuntimeError: Another driver is at this very pass.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    key = hashlib.blake2b(f"{job.plan.store}\0{job.plan.stage}".encode(), digest_size=8).hexdigest()
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    make = ray.remote(CoordinatorActor).options(
        name=f"{NAMESPACE}-{key}", namespace=NAMESPACE, num_cpus=0, max_restarts=-1,
        max_task_retries=-1, scheduling_strategy=here,
    )  # fmt: skip
    until = time.monotonic() + NAME_S
    while True:
        try:
            return make.remote((assignment,), uuid.uuid4().hex)
        except ValueError as error:  # the name is taken; by a driver that was just killed, or not
            if time.monotonic() > until:
                raise RuntimeError(
                    f"run folder: got {job.plan.store}, on which another driver of this cluster is "
                    f"at work, expected to be alone; wait for it, or stop it ({error})"
                ) from error
            time.sleep(1.0)
