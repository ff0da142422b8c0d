"""Names for outputs that say what made them: the same inputs give the same name, others do not."""

import dataclasses
import hashlib
import json
import os
import posixpath
from glob import escape, glob
from pathlib import Path
from typing import Any

import fsspec

DIGITS = 12  # 48 bits: a run folder holds dozens of outputs


def fingerprint(stage: str, **parts: Any) -> str:
    """Hash a stage's name and everything that changes its output.

    Args:
        stage: Name of the stage.
        parts: Settings, versions, digests: dataclasses, mappings, sequences and plain values. A
            field of a dataclass with the metadata `{"identity": False}` is left out: it says how
            or where something is done, not what.

    Returns:
        12 hex digits.

    Raises:
        TypeError: A part has no canonical form.
    """
    document = json.dumps([stage, _canonical(parts)], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(document.encode(), digest_size=DIGITS // 2).hexdigest()


def file_digest(place: str | Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files with their names; hex.

    Args:
        place: Path, or any fsspec URL; the same files give the same digest wherever they lie.
    """
    digest = hashlib.sha256()
    fs, root = fsspec.core.url_to_fs(str(place))
    files = sorted(fs.find(root), key=lambda f: f.split("/")) if fs.isdir(root) else [root]
    for file in files:
        digest.update(f"{posixpath.relpath(file, root) if file != root else ''}\0".encode())
        with fs.open(file, "rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def named_models(settings: Any) -> list[str]:
    """Return the files that a dataclass's settings name, and the folders that hold a model.

    A folder counts by its `*config.json`: a setting may be a word that happens to name another.
    """
    values = [getattr(settings, f.name) for f in identity_fields(settings)]
    places = [value.removeprefix("local-dir:") for value in values if isinstance(value, str)]
    # Not by Path: it raises where a setting is a long text.
    return [p for p in places if os.path.isfile(p) or glob(f"{escape(p)}/*config.json")]  # noqa: PTH113, PTH207


def identity_fields(value: Any) -> list[dataclasses.Field[Any]]:
    """Return the fields of a dataclass that are part of what it is known by."""
    return [f for f in dataclasses.fields(value) if f.metadata.get("identity", True)]


def _canonical(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in identity_fields(value)}
        return [type(value).__name__, _canonical(fields)]
    if isinstance(value, dict):
        return {str(k): _canonical(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(v) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(
        f"fingerprint: got {type(value).__name__}, expected a dataclass, mapping, sequence or "
        "plain value; pass what identifies it, such as a digest"
    )
