"""Ray Train: ranks on a cluster, started again when some die, on as many machines as there are.

Ray starts processes and their group, and no more: the run's states are ours, so a restarted rank
goes on as any other run does. Nothing else in `training` imports this module or Ray.
"""

import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.fs
import ray
import ray.train
import torch.distributed as dist
from fsspec.core import url_to_fs
from ray.exceptions import RayError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import filters
import pipeline
import training
from pipeline.executors.cluster import connected
from pipeline.folder import Folder
from training.config import Workers
from training.parallel.ranks import Ranks
from training.runs.runtime import Runtime
from training.runs.talk import Talk

T = TypeVar("T")
train: Any = ray.train  # which type checkers take for the API that came before, or for either
Metrics = dict[str, Any]
PATIENCE = timedelta(hours=1)
ASK_S = 2.0  # between two questions whether a machine will be taken away; it costs a remote call
REPORT_S = 60.0  # between two reports to Ray Train, which holds ranks until it looks at them
LOOK_S = 0.5  # between two looks of the driver at what the first rank reports


class RayRank:
    """A rank that Ray Train has started.

    Args:
        board: Actor that takes what the first rank reports.
    """

    def __init__(self, board: Any) -> None:
        context = ray.train.get_context()
        device = ray.train.torch.get_device()
        self.ranks = Ranks(context.get_world_rank(), context.get_world_size(), device)
        self._board = board
        self._talk = Talk(self.ranks, patience=PATIENCE)
        self._asked_s = self._reported_s = time.monotonic()
        self._saved_for: set[str] = set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Leave signals to Ray."""
        yield

    def should_stop(self) -> str:
        """Never: who wants an end kills, and the newest state is where it goes on."""
        return ""

    def should_save(self) -> bool:
        """Tell, once for each machine, that it will be taken away."""
        now = time.monotonic()
        if not self._talk.largest(self.ranks.is_first and now - self._asked_s >= ASK_S):
            return False
        self._asked_s = now
        ask = getattr(ray.train, "get_preemption_info", None)  # Ray from 2.56 on
        told = ask() if ask else None
        leaving = set() if told is None else set(told.preempted_node_ids)
        new, self._saved_for = leaving - self._saved_for, self._saved_for | leaving
        return bool(new)

    def report(self, metrics: Metrics) -> None:
        """Show a line to whoever waits at the driver, and now and then to Ray Train's own tools."""
        if self.ranks.is_first:
            self._board.put.remote(metrics)
        now = time.monotonic()
        if self._talk.largest(self.ranks.is_first and now - self._reported_s >= REPORT_S):
            self._reported_s = now
            ray.train.report(metrics)

    def close(self) -> None:
        """End the talk among ranks."""
        self._talk.close()


class Board:
    """Keeps the last line of metrics until somebody takes it."""

    def __init__(self) -> None:
        self._line: Metrics | None = None

    def put(self, line: Metrics) -> None:
        """Replace the line."""
        self._line = line

    def take(self) -> Metrics | None:
        """Return the line if it is new."""
        line, self._line = self._line, None
        return line


def on_ray(
    job: Callable[[Runtime], T],
    workers: Workers,
    *,
    address: str,
    scratch: Folder,
    on_report: Callable[[Metrics], None] | None = None,
) -> T:
    """Do a job as each of Ray Train's ranks; return what it returns on the first.

    Args:
        job: Goes to the ranks as a pickle; started again, it goes on from what it saved.
        workers: How many ranks, and of what.
        address: Of the cluster; `local` starts one here.
        scratch: Where Ray Train keeps what it needs of its own; every node sees it. Removed in the
            end.
        on_report: Gets what the first rank reports, in this process; some lines may be left out.

    Raises:
        ValueError: The ranks refuse the request, or this machine is too small for them.
        RuntimeError: Ranks died more often than `workers.failures`.
    """
    with connected(address, code=(filters, pipeline, training)):
        if address == "local":
            _require_room(workers)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        board: Any = ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()
        trainer = TorchTrainer(
            _as_rank,
            train_loop_config={"job": job, "board": board, "home": Path.cwd()},
            torch_config=TorchConfig(backend="nccl" if workers.gpus else "gloo"),
            scaling_config=_scaling(workers),
            run_config=_run_config(workers, scratch),
        )
        try:
            with _watching(board, on_report):
                result: Any = trainer.fit()
        except ray.train.TrainingFailedError as error:
            raise _failed(workers, error) from error
        finally:
            ray.kill(board)
            scratch.remove_all()
    said: Any = result.return_value
    if isinstance(said, _Refused):
        raise said.error
    return said


