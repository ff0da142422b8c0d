"""The resumable states of a run: written beside training, whole or not at all, the newest few kept.

    OUT/state/step-00000200/__0_0.distcp   what rank 0 holds of the weights and moments
    OUT/state/step-00000200/.metadata      which tensor lies where (DCP's index)
    OUT/state/step-00000200/state.json     written last: whose state, and every file's digest

A state without its state.json is none. Any number of ranks reads what any number has written.
"""

import json
import logging
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Self

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import CheckpointException

from pipeline.folder import Folder
from pipeline.transient import DiskFull
from training.checkpoint.files import FolderReader, FolderWriter, SafePlanner
from training.checkpoint.manifest import LAST, State, damage_of, read_state
from training.checkpoint.parts import Parts
from training.parallel.ranks import Ranks
from training.runs.talk import Talk

logger = logging.getLogger(__name__)
PATIENCE = timedelta(hours=1)  # for the slowest rank's share of a state to be uploaded


class States:
    """Saves and restores; a `with` block waits for the last save, and tells if it went wrong.

    All ranks make it, and call each method, in the same order.

    Args:
        folder: Of the states.
        identity: Fingerprint of the run.
        keep: Newest states that are kept.
        ranks: This process among those that train together.
        refuse: Raises if a fingerprint is not the run's.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        identity: str,
        keep: int,
        ranks: Ranks,
        refuse: Callable[[str], None],
    ) -> None:
        self.folder, self.identity, self.keep, self.refuse = folder, identity, keep, refuse
        self.talk = Talk(ranks, patience=PATIENCE)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._last: Future[None] | None = None
        self._stager = _stager(ranks.device)

    def __enter__(self) -> Self:
        """Return the states."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        """Wait for the last save; its failure is raised unless something else went wrong first."""
        try:
            self.wait()
        except Exception:
            if kind is None:
                raise
            logger.exception("train: the last state was not saved")
        finally:
            self._thread.shutdown()
            self.talk.close()

    def restore(self, parts: Parts) -> State:
        """Load the newest state that is whole; one of step 0 if there is none.

        States that are damaged are passed over with a warning. What is newer than the state loaded,
        and what was never finished, is removed: the run will write it again.

        Raises:
            ValueError: The newest state is another run's or another model's, or all are damaged.
        """
        found = self.talk.once(self._complete)
        for step in reversed(found):
            state = self._whole(step)
            if state is None:
                continue
            self._load(state, parts)
            self.talk.once(lambda kept=step: self._remove(lambda s: s > kept or s not in found))
            return state
        if found:
            raise ValueError(
                f"train: got {len(found)} damaged states in {self.folder.url}, expected one that "
                "can be read; remove that folder to begin again"
            )
        self.talk.once(lambda: self._remove(lambda _: True))
        return State(fingerprint=self.identity)

    def save(self, parts: Parts, *, step: int, counters: Mapping[str, int]) -> None:
        """Copy the state to memory and go on; it is written meanwhile.

        Args:
            parts: What is saved.
            step: Steps done.
            counters: The same on all ranks.

        Raises:
            DiskFull: The save before this one found no room.
            OSError: The save before this one could not be written.
        """
        self.wait()
        folder = self.folder / _name(step)
        writer = FolderWriter(folder)
        written: Any = dcp.async_save(
            {name: part.state_dict() for name, part in parts.items()},
            storage_writer=writer,
            async_stager=self._stager,
            **_together(self.talk),
        )
        state = State(
            fingerprint=self.identity, step=step, ranks=self.talk.count, counters=dict(counters)
        )
        self._last = self._thread.submit(self._finish, folder, state, written, writer)

    def wait(self) -> None:
        """Wait until the last save is complete.

        Raises:
            DiskFull: It found no room.
            OSError: It could not be written.
        """
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def _finish(
        self, folder: Folder, state: State, written: Future[Any], writer: FolderWriter
    ) -> None:
        """Wait for all ranks' files, say that the state is complete, and drop old ones."""
        try:
            written.result()
        except CheckpointException as error:
            self._forget(folder)
            raise _first_of(error) from error
        digests = self.talk.all(writer.files.sha256)
        files = {name: sha for digest in digests for name, sha in sorted(digest.items())}
        self.talk.once(lambda: self._publish(folder, state, files))

    def _publish(self, folder: Folder, state: State, files: dict[str, str]) -> None:
        missing = [name for name in files if not folder.exists(name)]
        if missing:
            raise ValueError(
                f"train: got a state in {folder.url} without {missing[0]}, which another rank has "
                "written; give a folder that every node sees, such as s3://..., with --out"
            )
        document = {**asdict(state), "files": files}
        folder.write(LAST, (json.dumps(document, indent=2) + "\n").encode())
        for step in self._complete()[: -self.keep]:
            self._drop(step)

    def _complete(self) -> list[int]:
        """Return the steps of all states that were finished, oldest first."""
        steps = self._steps()
        return [s for s in steps if (self.folder / _name(s)).exists(LAST)]

    def _steps(self) -> list[int]:
        return [
            int(n[5:]) for n in self.folder.names() if n.startswith("step-") and n[5:].isdigit()
        ]

    def _whole(self, step: int) -> State | None:
        """Return a state if it is what was written, None if it is damaged.

        Each rank reads its share of the files; whether they are whole is agreed.
        """
        folder = self.folder / _name(step)
        state, damage = self.talk.once(lambda: read_state(folder))
        if state is not None:
            self.refuse(state.fingerprint)
            mine = sorted(state.files.items())[self.talk.rank :: self.talk.count]
            damages = self.talk.all([d for d in (damage_of(folder, *file) for file in mine) if d])
            damage = next((d for found in damages for d in found), "")
        if not damage:
            return state
        if self.talk.rank == 0:
            logger.warning("train: got a damaged state %s (%s); an older one is used", step, damage)
        return None

    def _load(self, state: State, parts: Parts) -> None:
        folder = self.folder / _name(state.step)
        reader = FolderReader(folder, state.files)
        loaded = {name: part.state_dict() for name, part in parts.items()}
        try:
            dcp.load(
                loaded,
                storage_reader=reader,
                planner=SafePlanner(),
                **_together(self.talk),
            )
        except CheckpointException as error:
            raise _first_of(error) from error
        for name, part in parts.items():
            part.load_state_dict(loaded[name])

    def _remove(self, unwanted: Callable[[int], bool]) -> None:
        for step in self._steps():
            if unwanted(step):
                self._drop(step)

    def _drop(self, step: int) -> None:
        folder = self.folder / _name(step)
        folder.remove(LAST)  # first, so that what is left of it counts for nothing
        folder.remove_all()

    def _forget(self, folder: Folder) -> None:
        """Make room again; what went wrong first is what is told."""
        if self.talk.rank == 0:
            try:
                folder.remove_all()
            except OSError:
                logger.warning("train: could not remove the unfinished state %s", folder.url)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _first_of(error: CheckpointException) -> Exception:
    """Return what went wrong on some rank: a full disk explains whatever else there is."""
    failures = [failure for failure, _ in error.failures.values()]
    failures.sort(key=lambda failure: not isinstance(failure, DiskFull))
    first = failures[0]
    return first if isinstance(first, Exception) else RuntimeError(str(first))


def _together(talk: Talk) -> dict[str, Any]:
    """Return with whom DCP works; one process alone is what is meant, and no reason to warn."""
    if talk.group is not None:
        return {"process_group": talk.group}
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")
    return {"no_dist": True} if dist.is_initialized() else {}


def _stager(device: torch.device) -> Any:
    """Return how a state comes to the CPU: from a GPU through pinned memory that is kept."""
    if device.type != "cuda":
        return None
    try:
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
    except ImportError:  # torch before 2.9: through ordinary memory
        return None
    options = StagingOptions(
        use_pinned_memory=True,
        use_shared_memory=False,
        use_async_staging=False,
        use_non_blocking_copy=True,
    )
    return DefaultStager(options)
