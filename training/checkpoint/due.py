"""When a state is written."""

import time

from training.config import Save
from training.parallel.ranks import Ranks


class Due:
    """Tells, on all ranks alike, whether the state after a step is to be saved.

    Args:
        cfg: Every so many steps, and after so many minutes.
        ranks: The first one's clock counts.
    """

    def __init__(self, cfg: Save, ranks: Ranks) -> None:
        self.cfg, self.ranks = cfg, ranks
        self._since_s = time.monotonic()

    def __call__(self, done: int, *, asked: bool = False) -> bool:
        """Tell whether to save after `done` steps; `asked` is somebody else's wish."""
        due = asked or done % self.cfg.every == 0 or self._late()
        if due:
            self._since_s = time.monotonic()
        return due

    def _late(self) -> bool:
        if self.cfg.minutes == 0:
            return False
        late = time.monotonic() - self._since_s >= self.cfg.minutes * 60
        return self.ranks.any(late and self.ranks.is_first)
