"""Whether a step is taken: not if its loss or gradient is not finite, or far beyond the usual."""

import math
from collections import deque
from statistics import median
from typing import Any

from training.config import Guard

RECENT = 100  # gradient norms that the median is of
ENOUGH = 20  # of them, before one counts as a spike


class Watch:
    """Judges each step by numbers that are the same on every rank, and counts what it left out.

    A step that is left out changes nothing but the count: no weight, no optimiser state, no average
    and no running statistics. Its norm does not enter the median either, so a run whose gradients
    have grown for good is stopped by `patience`, and does not slide along.

    Args:
        cfg: What is a spike, and how many in a row are too many.
    """

    def __init__(self, cfg: Guard) -> None:
        self.cfg = cfg
        self.skipped = 0
        self.in_a_row = 0
        self._norms: deque[float] = deque(maxlen=RECENT)

    def allows(self, loss: float, norm: float) -> bool:
        """Tell whether to take a step of this loss and gradient norm (see `measure`).

        Raises:
            RuntimeError: It is the last of `patience` in a row that cannot be taken.
        """
        limit = self._limit()
        if math.isfinite(loss) and norm <= limit:
            self.in_a_row = 0
            self._norms.append(norm)
            return True
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= self.cfg.patience:
            raise RuntimeError(self._complaint(loss, norm, limit))
        return False

    def conclude(self, steps: int) -> None:
        """Refuse to call a run done that took less than half of its steps.

        Raises:
            RuntimeError: Most were left out; a short run ends before its patience does.
        """
        if 2 * self.skipped > steps:
            raise RuntimeError(
                f"train: got {self.skipped} of {steps} steps left out, expected most of them to be "
                "taken; lower optim.lr, raise guard.spike, or set precision to float32, and start "
                "again from another folder"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return what the next judgement depends on."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row, "norms": list(self._norms)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]
        self._norms = deque(state["norms"], maxlen=RECENT)

    def _limit(self) -> float:
        """Return the largest norm allowed now: finite at least."""
        if self.cfg.spike and len(self._norms) >= ENOUGH:
            return self.cfg.spike * median(self._norms)
        return math.nextafter(math.inf, 0)

    def _complaint(self, loss: float, norm: float, limit: float) -> str:
        spike = math.isfinite(loss) and math.isfinite(norm)
        expected = (
            f"a gradient norm of at most {limit:.4g} ({self.cfg.spike:g} times the running median)"
            if spike
            else "a finite number"
        )
        remedy = (
            "raise guard.spike or lower optim.lr"
            if spike
            else "lower optim.lr, or set precision to float32"
        )
        return (
            f"train: got loss {loss:.6g} and gradient norm {norm:.4g}, expected {expected}; "
            f"{self.in_a_row} steps in a row were left out (guard.patience); {remedy}, and start "
            "again from another folder"
        )
