"""The run's log: one JSON line every few steps, the same whether or not the run was resumed.

On a local disk a line is appended at once. Object stores cannot append: there the log is published
with every state, since what came after the newest state is done, and logged, again.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TypeVar

from pipeline.folder import Folder
from pipeline.staging import local_path
from training.config import Distill, Train

Item = TypeVar("Item")
NAME = "metrics.jsonl"


class Journal:
    """Keeps `metrics.jsonl`, publishes it on leaving, and hands every record to a listener.

    Args:
        cfg: The run; `log.every` steps lie between two lines, the last step always has one.
        out: Folder of the run; lines of steps that a resumed run will do again are cut off.
        done: Steps already done.
        on_step: Gets the record of every step, written or not.
    """

    def __init__(
        self,
        cfg: Train | Distill,
        out: Folder,
        *,
        done: int,
        on_step: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self.out = out
        self._local = local_path(out.path(NAME))
        self.batch_size = cfg.batch_size
        self.every = cfg.log.every
        self.on_step = on_step
        self._waited_s = 0.0
        self._since_s = time.perf_counter()
        self._since_step = done
        self._lines = [line for line in _complete_lines(out) if json.loads(line)["step"] <= done]
        if self._local is not None:
            out.write(NAME, "".join(self._lines).encode())

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Publish what a run that failed has logged, too."""
        self.publish()

    def publish(self) -> None:
        """Make sure that every line so far lies in the folder."""
        if self._local is None:
            self.out.write(NAME, "".join(self._lines).encode())

    def waiting(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass items on, counting the time spent waiting for them."""
        iterator = iter(items)
        while True:
            begin = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited_s += time.perf_counter() - begin
            yield item

    def record(self, *, step: int, steps: int, **values: float) -> None:
        """Take down one step; `step` counts from 1, rates are since the last line."""
        seconds = max(time.perf_counter() - self._since_s, 1e-9)
        entry = {
            "step": step,
            "steps": steps,
            "samples_seen": step * self.batch_size,
            **values,
            "samples_per_s": round((step - self._since_step) * self.batch_size / seconds, 1),
            "data_wait": round(self._waited_s / seconds, 4),
        }
        if step % self.every == 0 or step == steps:
            self._append(json.dumps(entry) + "\n")
            self._waited_s, self._since_s, self._since_step = 0.0, time.perf_counter(), step
        if self.on_step is not None:
            self.on_step(entry)

    def _append(self, line: str) -> None:
        if self._local is None:
            self._lines.append(line)
        else:
            with self._local.open("a", encoding="utf-8") as file:
                file.write(line)


def _complete_lines(out: Folder) -> list[str]:
    """Return the lines of a log; a kill may have cut the last one short."""
    if not out.exists(NAME):
        return []
    lines = out.read(NAME).decode("utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]
