"""The time axis of a timeline: pauses are cut, so that a run resumed days later stays readable.

N records, J stretches of work, E edges.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PAUSE = 0.05  # of all the time at work: a stretch without any that is longer is cut
CUT_PX = 8.0  # a cut on paper
CUTS = 0.2  # of the axis, for all cuts together

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WorkAxis:
    """Wall time to pixels and to time at work; both stand still in a pause, but for the cut's mark.

    Attributes:
        wall_2J: Seconds since 1970, begin and end of each stretch, ascending.
        work_2J: Seconds of work until there, from 0.
        px_2J: Pixels.
    """

    wall_2J: Floats
    work_2J: Floats
    px_2J: Floats

    @classmethod
    def of(cls, start_N: Floats, end_N: Floats, *, low: float, high: float) -> "WorkAxis":
        """Lay out when something was going on, from pixel `low` to `high`; N is at least 1."""
        order = np.argsort(start_N, kind="stable")
        starts, ends = start_N[order], np.maximum.accumulate(end_N[order])
        gaps = starts[1:] - ends[:-1]
        whole = ends[-1] - starts[0] - np.maximum(gaps, 0).sum()
        cut = np.flatnonzero(gaps > PAUSE * whole)
        begin_J = starts[np.concatenate([[0], cut + 1])]
        end_J = ends[np.concatenate([cut, [-1]])]
        wall = np.stack([begin_J, end_J], axis=1).ravel()
        work = np.repeat(np.concatenate([[0.0], np.cumsum(end_J - begin_J)]), 2)[1:-1]
        cut_px = min(CUT_PX, CUTS * (high - low) / max(len(cut), 1))
        scale = (high - low - cut_px * len(cut)) / max(work[-1], 1e-9)
        px = low + scale * work + cut_px * np.repeat(np.arange(len(begin_J)), 2)
        return cls(wall, work, px)

    @property
    def total_s(self) -> float:
        """Time at work, pauses left out."""
        return float(self.work_2J[-1])

    @property
    def pauses(self) -> list[tuple[float, float]]:
        """Pixel and seconds of each pause."""
        middles = (self.px_2J[1:-1:2] + self.px_2J[2::2]) / 2
        lengths = self.wall_2J[2::2] - self.wall_2J[1:-1:2]
        return list(zip(middles.tolist(), lengths.tolist(), strict=True))

    def px(self, wall: Floats) -> Floats:
        """Return the pixels of wall times."""
        return np.interp(wall, self.wall_2J, self.px_2J)

    def work(self, wall: Floats) -> Floats:
        """Return how much work there had been until wall times, in seconds."""
        return np.interp(wall, self.wall_2J, self.work_2J)

    def wall(self, px: Floats) -> Floats:
        """Return the wall times of pixels."""
        return np.interp(px, self.px_2J, self.wall_2J)

    def px_of_work(self, work_s: float) -> float:
        """Return where so much work was done."""
        return float(np.interp(work_s, self.work_2J, self.px_2J))


def rates(start_N: Floats, end_N: Floats, rows_N: Floats, axis: WorkAxis, edge_E: Floats) -> Floats:
    """Return rows per second of work between the pixels `edge_E`, float64 [E - 1].

    The rows of a record are spread evenly over its time.
    """
    slope_N = rows_N / np.maximum(end_N - start_N, 1e-6)
    at = np.concatenate([start_N, np.maximum(end_N, start_N + 1e-6)])
    order = np.argsort(at, kind="stable")
    at, slope = at[order], np.cumsum(np.concatenate([slope_N, -slope_N])[order])
    rows = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(at))])
    wall_E = axis.wall(edge_E)
    done, work = np.diff(np.interp(wall_E, at, rows)), np.diff(axis.work(wall_E))
    return np.where(work > 0, np.maximum(done, 0) / np.maximum(work, 1e-9), 0.0)
