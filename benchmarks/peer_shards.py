"""The shards that `peers.py` measures on: openclipart as JPEG, whole or one broken."""

import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from pipeline.decode import decode_rgb
from pipeline.folder import Folder
from pipeline.pools.build import build_pool
from pipeline.samples import Sample, read_shard
from pipeline.shards import list_shards, write_shard

LONGEST_SIDE = 1024  # of a picture in the shards, as downloaders of web pools leave them
BROKEN_SHARD = 1  # counted from zero


def build_clean(out: Path, pairs: int, shards: int) -> Path:
    """Write the pool as JPEG shards; reuse what is there."""
    if sum(1 for _ in keys_of(out)) == pairs:
        return out
    shutil.rmtree(out, ignore_errors=True)
    source = out.with_name(f"{out.name}-source")
    build_pool("openclipart", out=Folder(str(source)), limit=pairs, shard_size=-(-pairs // shards))
    for url in list_shards([str(source / "pool")]):
        samples = list(read_shard(url))
        write(out / Path(url).name, samples, [jpeg(sample.image) for sample in samples])
    return out


def build_broken(out: Path, clean: Path, pairs: int) -> Path:
    """Write the first pairs of every clean shard, `pairs` in all, one picture cut in half."""
    shutil.rmtree(out, ignore_errors=True)
    shards = list_shards([str(clean)])
    for number, url in enumerate(shards):
        samples = list(read_shard(url))[: pairs // len(shards)]
        pictures = [sample.image or b"" for sample in samples]
        if number == BROKEN_SHARD:
            middle = len(pictures) // 2
            pictures[middle] = pictures[middle][: len(pictures[middle]) // 2]
        write(out / Path(url).name, samples, pictures)
    return out


def write(path: Path, samples: Sequence[Sample], pictures: Sequence[bytes]) -> None:
    """Write one shard of pictures and captions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    both = zip(samples, pictures, strict=True)
    members = (
        [(f"{s.key}.jpg", picture), (f"{s.key}.txt", (s.caption or "").encode())]
        for s, picture in both
    )
    write_shard(path, (member for pair in members for member in pair))


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
