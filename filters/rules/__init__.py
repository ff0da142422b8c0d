"""Columns in, votes out: 1 keep, 0 drop, -1 abstain.

A rule says what one signal alone would do. It may be sure in one direction only, and where it is
not sure it abstains: weighing the votes is the ensemble's job.
"""

from filters.rules.band import Band
from filters.rules.base import ABSTAIN, DROP, KEEP, Read
from filters.rules.condition import Condition

AnyRule = Band | Condition

__all__ = ["ABSTAIN", "DROP", "KEEP", "AnyRule", "Band", "Condition", "Read"]