class _Refused:
    """A wrong request is no failure that another try would mend."""

    def __init__(self, error: ValueError) -> None:
        self.error = ValueError(str(error))


def _as_rank(config: dict[str, Any]) -> Any:
    with suppress(OSError):  # Ray Train stands elsewhere, where relative paths name nothing
        os.chdir(config["home"])
    runtime = RayRank(config["board"])
    try:
        return config["job"](runtime)
    except ValueError as error:
        if dist.is_initialized():  # or ranks that were not refused would wait for this one
            dist.destroy_process_group()
        return _Refused(error)
    finally:
        runtime.close()


def _scaling(workers: Workers) -> Any:
    least = workers.least or workers.count
    resources = {"CPU": workers.cpus} | ({"GPU": workers.gpus} if workers.gpus else {})
    return train.ScalingConfig(
        num_workers=workers.count if least == workers.count else (least, workers.count),
        use_gpu=workers.gpus > 0,
        resources_per_worker=resources,
    )


def _run_config(workers: Workers, scratch: Folder) -> Any:
    options: dict[str, Any] = {"max_failures": workers.failures}
    if "max_preemption_failures" in {f.name for f in fields(train.FailureConfig)}:
        options["max_preemption_failures"] = -1  # a machine that is taken back is no failure
    fs, root = url_to_fs(scratch.url)
    more: dict[str, Any] = {}
    if hasattr(train, "LoggingConfig"):
        more["logging_config"] = train.LoggingConfig(log_level="ERROR")
    return train.RunConfig(
        name=uuid.uuid4().hex,
        storage_path=root,
        storage_filesystem=pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs)),
        failure_config=train.FailureConfig(**options),
        **more,
    )


def _require_room(workers: Workers) -> None:
    """Refuse ranks that Ray would wait for in vain."""
    least, there = workers.least or workers.count, ray.cluster_resources()
    for kind, each in (("CPU", workers.cpus), ("GPU", workers.gpus)):
        if least * each > there.get(kind, 0):
            raise ValueError(
                f"train.workers: got {least} ranks of {each:g} {kind}s, expected at most "
                f"{there.get(kind, 0):g} {kind}s on this machine; lower count or {kind.lower()}s"
            )


@contextmanager
def _watching(board: Any, on_report: Callable[[Metrics], None] | None) -> Iterator[None]:
    """Pass on what the first rank reports while a `with` block waits."""
    if on_report is None:
        yield
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            try:
                line = ray.get(board.take.remote())
            except RayError:  # a lost board costs what is shown, and nothing of the run
                continue
            if line is not None:
                on_report(line)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _failed(workers: Workers, error: Exception) -> RuntimeError:
    failures = getattr(error, "worker_failures", {})
    first = next(iter(failures.values()), error)
    what = str(first).strip().splitlines() or [type(first).__name__]
    return RuntimeError(
        f"train: got ranks that died more than {workers.failures} times ({what[-1]}), expected "
        "them to live; see to what they died of and start again: the run goes on from its state"
    )


def local_scratch() -> Folder:
    """Return a folder for a cluster that is this machine alone."""
    return Folder(tempfile.mkdtemp(prefix="thresher-ray-"))
