"""Boards to watch a run on: TensorBoard and Weights & Biases, both optional, neither needed."""

import importlib
import netrc
import os
from typing import Any

from pipeline.folder import Folder
from training.log.sink import Line, measured
from training.log.staged import Staged

FLUSH_S = 30  # a board may lag behind by this, but for states, before which it is published


class TensorBoard:
    """Event files in the run's folder; steps that a resumed run does again are shown once.

    Args:
        out: Folder of the run.
        done: Steps already done; the board hides what earlier processes wrote of later ones.

    Raises:
        ValueError: The extra `tensorboard` is not installed.
    """

    def __init__(self, out: Folder, *, done: int) -> None:
        board = _needed("torch.utils.tensorboard", setting="log.tensorboard", extra="tensorboard")
        self._staged = Staged(out / "tensorboard")
        self._writer = board.SummaryWriter(
            str(self._staged.path), purge_step=done + 1, flush_secs=FLUSH_S
        )

    def write(self, line: Line) -> None:
        """Add every value as a scalar."""
        for name, value in measured(line).items():
            self._writer.add_scalar(name, value, int(line["step"]))

    def publish(self) -> None:
        """Write out what waits in memory."""
        self._writer.flush()
        self._staged.publish()

    def close(self, *, failed: bool) -> None:  # noqa: ARG002
        """Publish and close the file."""
        self._writer.close()
        self._staged.close()


class WeightsAndBiases:
    """A run on Weights & Biases, under the fingerprint's id: a resumed run goes on in the same one.

    Without a key nothing leaves the machine: files for `wandb sync` lie in the run's folder.
    `WANDB_MODE` is heeded. Steps that a resumed run does again are dropped there, being the same.

    Args:
        out: Folder of the run.
        project: Its name.
        identity: Of the run.
        settings: Shown beside it.

    Raises:
        ValueError: The extra `wandb` is not installed.
    """

    def __init__(
        self, out: Folder, *, project: str, identity: str, settings: dict[str, Any]
    ) -> None:
        wandb = _needed("wandb", setting="log.wandb", extra="wandb")
        self._staged = Staged(out)
        self._run = wandb.init(
            project=project,
            id=identity,
            name=out.url.rstrip("/").rpartition("/")[2],
            config=settings,
            resume="allow",
            dir=str(self._staged.path),
            mode=os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline"),
        )

    def write(self, line: Line) -> None:
        """Log every value; lines of one step become one row."""
        self._run.log(measured(line), step=int(line["step"]))

    def publish(self) -> None:
        """Copy offline files to where the run lies."""
        self._staged.publish()

    def close(self, *, failed: bool) -> None:
        """End the run."""
        self._run.finish(exit_code=int(failed))
        self._staged.close()


def _needed(module: str, *, setting: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"{setting}: got a board to write to, but {error.name or extra} cannot be imported; "
            f"install thresher[{extra}], or leave the setting out"
        ) from error


def _has_key() -> bool:
    """Tell whether somebody has logged in here: by environment, or by `wandb login`."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return any("wandb" in host for host in netrc.netrc().hosts)
    except (OSError, netrc.NetrcParseError):
        return False
