"""A training folder: the resumable state, the finished checkpoint, and whose they are.

    OUT/state/step-00000200.pt   weights that train, optimiser, step; newest few kept
    OUT/checkpoint/              open_clip_config.json, open_clip_model.safetensors, train.json
    OUT/metrics.jsonl            written by `journal`

The folder may lie anywhere; every file appears whole, and a checkpoint is there once its train.json
is. A folder belongs to one fingerprint; a run with another is refused instead of mixed in.
"""

import dataclasses
import hashlib
import json
from typing import Any

import torch
from torch import nn

from filters.open_clip_models import WEIGHTS_NAME, save_checkpoint_dir
from pipeline.fingerprint import file_digest, fingerprint
from pipeline.folder import Folder
from pipeline.pairs import Pairs
from pipeline.staging import drop_drafts, fetched, new_folder
from training.config import Distill, Train
from training.models.build import ModelConfig, model_identity
from training.step import Stepper

VERSION = 1  # raise when the same settings come to mean other weights
# Settings that do not change what is computed.
HOW = ("loader", "parallel", "workers", "save", "log", "device")
SUMMARY = "train.json"  # the last file of a checkpoint


def identify(
    cfg: Train | Distill, pairs: Pairs, *, seed: int, teacher: Folder | None = None
) -> str:
    """Name a run by what makes its weights: settings, model document, pairs in order, and seed."""
    settings = {k: v for k, v in dataclasses.asdict(cfg).items() if k not in HOW}
    settings["model"] = model_identity(cfg.model)
    digest = hashlib.sha256(pairs.uid_N.tobytes())
    for caption in pairs.captions:
        digest.update(caption.encode("utf-8", "surrogatepass") + b"\0")
    return fingerprint(
        type(cfg).__name__,
        version=VERSION,
        settings=settings,
        seed=seed,
        pairs=digest.hexdigest(),
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
        self.states = out / "state"
        self.finished = self.checkpoint.exists(SUMMARY)
        if self.finished:
            self._refuse_other(json.loads(self.checkpoint.read(SUMMARY))["fingerprint"])

    def restore(self, model: nn.Module, stepper: Stepper) -> tuple[int, int]:
        """Load the newest state; return steps done and pictures replaced so far, (0, 0) if none.

        Raises:
            ValueError: The state is that of a run with another fingerprint.
        """
        names = self._state_names()
        if not names:
            return 0, 0
        with fetched(self.states, names[-1]) as folder:
            state = torch.load(folder / names[-1], map_location="cpu", weights_only=True)
        self._refuse_other(state["fingerprint"])
        missing, unexpected = model.load_state_dict(state["model"], strict=False)
        assert not unexpected
        assert not set(missing) & _trained_names(model)
        stepper.load_state_dict(state["stepper"])
        return state["step"], state["replaced"]

    def save(self, model: nn.Module, stepper: Stepper, *, step: int, replaced: int) -> None:
        """Write the state after `step` steps and drop all but the newest `keep`."""
        names = _trained_names(model)
        state = {
            "fingerprint": self.identity,
            "step": step,
            "replaced": replaced,
            "model": {k: v for k, v in model.state_dict().items() if k in names},
            "stepper": stepper.state_dict(),
        }
        with self.states.open_write(f"step-{step:08d}.pt") as file:
            torch.save(state, file)
        for old in self._state_names()[: -self.keep]:
            self.states.remove(old)

    def finish(self, model: nn.Module, config: ModelConfig, summary: dict[str, Any]) -> Folder:
        """Write the open_clip checkpoint, whole or not at all, and return its folder."""
        document = {"fingerprint": self.identity, **summary}
        text = json.dumps(document, indent=2, default=str) + "\n"
        drop_drafts(self.checkpoint)
        with new_folder(self.checkpoint, last=SUMMARY) as path:
            save_checkpoint_dir(path, model, config)
            (path / SUMMARY).write_text(text, encoding="utf-8")
        return self.checkpoint

    def _state_names(self) -> list[str]:
        return [n for n in self.states.names() if n.startswith("step-") and n.endswith(".pt")]

    def _refuse_other(self, found: str) -> None:
        if found != self.identity:
            raise ValueError(
                f"train: got settings or pairs with fingerprint {self.identity}, but "
                f"{self.out.url} holds a run with {found}; give another folder, or remove that one"
            )


def _trained_names(model: nn.Module) -> set[str]:
    """Names of what training changes: parameters with a gradient, and buffers.

    A frozen tower comes back from its own weights, so a state is megabytes, not gigabytes.
    """
    parameters = {name for name, p in model.named_parameters() if p.requires_grad}
    return parameters | ({name for name, _ in model.named_buffers()} & set(model.state_dict()))


def _weights_identity(checkpoint: Folder) -> str:
    """A teacher counts by its weights, whoever trained it."""
    if not checkpoint.exists(WEIGHTS_NAME):
        raise ValueError(
            f"teacher: got {checkpoint.url}, expected a checkpoint folder with {WEIGHTS_NAME}; "
            "give the `checkpoint` folder that training wrote"
        )
    return file_digest(checkpoint.path(WEIGHTS_NAME))
