"""Training: loss curves over samples seen, and what each run cost."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.report.charts import Labels, lines
from pipeline.report.text import plain

FIRST = ("subset", "random", "student")  # the order a reader compares in; other names follow
Lines = Sequence[dict[str, Any]]


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
    """

    name: str
    steps: int
    samples_seen: int
    loss: float
    samples_per_s: float
    data_wait: float


@dataclass(frozen=True, slots=True)
class Curves:
    """Loss curves over samples seen, on common axes, and the runs they belong to."""

    chart: Markup
    runs: tuple[TrainingRun, ...]


def curves_of(journals: Mapping[str, Lines], *, title: str) -> Curves | None:
    """Draw the losses of some runs; None if nothing finite was logged."""
    names = [n for n in in_order(journals) if any(np.isfinite(e["loss"]) for e in journals[n])]
    if not names:
        return None
    points = {
        plain(name): np.array([(e["samples_seen"], e["loss"]) for e in journals[name]], np.float64)
        for name in names
    }
    chart = lines(points, labels=Labels(title=title, x="samples seen", y="loss"))
    return Curves(chart, tuple(_run(name, journals[name]) for name in names))


def in_order(names: Iterable[str]) -> list[str]:
    """Put names of runs into the order in which they are compared."""
    return sorted(names, key=lambda n: (FIRST.index(n) if n in FIRST else len(FIRST), n))


def _run(name: str, journal: Lines) -> TrainingRun:
    last = journal[-1]
    return TrainingRun(
        name=plain(name),
        steps=last["step"],
        samples_seen=last["samples_seen"],
        loss=last["loss"],
        samples_per_s=_median(journal, "samples_per_s"),
        data_wait=_median(journal, "data_wait"),
    )


def _median(journal: Lines, key: str) -> float:
    values = [entry[key] for entry in journal if key in entry]
    return statistics.median(values) if values else float("nan")
