"""Cells: read a shard, decode each picture once, run every extractor, write one table.

`cell` tells the story, `decoding`, `loaded` (extractors) and `rows` are its parts, `sidecar`
writes, and `worker` asks for leases. Nothing here knows Ray (see `executors`).
"""

from pipeline.cells.cell import Cell
from pipeline.cells.decoding import BATCH_PIXELS, PICTURE_SIDE
from pipeline.cells.loaded import load_all, values_of
from pipeline.cells.plan import CellPlan, Stopwatch
from pipeline.cells.worker import Work

__all__ = [
    "BATCH_PIXELS", "PICTURE_SIDE", "Cell", "CellPlan", "Stopwatch", "Work", "load_all",
    "values_of",
]  # fmt: skip
