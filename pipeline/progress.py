"""A progress bar on standard error; silent where that is not a terminal."""

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


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, fed by counts."""

    progress: Progress
    task: Any

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
        self.progress.update(self.task, completed=seen.done, total=seen.total, note=note)

    def step(self, record: Mapping[str, Any]) -> None:
        """Show a training step; of a record only `step` has to be there."""
        shown = [text.format(record[name]) for name, text in TOLD.items() if name in record]
        note = ", ".join(shown)
        self.progress.update(
            self.task, completed=record["step"], total=record.get("steps"), note=note
        )


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
        yield Bar(progress, progress.add_task(title, total=None, note=""))
