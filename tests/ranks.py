"""Several ranks on one machine: forked processes that meet through a file and speak gloo.

Fork keeps what is imported, so that a launch costs a tenth of a second; it is safe only where torch
computes with one thread, because a pool of OpenMP threads does not survive a fork and its first use
in the child would wait for ever.
"""

import faulthandler
import multiprocessing
import pickle
import traceback
import uuid
import warnings
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any

import torch
import torch.distributed as dist

from training.parallel.ranks import Ranks


def run_ranks(
    function: Callable[..., Any], world: int, tmp_path: Path, *args: Any, limit_s: float = 60.0
) -> list[Any]:
    """Run `function(ranks, *args)` as each of `world` ranks; return what they returned, in order.

    Args:
        function: Of a module, so that a traceback names it; `ranks` is its `Ranks`.
        world: How many.
        tmp_path: A folder for the meeting point and the results; may serve several launches.
        args: Inherited by the ranks as they are; nothing is pickled on the way in.
        limit_s: Seconds after which ranks that hang are killed, and where they hung is shown.

    Raises:
        AssertionError: A rank raised (with its traceback), died, or hung.
    """
    assert torch.get_num_threads() == 1, "fork needs torch.set_num_threads(1) from the start"
    folder = tmp_path / f"ranks-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_rank, args=(function, rank, world, folder, args, limit_s))
        for rank in range(world)
    ]
    with warnings.catch_warnings():  # from Python 3.12 on: a fork beside other threads
        warnings.simplefilter("ignore", DeprecationWarning)
        for process in processes:
            process.start()
    _join(processes, limit_s)
    wrong = [_trouble(folder, rank, p) for rank, p in enumerate(processes) if p.exitcode != 0]
    assert not wrong, "\n".join(wrong)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(world)]


def _rank(
    function: Callable[..., Any],
    rank: int,
    world: int,
    folder: Path,
    args: tuple[Any, ...],
    limit_s: float,
) -> None:
    """Be one rank: join the others, call, leave the result or the traceback in the folder."""
    torch.set_num_threads(1)
    try:
        with (folder / f"{rank}.hung").open("w") as hung:
            faulthandler.dump_traceback_later(limit_s, file=hung)
            dist.init_process_group(
                "gloo",
                init_method=f"file://{folder / 'store'}",
                rank=rank,
                world_size=world,
                timeout=timedelta(seconds=2 * limit_s),  # ours strikes first, and says where
            )
            result = function(Ranks(rank, world, torch.device("cpu")), *args)
            dist.barrier()  # a rank that leaves early breaks the connections of the others
            dist.destroy_process_group()
            faulthandler.cancel_dump_traceback_later()
        (folder / f"{rank}.pickle").write_bytes(pickle.dumps(result))
    except BaseException:
        (folder / f"{rank}.raised").write_text(traceback.format_exc())
        raise SystemExit(1) from None


def _join(processes: list[BaseProcess], limit_s: float) -> None:
    """Wait until all are done, one has failed or time is up; kill what is left then."""
    deadline = monotonic() + limit_s + 1  # a second to write where it hangs
    try:
        while running := [p for p in processes if p.exitcode is None]:
            done = wait([p.sentinel for p in running], timeout=max(0.0, deadline - monotonic()))
            if not done or any(p.exitcode for p in processes):
                break
    finally:
        for process in processes:
            if process.exitcode is None:
                process.kill()
            process.join()


def _trouble(folder: Path, rank: int, process: BaseProcess) -> str:
    """Tell why a rank did not end well."""
    for suffix in ("raised", "hung"):
        file = folder / f"{rank}.{suffix}"
        if file.exists() and (text := file.read_text()):
            return f"rank {rank} {suffix}:\n{text}"
    return f"rank {rank} ended with exit code {process.exitcode}"
