"""Where a line of metrics goes: the log file, and whatever else a run is watched with."""

from collections.abc import Mapping
from typing import Protocol

Line = Mapping[str, float]  # `step`, counted from 1, and what was measured there

COUNTERS = ("step", "steps", "samples_seen")  # a line's place in the run, no measurement
# What a run that was stopped and resumed says otherwise than one that was not.
TIMINGS = frozenset(
    (
        "samples_per_s", "samples_per_s_device", "data_wait", "data_wait_max", "step_s_p50",
        "step_s_p90", "mfu", "memory_gb", "eval/seconds",
    )
)  # fmt: skip


class Sink(Protocol):
    """One of the places that lines go to; only the first rank has any."""

    def write(self, line: Line) -> None:
        """Take one line; steps never go back."""
        ...

    def publish(self) -> None:
        """Make sure that what was written so far survives this process."""
        ...

    def close(self, *, failed: bool) -> None:
        """Publish, and let go of what is held."""
        ...


def measured(line: Line) -> dict[str, float]:
    """Return what a line measures, under the names that boards group by: `train/loss`."""
    return {
        name if "/" in name else f"train/{name}": value
        for name, value in line.items()
        if name not in COUNTERS
    }
