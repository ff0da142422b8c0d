"""`build_pool`: from a source's name to shards, whole or not at all."""

import logging
import shutil
from collections import Counter
from pathlib import Path

from pipeline.folder import Folder
from pipeline.pools.entry import Entry, untouched
from pipeline.pools.item import Collection, Picture, Source
from pipeline.pools.looks import Look, look_at
from pipeline.pools.manifest import NAME, TRUTH_NAME, PoolManifest, Settings, reusable
from pipeline.pools.plant import add_trouble, originals_for
from pipeline.pools.sources import open_source
from pipeline.pools.split import Seen, rank_of, split
from pipeline.pools.tuxpaint import ENGLISH
from pipeline.pools.write import write_split, write_truth
from pipeline.staging import UNFINISHED, is_file, new_folder

logger = logging.getLogger(__name__)

SPARE = 1.3  # of a stream this many times the pairs are read: some turn out to be near-copies


def build_pool(
    source: str,
    *,
    out: Folder,
    limit: int | None = None,
    heldout_share: float = 0.2,
    shard_size: int = 500,
    plant: int | None = None,
    seed: int = 0,
    locales: tuple[str, ...] = (ENGLISH,),
) -> PoolManifest:
    """Build a pool, or return the one in `out` if it is what would be built.

    `out` gets `pool/00000.tar ...`, `heldout/00000.tar ...`, `pool.json` and, when planting,
    `truth.parquet`. The same settings and package versions give the same bytes.

    Args:
        source: `openclipart`, `tuxpaint`, `hf:<dataset>`, or a folder or glob of shards.
        out: A folder that is new, empty, or holds an earlier pool, which is replaced.
        limit: Pairs in the pool, planted copies among them; None for all there are.
        heldout_share: Share of pictures that may be held out.
        shard_size: Pairs per shard.
        plant: Seed of planted trouble; None plants nothing.
        seed: Salt of the split.
        locales: Languages of the captions, where the source has several.

    Raises:
        ValueError: The source cannot be had, gives no pair, or `out` cannot be written.
    """
    settings = Settings(
        source=source,
        locales=locales,
        limit=limit,
        heldout_share=heldout_share,
        shard_size=shard_size,
        plant=plant,
        seed=seed,
    )
    opened = open_source(source, locales=locales)
    ready = reusable(out, settings, opened.identify())
    if ready is None:
        return _build(opened, settings, out)
    logger.info("pool: %s is already what was asked for", out.url)
    return ready


def _build(source: Source, settings: Settings, out: Folder) -> PoolManifest:
    """Build in a folder of its own and publish it: whoever looks sees a whole pool or none."""
    _refuse_foreign(out)
    with new_folder(out, last=NAME) as folder:
        spool = folder / ".spool"
        spool.mkdir()
        collection = source.collect(wanted=_wanted(settings), spool=spool)
        manifest = _write(collection, settings, folder, root=out)
        shutil.rmtree(spool)
    return manifest


def _wanted(settings: Settings) -> int | None:
    if settings.limit is None:
        return None
    return round(SPARE * settings.limit / (1 - settings.heldout_share))


def _write(
    collection: Collection, settings: Settings, folder: Path, *, root: Folder
) -> PoolManifest:
    limit = settings.limit
    if limit is not None and settings.plant is not None:
        limit = originals_for(limit)
    sides = split(
        _see(collection), heldout_share=settings.heldout_share, seed=settings.seed, limit=limit
    )
    if not sides.pool:
        raise ValueError(
            f"pool: got {len(collection.items)} items from {settings.source} and none of them in "
            "the pool, expected at least one; raise the limit or take another source"
        )
    heldout = [untouched(one) for one in sides.heldout]
    pool = [untouched(one) for one in sides.pool]
    if settings.plant is not None:
        spoiled = add_trouble(sides.pool, seed=settings.plant)
        pool = sorted(spoiled, key=lambda entry: rank_of(entry.uid, settings.seed))
        write_truth(pool, folder / TRUTH_NAME)
    size = settings.shard_size
    manifest = PoolManifest(
        root=root,
        settings=settings,
        versions=dict(collection.versions),
        pairs={"pool": len(pool), "heldout": len(heldout)},
        left_out={**collection.skipped, **sides.left_out},
        planted=_kinds(pool) if settings.plant is not None else {},
        shards=write_split(pool, folder / "pool", shard_size=size)
        | write_split(heldout, folder / "heldout", shard_size=size),
    )
    manifest.write(folder)
    return manifest


def _see(collection: Collection) -> list[Seen]:
    """Look at every picture once, also where several items share it."""
    pictures = list(dict.fromkeys(item.picture for item in collection.items))
    looks: dict[Picture, Look] = dict(zip(pictures, look_at(pictures), strict=True))
    return [Seen(item, looks[item.picture]) for item in collection.items]


def _kinds(pool: list[Entry]) -> dict[str, int]:
    return dict(sorted(Counter(entry.kind.value for entry in pool).items()))


def _refuse_foreign(out: Folder) -> None:
    """Refuse to replace what is neither a pool nor what an interrupted upload of one left."""
    is_ours = out.exists(NAME) or out.exists(UNFINISHED)
    if is_file(out.url) or (not is_ours and (out.names() or out.files())):
        raise ValueError(
            f"--out: got {out.url}, which holds other files, expected a new or empty folder or an "
            "earlier pool; choose another one"
        )
