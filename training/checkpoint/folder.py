"""A training folder: the resumable state, the finished checkpoint, and whose they are.

    OUT/state/step-00000200/   weights that train, optimiser, step (see `states`); newest few kept
    OUT/checkpoint/            open_clip_config.json, open_clip_model.safetensors, train.json
    OUT/metrics.jsonl          written by `journal`

The folder may lie anywhere; every file appears whole, and a checkpoint is there once its train.json
is. A folder belongs to one fingerprint; a run with another is refused instead of mixed in.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from filters.open_clip_models import WEIGHTS_NAME, save_checkpoint_dir
from pipeline.fingerprint import file_digest, fingerprint
from pipeline.folder import Folder
from pipeline.pairs import Pairs
from pipeline.staging import drop_drafts, new_folder
from training.checkpoint.alone import alone
from training.checkpoint.states import PATIENCE, States
from training.config import Distill, Train
from training.models.build import ModelConfig, model_identity
from training.parallel.export import full_state_dict
from training.parallel.ranks import Ranks
from training.runs.talk import Talk

VERSION = 2  # raise when the same settings come to mean other weights
# Settings that do not change what is computed.
HOW = ("control", "loader", "parallel", "workers", "save", "log", "device")
SUMMARY = "train.json"  # the last file of a checkpoint


def identify(
    cfg: Train | Distill, pairs: Pairs, *, seed: int, teacher: Folder | None = None
) -> str:
    """Name a run by what makes its weights: settings, model document, pairs in order, and seed."""
    settings = {k: v for k, v in dataclasses.asdict(cfg).items() if k not in HOW}
    settings["model"] = model_identity(cfg.model)
    if isinstance(cfg, Train):
        settings["towers"].pop("checkpointing")  # trades memory for time
        settings["sampling"].pop("subset")  # the pairs say it, wherever the file is
        settings["sampling"]["mix"] = [source.share for source in cfg.sampling.mix]
    return fingerprint(
        type(cfg).__name__,
        version=VERSION,
        settings=settings,
        seed=seed,
        pairs=pairs.digest,
        teacher=None if teacher is None else _weights_identity(teacher),
    )


class TrainingFolder:
    """Where a run keeps its state and leaves its checkpoint.

    Raises:
        ValueError: The folder holds a finished run with another fingerprint.
    """

    def __init__(self, out: Folder, *, identity: str, keep: int) -> None:
        self.out = out
        self.identity = identity
        self.keep = keep
        self.checkpoint = out / "checkpoint"
        self.finished = self.checkpoint.exists(SUMMARY)
        if self.finished:
            self._refuse_other(json.loads(self.checkpoint.read(SUMMARY))["fingerprint"])

    @contextmanager
    def states(self, ranks: Ranks) -> Iterator[States]:
        """Give the resumable states to a `with` block, which has the folder to itself.

        Raises:
            RuntimeError: Another process trains in the folder.
        """
        with (
            States(
                self.out / "state",
                identity=self.identity,
                keep=self.keep,
                ranks=ranks,
                refuse=self._refuse_other,
            ) as states,
            alone(self.out, states.talk),
        ):
            yield states

    def finish(
        self, model: nn.Module, config: ModelConfig, summary: dict[str, Any], *, ranks: Ranks
    ) -> Folder:
        """Write the open_clip checkpoint, whole or not at all, and return its folder.

        All ranks call it, and get it when it is there; the first one writes.

        Raises:
            RuntimeError: A weight is not finite.
        """
        weights = full_state_dict(model)
        talk = Talk(ranks, patience=PATIENCE)
        talk.once(lambda: self._write(model, config, summary, weights))
        talk.close()
        return self.checkpoint

    def _write(
        self,
        model: nn.Module,
        config: ModelConfig,
        summary: dict[str, Any],
        weights: Mapping[str, Tensor],
    ) -> None:
        _require_finite(weights)
        document = {"fingerprint": self.identity, **summary}
        text = json.dumps(document, indent=2, default=str) + "\n"
        drop_drafts(self.checkpoint)
        with new_folder(self.checkpoint, last=SUMMARY) as path:
            save_checkpoint_dir(path, model, config, weights=weights)
            (path / SUMMARY).write_text(text, encoding="utf-8")

    def _refuse_other(self, found: str) -> None:
        if found != self.identity:
            raise ValueError(
                f"train: got settings or pairs with fingerprint {self.identity}, but "
                f"{self.out.url} holds a run with {found}; give another folder, or remove that one"
            )


def _require_finite(weights: Mapping[str, Tensor]) -> None:
    """Refuse to export what the last steps have ruined, too few to run out of patience."""
    wrong = [name for name, weight in weights.items() if not weight.isfinite().all()]
    if wrong:
        raise RuntimeError(
            f"train: got {len(wrong)} weights that are not finite ({wrong[0]}), expected numbers; "
            "lower optim.lr, or set precision to float32, and start again from another folder"
        )


def _weights_identity(checkpoint: Folder) -> str:
    """A teacher counts by its weights, whoever trained it."""
    if not checkpoint.exists(WEIGHTS_NAME):
        raise ValueError(
            f"teacher: got {checkpoint.url}, expected a checkpoint folder with {WEIGHTS_NAME}; "
            "give the `checkpoint` folder that training wrote"
        )
    return file_digest(checkpoint.path(WEIGHTS_NAME))
