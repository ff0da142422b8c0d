"""One TOML file is one whole run: its tree, and what is checked before anything starts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.config import STRICT, Curation, load_config
from pipeline.folder import Folder
from pipeline.shards import list_shards
from pipeline.staging import fetched, is_file, split_url
from training.alignment.fit import Alignment
from training.config import Distill, Evaluate, Train

SHIPPED = Path(__file__).parents[1]  # configs/ lies here, in a clone and in a wheel


@dataclass(frozen=True, kw_only=True, slots=True)
class Run(Curation):
    """One TOML file: a whole run, in the order of the flow.

    Attributes:
        alignment: How the alignment score is fitted.
        train: The pretraining run; without it a run ends with the subset.
        evaluate: The tasks that judge it.
        distill: The student; without it there is none.
    """

    alignment: Alignment = field(default_factory=Alignment)
    train: Train | None = None
    evaluate: Evaluate = field(default_factory=Evaluate)
    distill: Distill | None = None
    __pydantic_config__ = STRICT


def check_request(cfg: Run, folder: Folder, *, until: str) -> None:
    """Refuse what would only be found out after hours of scoring, or of training.

    Args:
        cfg: The run.
        folder: Its folder.
        until: Its last stretch.

    Raises:
        ValueError: The run folder cannot be written, a file that the config names is not there, or
            a model does not exist.
    """
    folder.check_writable()
    list_shards([*cfg.data.shards, *cfg.data.heldout])
    files = [cfg.data.truth, *(p.model for p in (cfg.train, cfg.distill) if p is not None)]
    for file in files:
        if file.endswith((".parquet", ".json")) and not is_file(file):
            raise ValueError(f"config: got {file}, which is no file; correct the path")
    for name, part in (("train", cfg.train), ("distill", cfg.distill)):
        if part is not None and part.log.evaluate_every and not cfg.data.heldout:
            raise ValueError(
                f"{name}.log.evaluate_every: got {part.log.evaluate_every} without held-out pairs, "
                "expected some to evaluate on; name them in data.heldout, or set it to 0"
            )
    if until != "curate" and cfg.train is not None:
        from training.models.request import check_models

        check_models(cfg.train, None if until == "train" else cfg.distill)


def load_run(place: str, *, overrides: Sequence[str] = ()) -> Run:
    """Read a run's TOML by path or any fsspec URL, and find the model JSONs that it names.

    Raises:
        ValueError: There is no such file, or it is not what a run needs.
    """
    folder, name = split_url(place)
    try:
        with fetched(folder, name) as path:
            return _shipped_models(load_config(path / name, Run, overrides=overrides))
    except FileNotFoundError as error:
        raise ValueError(f"config: got {place}, expected a TOML file that can be read") from error


def _shipped_models(cfg: Run) -> Run:
    """Find model JSONs that are not below the current folder beside the code, with configs/."""

    def find(model: str) -> str:
        here = not model.endswith(".json") or is_file(model)
        return model if here or not (SHIPPED / model).is_file() else str(SHIPPED / model)

    train = cfg.train and replace(cfg.train, model=find(cfg.train.model))
    distill = cfg.distill and replace(cfg.distill, model=find(cfg.distill.model))
    return replace(cfg, train=train, distill=distill)
