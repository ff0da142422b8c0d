"""One's own shards as a source: passed through, and split into pool and held-out."""

import posixpath
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import fsspec

from pipeline.pools.item import Collection, Item, Picture
from pipeline.samples import read_shard
from pipeline.schema import Reason
from pipeline.shards import list_shards


@dataclass(frozen=True, slots=True)
class OwnShards:
    """WebDataset tars by folder, glob or fsspec URL."""

    pattern: str

    def identify(self) -> dict[str, str]:
        """Return what tells one state of each shard from another: size and time, or an etag."""
        urls = list_shards([self.pattern])
        fs, _ = fsspec.core.url_to_fs(self.pattern)
        return {url: str(fs.ukey(fs._strip_protocol(url))) for url in urls}

    def collect(self, *, wanted: int | None, spool: Path) -> Collection:  # noqa: ARG002
        """Return an item for every usable sample; the others are counted by their reason.

        Of samples with one uid the first counts. Pictures stay where they are; their json goes
        along, with `source` and `name` added where it has none.
        """
        skipped: Counter[str] = Counter()
        items: dict[bytes, Item] = {}
        for url in list_shards([self.pattern]):
            for sample in read_shard(url):
                if sample.status is not Reason.OK:
                    skipped[sample.status] += 1
                elif sample.uid in items:
                    skipped[Reason.REPEATED_UID] += 1
                else:
                    origin = {"source": posixpath.basename(url), "name": sample.key}
                    items[sample.uid] = Item(
                        uid=sample.uid,
                        picture=Picture(url, sample.offset, sample.size),
                        picture_uid=sample.uid,
                        caption=sample.caption or "",
                        meta=origin | sample.meta,
                    )
        return Collection(tuple(items.values()), self.identify(), dict(skipped))
