"""Cell and coordinator as Ray actors."""

import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.cells import Cell, CellPlan, Work
from pipeline.coordinator import BEAT_S, Assignment, Coordinator
from pipeline.executors.cluster import Parcel, receive
from pipeline.executors.metrics import Metrics
from pipeline.fetch import open_shard
from pipeline.folder import Folder
from pipeline.leases import Lease, Report


class CoordinatorActor(Coordinator):
    """A coordinator that knows whether Ray has started it again."""

    def __init__(self, work: Assignment, name: str) -> None:
        import ray

        again = ray.get_runtime_context().was_current_actor_reconstructed
        super().__init__(work, name=f"{name}-{again:d}", restarted=again)


class CellActor:
    """A cell that asks a coordinator, and tells it every second that it is alive."""

    def __init__(self, plan: CellPlan, name: str, coordinator: Any) -> None:
        self._plan, self._name, self._coordinator = plan, name, coordinator
        self._over = threading.Event()

    def run(self, parcels: Mapping[str, Parcel]) -> None:
        """Load the models and work until there is no more to do."""
        self._require_store()
        plan = replace(self._plan, weights=receive(self._plan.weights, parcels))
        cell = Cell(plan, self._name)
        cell.load()
        metrics = Metrics()

        def exchange(name: str, reports: list[Report], most: int) -> list[Lease] | None:
            import ray

            metrics.count(reports)
            return ray.get(self._coordinator.exchange.remote(name, reports, most))

        work = Work(cell, exchange, partial(open_shard, spool=plan.settings.spool or None))
        beats = threading.Thread(target=self._beat, args=(cell, work), daemon=True)
        beats.start()
        try:
            work.run()
        finally:
            self._over.set()

    def _beat(self, cell: Cell, work: Work) -> None:
        while not self._over.wait(BEAT_S):
            self._coordinator.beat.remote(cell.name, cell.moved, list(work.holding))

    def _require_store(self) -> None:
        """Refuse a run folder that is another one on this node.

        Raises:
            ValueError: What the driver has written there cannot be seen from here.
        """
        ledger = Folder(self._plan.store) / "ledger"
        if not ledger.exists(f"stage-{self._plan.stage}.json"):
            raise ValueError(
                f"run folder: got {self._plan.store}, which node {socket.gethostname()} does not "
                "share with the driver; give a folder that every node sees, such as s3://..., with "
                "--out"
            )
