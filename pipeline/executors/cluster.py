"""Join or start Ray; code and weights reach every node."""

import logging
import os
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import filters
import pipeline
from pipeline.fingerprint import file_digest
from pipeline.weights import cache_root

CONNECT_TIMEOUT_S = 5.0
NAMESPACE = "thresher"


@contextmanager
def connected(address: str, *, code: Sequence[ModuleType] = (filters, pipeline)) -> Iterator[None]:
    """Join or start Ray for a `with` block; one that is running in this process is taken as it is.

    Args:
        address: `local` starts one on this machine and stops it again; `auto` or `ray://...` or
            `host:port` joins one, and sends it this code.
        code: Packages that are sent.

    Raises:
        ValueError: There is no such cluster.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    _require_listener(address)
    # Ray's own C++ log tells of every restart that is planned for, on the user's terminal.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"include_dashboard": False, "num_cpus": os.cpu_count()}
    else:
        paths = [str(Path(package.__path__[0])) for package in code]
        options |= {"runtime_env": {"py_modules": paths}}
    try:
        ray.init(address=address, namespace=NAMESPACE, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Refuse a `host:port` that nobody listens at; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ValueError:
    return ValueError(
        f"--ray: got {address!r}, expected off, local, auto or the address of a running Ray "
        f"cluster; start one with `ray start --head` or use --ray local ({error})"
    )


@dataclass(frozen=True, slots=True)
class Parcel:
    """A model file in the object store: only nodes that lack it fetch it."""

    file: str
    sha256: str
    data: Any


def ship(weights: Mapping[str, str]) -> dict[str, Parcel]:
    """Put model files into the object store."""
    import ray

    return {
        name: Parcel(Path(path).name, file_digest(Path(path)), ray.put(Path(path).read_bytes()))
        for name, path in weights.items()
    }


def receive(weights: Mapping[str, str], parcels: Mapping[str, Parcel]) -> dict[str, str]:
    """Return this node's paths: its own file if it is the very same, else the one shipped."""
    import ray

    paths = dict(weights)
    for name, parcel in parcels.items():
        own = Path(paths[name])
        if own.is_file() and file_digest(own) == parcel.sha256:
            continue
        path = cache_root() / "shipped" / f"{parcel.sha256[:16]}-{parcel.file}"
        if not path.is_file():
            data = ray.get(parcel.data)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            temporary.write_bytes(data)
            temporary.replace(path)
        paths[name] = str(path)
    return paths
