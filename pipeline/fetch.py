"""Provisional: the remote reader is being written."""

from typing import BinaryIO

from pipeline.shards import open_binary


def open_shard(url: str, *, spool: str | None = None) -> BinaryIO:
    return open_binary(url)
