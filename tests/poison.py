"""An extractor that does to its process what hostile input does; workers import it from here."""

import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from filters.extract.base import Batch, Column, Extractor, Score, Values

KILLS, HANGS = "kills its reader", "never ends"

Loads = Literal["well", "raises", "kills"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Poison(Extractor):
    """Counts letters, but for captions that hold a marker.

    Attributes:
        loads: What happens when the model is loaded.
        raises: A file: while it is there, every batch raises; `""` for none.
        pause: A file: while it is there, no batch is scored; `""` for none.
        vital: Whether the run ends, and a pair is out, where it fails.
        weights: Model files to read; the first one's size is added to every count.
    """

    loads: Loads = "well"
    raises: str = field(default="", metadata={"identity": False})
    pause: str = ""
    weights: tuple[str, ...] = ()
    vital: bool = False
    kind: Literal["poison"] = "poison"
    columns = (Column("letters", "int32", "letter", "[0, inf)", "letters of the caption"),)
    pixels: ClassVar[bool] = False

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Return what counts, or do what `loads` says."""
        del threads
        if self.loads == "raises":
            raise RuntimeError("model: got no weights, expected them")
        if self.loads == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        plus = sum(len(weights[name].read_bytes()) for name in self.weights)

        def score(batch: Batch) -> dict[str, Values]:
            if self.raises and Path(self.raises).exists():
                raise RuntimeError("told to")
            while self.pause and Path(self.pause).exists():
                threading.Event().wait(0.05)
            for caption in batch.captions:
                if KILLS in caption:
                    os.kill(os.getpid(), signal.SIGKILL)
                if HANGS in caption:
                    threading.Event().wait()
            letters = [sum(map(str.isalpha, caption)) + plus for caption in batch.captions]
            return {"letters": np.array(letters, np.int32)}

        return score
