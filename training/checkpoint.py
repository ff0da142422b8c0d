"""A training folder: the resumable state, the finished checkpoint, and whose they are.

    OUT/state/step-00000200.pt   weights that train, optimiser, step, generator; newest few kept
    OUT/checkpoint/              open_clip_config.json, open_clip_model.safetensors, train.json
    OUT/metrics.jsonl            written by `journal`

Every file appears whole: it is written under another name and renamed. A folder belongs to one
fingerprint; a run with another is refused instead of mixed in.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from filters.open_clip_models import WEIGHTS_NAME, save_checkpoint_dir
from pipeline.fingerprint import file_digest, fingerprint
from pipeline.pairs import Pairs
from training.config import Distill, Train
from training.model import ModelConfig

VERSION = 1  # raise when the same settings come to mean other weights
HOW = ("loader", "save", "device")  # settings that do not change what is computed


def identify(cfg: Train | Distill, pairs: Pairs, *, seed: int, teacher: Path | None = None) -> str:
    """Name a run by what makes its weights: settings, model document, pairs in order, and seed."""
    settings = {k: v for k, v in dataclasses.asdict(cfg).items() if k not in HOW}
    settings["model"] = _model_identity(cfg.model)
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

    def __init__(self, out: Path, *, identity: str, keep: int) -> None:
        self.out = out
        self.identity = identity
        self.keep = keep
        self.checkpoint = out / "checkpoint"
        self.finished = self.checkpoint.is_dir()
        if self.finished:
            summary = json.loads((self.checkpoint / "train.json").read_text("utf-8"))
            self._refuse_other(summary["fingerprint"])

    def restore(self, model: nn.Module, optimizer: Optimizer) -> tuple[int, int]:
        """Load the newest state; return steps done and pictures replaced so far, (0, 0) if none.

        Raises:
            ValueError: The state is that of a run with another fingerprint.
        """
        states = self._states()
        if not states:
            return 0, 0
        state = torch.load(states[-1], map_location="cpu", weights_only=True)
        self._refuse_other(state["fingerprint"])
        missing, unexpected = model.load_state_dict(state["model"], strict=False)
        assert not unexpected
        assert not set(missing) & _trained_names(model)
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        return state["step"], state["replaced"]

    def save(self, model: nn.Module, optimizer: Optimizer, *, step: int, replaced: int) -> None:
        """Write the state after `step` steps and drop all but the newest `keep`."""
        names = _trained_names(model)
        state = {
            "fingerprint": self.identity,
            "step": step,
            "replaced": replaced,
            "model": {k: v for k, v in model.state_dict().items() if k in names},
            "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(),
        }
        folder = self.out / "state"
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / ".next"
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / f"step-{step:08d}.pt")
        for old in self._states()[: -self.keep]:
            old.unlink()

    def finish(self, model: nn.Module, config: ModelConfig, summary: dict[str, Any]) -> Path:
        """Write the open_clip checkpoint, whole or not at all, and return its folder."""
        temporary = self.out / ".checkpoint"
        shutil.rmtree(temporary, ignore_errors=True)
        save_checkpoint_dir(temporary, model, config)
        document = {"fingerprint": self.identity, **summary}
        text = json.dumps(document, indent=2, default=str) + "\n"
        (temporary / "train.json").write_text(text, encoding="utf-8")
        temporary.replace(self.checkpoint)
        return self.checkpoint

    def _states(self) -> list[Path]:
        return sorted((self.out / "state").glob("step-*.pt"))

    def _refuse_other(self, found: str) -> None:
        if found != self.identity:
            raise ValueError(
                f"train: got settings or pairs with fingerprint {self.identity}, but {self.out} "
                f"holds a run with {found}; give another folder, or remove that one"
            )


def _trained_names(model: nn.Module) -> set[str]:
    """Names of what training changes: parameters with a gradient, and buffers.

    A frozen tower comes back from its own weights, so a state is megabytes, not gigabytes.
    """
    parameters = {name for name, p in model.named_parameters() if p.requires_grad}
    return parameters | ({name for name, _ in model.named_buffers()} & set(model.state_dict()))


def _model_identity(name: str) -> Any:
    """A model JSON counts by what it says, not by where it lies."""
    is_document = name.endswith(".json") and Path(name).is_file()
    return json.loads(Path(name).read_text("utf-8")) if is_document else name


def _weights_identity(checkpoint: Path) -> str:
    """A teacher counts by its weights, whoever trained it."""
    weights = checkpoint / WEIGHTS_NAME
    if not weights.is_file():
        raise ValueError(
            f"teacher: got {checkpoint}, expected a checkpoint folder with {WEIGHTS_NAME}; "
            "give the `checkpoint` folder that training wrote"
        )
    return file_digest(weights)
