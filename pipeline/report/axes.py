"""Axes: values to pixels, and ticks at round numbers."""

import math
from dataclasses import dataclass

MOST_TICKS = 5
FEW_DECADES = 3  # from here on a logarithmic axis has ticks at powers of ten alone


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear or logarithmic map from [low, high] onto pixels.

    Attributes:
        low: Value at `start`; above 0 if `log`.
        high: Value at `end`, above `low`.
        start: Pixel.
        end: Pixel; below `start` on a y axis.
        log: Equal ratios, not equal differences, are equally long.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of a value; values beyond the ends stay at the ends."""
        inside = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round values inside the axis, ascending."""
        return _decades(self.low, self.high) if self.log else _multiples(self.low, self.high)


def _multiples(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most `MOST_TICKS` + 1 of them."""
    power = 10.0 ** math.floor(math.log10((high - low) / MOST_TICKS))
    step = next(f * power for f in (1, 2, 5, 10) if (high - low) / (f * power) <= MOST_TICKS)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [
        float(f"{i * step:.15g}") for i in range(first, last + 1)
    ]  # 0.3, not 0.30000000000000004


def _decades(low: float, high: float) -> list[float]:
    """Powers of ten; three times them too where the axis spans few."""
    factors = (1,) if math.log10(high / low) >= FEW_DECADES else (1, 3)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [float(f"{factor}e{exponent}") for exponent in exponents for factor in factors]
    return [value for value in values if low <= value <= high]
