"""Embedded pools: real pictures and captions from packages, hub datasets or one's own shards.

`build.build_pool` is the way in. A source becomes `Item`s (`item.py`); these are split into pool
and held-out (`split.py`), mixed with labelled trouble on demand (`plant.py`), written (`write.py`).
"""
