"""Debian packages without root: a cached one, else the installed one, else fetched and unpacked."""

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.weights import cache_root

logger = logging.getLogger(__name__)

TIMEOUT_S = 900
OTHERWISE = "give --from hf:<dataset> or a folder of your own shards instead"


@dataclass(frozen=True, slots=True)
class Package:
    """A package whose files can be read.

    Attributes:
        name: Of the package.
        version: As Debian writes it.
        root: Folder that stands for `/` in the package's paths.
    """

    name: str
    version: str
    root: Path


def package(name: str, *, system_root: Path = Path("/")) -> Package:
    """Return a Debian package's files, fetched and unpacked into the cache on first use.

    Args:
        name: Of the package.
        system_root: Where installed packages have their files.

    Raises:
        ValueError: It is neither installed nor cached, and cannot be fetched here.
    """
    return _here(name, system_root) or _fetch(name, cache_root() / "debian")


def versions_here(*names: str) -> dict[str, str]:
    """Return the versions of those packages that are installed or cached."""
    found = (_here(name, Path("/")) for name in names)
    return {one.name: one.version for one in found if one is not None}


def _here(name: str, system_root: Path) -> Package | None:
    return _cached(name, cache_root() / "debian") or _installed(name, system_root)


def _installed(name: str, system_root: Path) -> Package | None:
    """Ask dpkg; `system_root` is its database's root too."""
    if not (system_root / "usr/share/doc" / name).is_dir() or not shutil.which("dpkg-query"):
        return None
    query = ["dpkg-query", f"--admindir={system_root / 'var/lib/dpkg'}", "--show"]
    done = _run([*query, "--showformat=${db:Status-Status} ${Version}", name], cwd=None)
    status, _, version = done.stdout.strip().partition(" ")
    return Package(name, version, system_root) if status == "installed" else None


def _cached(name: str, cache: Path) -> Package | None:
    """Return the unpacked package that was fetched last; a folder in the cache is complete."""
    found = sorted(cache.glob(f"{name}_*"), key=lambda path: (path.stat().st_mtime, path.name))
    if not found:
        return None
    version = found[-1].name.removeprefix(f"{name}_").replace("%3a", ":")
    return Package(name, version, found[-1])


def _fetch(name: str, cache: Path) -> Package:
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise ValueError(
                f"pool: got a machine without {tool}, expected Debian to fetch {name} from; "
                f"{OTHERWISE}"
            )
    logger.info("fetching the Debian package %s", name)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as temporary:
            folder = Path(temporary)
            archive = _download(name, folder, apt=cache.parent / "apt")
            _check(_run(["dpkg-deb", "-x", str(archive), "tree"], cwd=folder), name)
            version = _run(["dpkg-deb", "-f", str(archive), "Version"], cwd=folder).stdout.strip()
            _publish(folder / "tree", cache / f"{name}_{version.replace(':', '%3a')}")
            return Package(name, version, cache / f"{name}_{version.replace(':', '%3a')}")
    except PermissionError as error:
        raise ValueError(
            f"pool: got {cache}, expected a folder that can be written to; point THRESHER_CACHE "
            "at one"
        ) from error


def _download(name: str, folder: Path, *, apt: Path) -> Path:
    """Download with the machine's package lists, or with private ones where it has none."""
    done = _run(["apt-get", "download", "-q", *_options(None), name], cwd=folder)
    if done.returncode != 0:
        for part in ("state/lists/partial", "cache/archives/partial"):
            (apt / part).mkdir(parents=True, exist_ok=True)
        _check(_run(["apt-get", "update", "-q", *_options(apt)], cwd=folder), name)
        done = _run(["apt-get", "download", "-q", *_options(apt), name], cwd=folder)
    _check(done, name)
    return next(folder.glob("*.deb"))


def _options(apt: Path | None) -> list[str]:
    """Return settings with which apt writes nothing outside our folders, whoever we are."""
    settings = ["APT::Sandbox::User=root"]  # the `_apt` user cannot write into our folder
    if apt is not None:
        settings += [
            f"Dir::State={apt / 'state'}",
            f"Dir::Cache={apt / 'cache'}",
            "Dir::State::status=/var/lib/dpkg/status",
        ]
    return [word for setting in settings for word in ("-o", setting)]


def _run(command: Sequence[str], *, cwd: Path | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603
            command,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"E: no end after {TIMEOUT_S} s")


def _check(done: subprocess.CompletedProcess[str], name: str) -> None:
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = next((line for line in lines if line.startswith("E:")), "".join(lines[-1:]))
    raise ValueError(
        f"pool: {' '.join(done.args[:2])} ended with {done.returncode} ({reason}), expected the "
        f"package {name}; check the network and the package sources, or {OTHERWISE}"
    )


def _publish(tree: Path, target: Path) -> None:
    """Move the unpacked tree into the cache, unless another process was faster."""
    tree.chmod(0o755)
    try:
        tree.rename(target)
    except OSError:
        if not target.is_dir():
            raise
