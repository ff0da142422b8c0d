"""Cells: read a shard, decode each picture once, run every extractor, write one table.

`cell` tells the story, `decoding` and `rows` are its two halves, `sidecar` writes, and `worker`
asks for leases. Nothing here knows Ray (see `executors`).
"""

from pipeline.cells.cell import Cell
from pipeline.cells.decoding import BATCH_PIXELS, PICTURE_SIDE
from pipeline.cells.plan import CellPlan
from pipeline.cells.rows import score_rows
from pipeline.cells.worker import Work

__all__ = ["BATCH_PIXELS", "PICTURE_SIDE", "Cell", "CellPlan", "Work", "score_rows"]
