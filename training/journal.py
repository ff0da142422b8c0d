"""The run's log: one JSON line every few steps, the same whether or not the run was resumed."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from training.config import Distill, Train

Item = TypeVar("Item")


class Journal:
    """Appends records to `metrics.jsonl` and hands every record to a listener.

    Args:
        cfg: The run; `save.log_every` steps lie between two lines, the last step always has one.
        out: Folder of the run; lines of steps that a resumed run will do again are cut off.
        done: Steps already done.
        on_step: Gets the record of every step, written or not.
    """

    def __init__(
        self,
        cfg: Train | Distill,
        out: Path,
        *,
        done: int,
        on_step: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self.path = out / "metrics.jsonl"
        self.batch_size = cfg.batch_size
        self.every = cfg.save.log_every
        self.on_step = on_step
        self._waited_s = 0.0
        self._since_s = time.perf_counter()
        self._since_step = done
        out.mkdir(parents=True, exist_ok=True)
        kept = [line for line in _complete_lines(self.path) if json.loads(line)["step"] <= done]
        temporary = out / ".metrics.jsonl"
        temporary.write_text("".join(kept), encoding="utf-8")
        temporary.replace(self.path)

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
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            self._waited_s, self._since_s, self._since_step = 0.0, time.perf_counter(), step
        if self.on_step is not None:
            self.on_step(entry)


def _complete_lines(path: Path) -> list[str]:
    """Return the lines of a log; a kill may have cut the last one short."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]
