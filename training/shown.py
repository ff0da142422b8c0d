"""What the encoders of a run are shown: subsets, every pair, or random ones to compare."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.executors import Executor
from pipeline.folder import Folder
from pipeline.index.build import index_of_scores, index_of_shards
from pipeline.index.draw import random_subset
from pipeline.index.pool import Wanted
from pipeline.pairs import Pairs
from pipeline.scores import Scores
from training.config import Train
from training.run import Run


@dataclass(frozen=True, slots=True)
class Shown:
    """Pairs by what they are for; each goes with the settings that it is shown by.

    Attributes:
        subset: What the encoder learns of.
        random: As many random pairs of the pool, where a control run is wanted.
    """

    subset: Pairs
    random: Pairs | None = None


def shown_of(
    cfg: Run, train: Train, curated: Sequence[Scores], *, out: Folder, execute: Executor
) -> Shown:
    """Index what the encoders of a run are shown: what was curated, or the shards as they are.

    Args:
        cfg: The run.
        train: Its pretraining.
        curated: Scores of the pool, decided on; none if nothing was curated.
        out: The run folder.
        execute: Where indexes are built.

    Raises:
        ValueError: A subset holds a uid that no shard does, a column is not there, or a control
            run is asked for where nothing is curated.
    """
    home, subset = out / "train", (out / "subset").path("subset.npy")
    for scores in curated:
        return shown_of_scores(
            train, scores, subset=subset, seed=cfg.seed, home=home, execute=execute
        )
    return shown_of_shards(train, cfg.data.shards, home=home, execute=execute)


def shown_of_scores(
    cfg: Train, scores: Scores, *, subset: str, seed: int, home: Folder, execute: Executor
) -> Shown:
    """Index what a run on a scored pool shows.

    Args:
        cfg: The run; `sampling.subset` or `sampling.mix` go before `subset`.
        scores: Of the pool, decided on.
        subset: URL of the curated `subset.npy`.
        seed: Of random pairs.
        home: Where indexes lie.
        execute: Where they are built.

    Raises:
        ValueError: A subset holds a uid that no shard does, or a column is not there.
    """
    urls = _subsets(cfg) or [subset]
    pairs = index_of_scores(scores, urls, wanted=_wanted(cfg), home=home, execute=execute)
    if not cfg.control:
        return Shown(pairs)
    url = random_subset(scores, len(pairs), seed=seed, folder=home, home=home, execute=execute)
    wanted = _wanted(control_of(cfg))
    return Shown(pairs, index_of_scores(scores, [url], wanted=wanted, home=home, execute=execute))


def shown_of_shards(
    cfg: Train, shards: tuple[str, ...], *, home: Folder, execute: Executor
) -> Shown:
    """Index what a run on shards shows that nobody curates: all of it, or the named subsets.

    Raises:
        ValueError: A subset holds a uid that no shard does, or a control run is asked for.
    """
    if cfg.control:
        raise ValueError(
            "train.control: got true, but nothing is curated in this config that random pairs "
            "could be compared with; set it to false, or add [[extract]] and [[rules]]"
        )
    wanted = _wanted(cfg)
    return Shown(index_of_shards(shards, _subsets(cfg), wanted=wanted, home=home, execute=execute))


def control_of(cfg: Train) -> Train:
    """Return the settings of the control run: the same, but for what is special to the subset."""
    return replace(cfg, sampling=replace(cfg.sampling, subset="", mix=(), weight=""))


def _subsets(cfg: Train) -> list[str]:
    sampling = cfg.sampling
    return [source.subset for source in sampling.mix] or [s for s in (sampling.subset,) if s]


def _wanted(cfg: Train) -> Wanted:
    weights = dict.fromkeys(name for name in (cfg.loss.weight, cfg.sampling.weight) if name)
    return Wanted(captions=cfg.sampling.captions, weights=tuple(weights))
