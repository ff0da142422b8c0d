"""Converted models on disk: published whole or not at all, and checked each time they are used."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)


def cached_model(folder: Path, name: str, *, build: Callable[[Path], None]) -> Path:
    """Return the model `name` from `folder`; build it where it is missing or damaged.

    The manifest `<name>.json` names the model file and its SHA-256. The file's name carries its
    digest and the manifest is renamed into place last, so a process that reads at any moment, or
    builds the same model at the same time, meets a whole pair.

    Args:
        folder: Cache folder; created.
        name: Model and version.
        build: Writes the model to the path it is given.

    Raises:
        FileNotFoundError: The folder cannot be written to.
    """
    manifest = folder / f"{name}.json"
    found = _verified(manifest)
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as temporary:
            draft = Path(temporary) / "model"
            build(draft)
            return _publish(draft, manifest)
    except PermissionError as error:
        raise FileNotFoundError(
            f"model cache: got {folder}, expected a folder that can be written to; "
            "point THRESHER_CACHE at one"
        ) from error


def _verified(manifest: Path) -> Path | None:
    """Return the model a manifest stands for, or None where either is missing or damaged."""
    try:
        entry = json.loads(manifest.read_text(encoding="utf-8"))
        model = manifest.parent / Path(entry["file"]).name
        expected = entry["sha256"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        logger.warning("model cache: got %s that cannot be read; building it again", manifest)
        return None
    if model.is_file() and _sha256(model) == expected:
        return model
    logger.warning("model cache: %s differs from its manifest; building it again", model)
    return None


def _publish(draft: Path, manifest: Path) -> Path:
    digest = _sha256(draft)
    model = manifest.with_name(f"{manifest.stem}-{digest[:12]}.onnx")
    entry = {"file": model.name, "sha256": digest, "bytes": draft.stat().st_size}
    note = draft.with_name("manifest")
    note.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    draft.replace(model)
    note.replace(manifest)
    return model


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
