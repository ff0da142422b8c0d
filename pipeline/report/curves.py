"""Training: what went down, what went up, and what each run cost, over samples seen."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.report.charts import SMALL, Labels, lines
from pipeline.report.text import plain

FIRST = ("subset", "random", "student")  # the order a reader compares in; other names follow
Lines = Sequence[dict[str, Any]]

# What runs are watched by: key of a line, title, unit, and what the unit is of the value.
RATES = (
    ("samples_per_s", "Throughput", "samples per second", 1.0),
    ("data_wait", "Data wait", "% of the time", 100.0),
    ("mfu", "Utilisation (MFU)", "% of the device's peak", 100.0),
)
JUDGED, MAIN = "eval/", "/main_metric"  # around the name of a task


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRun:
    """The end of a run, and the medians over its log.

    Attributes:
        name: Of its folder.
        steps: Optimiser steps.
        samples_seen: Pairs shown, repeats counted.
        loss: At the last step.
        samples_per_s: Median.
        data_wait: Median share of the time spent waiting for data, in [0, 1].
        mfu: Median share of the device's peak, in [0, 1]; NaN where the peak is not known.
    """

    name: str
    steps: int
    samples_seen: int
    loss: float
    samples_per_s: float
    data_wait: float
    mfu: float

    @property
    def has_mfu(self) -> bool:
        """Whether the device's peak was known."""
        return not math.isnan(self.mfu)


@dataclass(frozen=True, slots=True)
class Curves:
    """Loss curves over samples seen, on common axes, and the runs they belong to."""

    chart: Markup
    runs: tuple[TrainingRun, ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """One thing that runs were watched by, as a small chart of all of them.

    Attributes:
        title: What it is.
        about: Its unit.
        chart: A line a run, in the order of the runs.
    """

    title: str
    about: str
    chart: Markup


def curves_of(journals: Mapping[str, Lines], *, title: str) -> Curves | None:
    """Draw the losses of some runs; None if nothing finite was logged."""
    steps = {name: [e for e in journals[name] if "loss" in e] for name in in_order(journals)}
    steps = {name: run for name, run in steps.items() if any(np.isfinite(e["loss"]) for e in run)}
    if not steps:
        return None
    points = {plain(name): _points(run, "loss") for name, run in steps.items()}
    chart = lines(points, labels=Labels(title=title, x="samples seen", y="loss"))
    return Curves(chart, tuple(_run(name, run) for name, run in steps.items()))


def watched_of(journals: Mapping[str, Lines]) -> tuple[Watched, ...]:
    """Draw evaluations during training, then rates; only what makes a line for one run at least."""
    located = {name: _located(journals[name]) for name in in_order(journals)}
    keys = dict.fromkeys(key for run in located.values() for line in run for key in line)
    drawn = [key for key in keys if any(_is_line(_points(run, key)) for run in located.values())]
    tasks = [key for key in drawn if key.startswith(JUDGED) and key.endswith(MAIN)]
    wanted = [(t, _task(t), "main metric, in %", 100.0) for t in sorted(tasks)]
    wanted += [rate for rate in RATES if rate[0] in drawn]
    return tuple(_watched(located, *what) for what in wanted)


def in_order(names: Iterable[str]) -> list[str]:
    """Put names of runs into the order in which they are compared."""
    return sorted(names, key=lambda n: (FIRST.index(n) if n in FIRST else len(FIRST), n))


def _watched(runs: Mapping[str, Lines], key: str, title: str, unit: str, factor: float) -> Watched:
    points = {
        plain(name): _points(run, key) * np.array([1.0, factor]) for name, run in runs.items()
    }
    labels = Labels(title=f"{title} over samples seen, {unit}", x="samples seen")
    return Watched(title, unit, lines(points, labels=labels, size=SMALL))


def _task(key: str) -> str:
    """Name an evaluation as the section on evaluation does."""
    kind, _, field = key.removeprefix(JUDGED).removesuffix(MAIN).partition(":")
    return f"Zero-shot by {plain(field)}" if field else plain(kind).capitalize()


def _points(run: Lines, key: str) -> NDArray[np.float64]:
    """Return samples seen and a value, float64 [n, 2], where a run has it."""
    found = [(e["samples_seen"], e[key]) for e in run if key in e]
    return np.array(found, np.float64).reshape(-1, 2)


def _is_line(points: NDArray[np.float64]) -> bool:
    return int(np.isfinite(points).all(axis=1).sum()) > 1


def _located(run: Lines) -> Lines:
    """Give lines that know their step alone, as evaluations do, the samples seen by then."""
    batch = next((e["samples_seen"] / e["step"] for e in run if "samples_seen" in e), 1)
    return [{"samples_seen": e["step"] * batch, **e} for e in run]


def _run(name: str, steps: Lines) -> TrainingRun:
    last = steps[-1]
    return TrainingRun(
        name=plain(name),
        steps=last["step"],
        samples_seen=last["samples_seen"],
        loss=last["loss"],
        samples_per_s=_median(steps, "samples_per_s"),
        data_wait=_median(steps, "data_wait"),
        mfu=_median(steps, "mfu"),
    )


def _median(journal: Lines, key: str) -> float:
    values = [entry[key] for entry in journal if key in entry]
    return statistics.median(values) if values else float("nan")
