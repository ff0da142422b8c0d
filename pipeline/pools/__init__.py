"""Embedded pools: real pictures and captions from packages, hub datasets or one's own shards.

A source becomes `Item`s (`item.py`); these are split into pool and held-out (`split.py`), mixed
with labelled trouble on demand (`plant.py`), and written (`write.py`): `build.py` tells it all.
"""

from pipeline.pools.build import build_pool
from pipeline.pools.manifest import PoolManifest

__all__ = ["PoolManifest", "build_pool"]
