"""Cells: read a shard, decode each picture once, run every extractor, write one table.

`cell` tells the story, `decoding` and `rows` are its two halves, `sidecar` writes, and `worker`
asks for leases. Nothing here knows Ray (see `executors`).
"""

from pipeline.cells.cell import Cell
from pipeline.cells.decoding import PICTURE_SIDE, decode_pair
from pipeline.cells.plan import CellPlan
from pipeline.cells.rows import score_rows
from pipeline.cells.worker import Work

__all__ = ["PICTURE_SIDE", "Cell", "CellPlan", "Work", "decode_pair", "score_rows"]
