"""The shards that `peers.py` measures on: openclipart as JPEG, whole or one broken."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from pipeline.decode import decode_rgb
from pipeline.pools.build import build_pool
from pipeline.samples import read_shard
from pipeline.shards import list_shards, write_shard

LONGEST_SIDE = 1024  # of a picture in the shards, as downloaders of web pools leave them
BROKEN_SHARD = 1


def build_shards(out: Path, pairs: int, shards: int, *, broken: bool) -> Path:
    """Write a pool as JPEG shards, if wanted with one picture cut in half; reuse what is there."""
    if sum(1 for _ in keys_of(out)) == pairs:
        return out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    source = out.with_name(f"{out.name}-source")
    build_pool("openclipart", out=source, limit=pairs, shard_size=-(-pairs // shards))
    for number, url in enumerate(list_shards([str(source / "pool")])):
        samples = list(read_shard(url))
        pictures = [jpeg(sample.image) for sample in samples]
        if broken and number == BROKEN_SHARD:
            middle = len(pictures) // 2
            pictures[middle] = pictures[middle][: len(pictures[middle]) // 2]
        members = [
            member
            for sample, picture in zip(samples, pictures, strict=True)
            for member in (
                (f"{sample.key}.jpg", picture),
                (f"{sample.key}.txt", (sample.caption or "").encode()),
            )
        ]
        write_shard(out / Path(url).name, members)
    return out


def jpeg(image: bytes | None) -> bytes:
    """Encode a picture as an RGB JPEG of bounded size."""
    assert image is not None, "the pool has nothing planted"
    picture = Image.fromarray(decode_rgb(image, min_side=LONGEST_SIDE, max_pixels=2**31))
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=90)
    return sink.getvalue()


def keys_of(pool: Path) -> Iterator[tuple[str, str]]:
    """Yield (tar's stem, key) in the order of a pool; nothing without one."""
    for path in sorted(pool.glob("*.tar")):
        yield from ((path.stem, sample.key) for sample in read_shard(str(path)))
