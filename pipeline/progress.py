"""A progress bar on standard error, or a line now and then where that is no terminal."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.coordinator import Snapshot

TOLD = {  # of a training step, in this order
    "loss": "loss {:.3f}",
    "samples_per_s": "{:.0f} pairs/s",
    "mfu": "MFU {:.1%}",
    "data_wait": "{:.0%} waiting",
}
LINE_S = 60.0  # between two lines where there is no terminal


@dataclass(slots=True)
class Bar:
    """One bar, fed by counts.

    Attributes:
        title: What is done.
        progress: The bar, which shows nothing where there is no terminal.
        task: Its only task.
        told_s: When the last line was written, by the monotonic clock.
    """

    title: str
    progress: Progress
    task: Any
    told_s: float

    def shards(self, seen: Snapshot) -> None:
        """Show how many shards are scored, rows by reason, and what keeps the cells busy."""
        elapsed = max(self.progress.tasks[self.task].elapsed or 0.0, 1e-9)
        busy = {step: s / elapsed / max(seen.cells, 1) for step, s in seen.seconds.items()}
        note = " ".join(
            (
                f"{seen.rows / elapsed:.0f} rows/s,",
                *(f"{reason} {rows}" for reason, rows in sorted(seen.reasons.items())),
                *(f"| {step} {share:.0%}" for step, share in sorted(busy.items())),
            )
        )
        self._show(seen.done, seen.total, note)

    def step(self, record: Mapping[str, Any]) -> None:
        """Show a training step; of a record only `step` has to be there."""
        shown = [text.format(record[name]) for name, text in TOLD.items() if name in record]
        self._show(record["step"], record.get("steps"), ", ".join(shown))

    def _show(self, done: int, total: int | None, note: str) -> None:
        self.progress.update(self.task, completed=done, total=total, note=note)
        now = time.monotonic()
        if self.progress.disable and now - self.told_s >= LINE_S:
            self.told_s = now
            whole = "" if total is None else f" of {total:,}"
            line = ", ".join(part for part in (f"{self.title}: {done:,}{whole}", note) if part)
            self.progress.console.print(line, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def progress_bar(title: str) -> Iterator[Bar]:
    """Show a bar for the length of a `with` block."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield Bar(title, progress, progress.add_task(title, total=None, note=""), time.monotonic())
