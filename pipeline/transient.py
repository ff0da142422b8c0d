"""Faults of disks and stores: which pass by themselves, how long they are waited out, in one line.

A store's own client is told to try once, so that the bound on waiting is the one written here.
"""

import errno
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import fsspec

T = TypeVar("T")

CONNECT_S, SILENCE_S = 5, 15  # s3fs's own: to a connection, and between two bytes of an answer
FULL = {errno.ENOSPC, errno.EDQUOT}
ERRNOS = {
    errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETDOWN,
    errno.ENETUNREACH, errno.EPIPE, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip
STATUSES = {408, 425, 429, 500, 502, 503, 504}
CODES = {"IncompleteBody", "InternalError", "RequestTimeout", "SlowDown", "Throttling"}
# By name, since the clients of stores (aiobotocore, aiohttp, httpx, requests) are extras.
NAMES = {
    "ChunkedEncodingError", "ClientConnectionError", "ClientPayloadError", "ConnectionError",
    "FlexibleChecksumError", "HTTPClientError", "IncompleteRead", "IncompleteReadError",
    "PayloadEncodingError", "ResponseParserError", "TransportError",
}  # fmt: skip


class DiskFull(OSError):  # noqa: N818 (what it is, as FileNotFoundError's siblings have it)
    """A local disk has no room left: no fault of the file that was on its way."""


class GivenUp(OSError):  # noqa: N818
    """A transient fault did not pass in the time that is allowed."""


class ShortBody(OSError):  # noqa: N818
    """A store answered with fewer bytes than were asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long transient faults of one request are waited out.

    Attributes:
        attempts: Tries, the first one included.
        first_s: Longest wait after the first failure; it doubles with each further one.
        total_s: No try begins later than this after the first.
    """

    attempts: int = 6
    first_s: float = 1.0
    total_s: float = 60.0

    def wait_s(self, failures: int) -> float:
        """Return the seconds to wait after so many failures: at random, so that cells spread."""
        longest = self.first_s * 2 ** (failures - 1)
        return random.uniform(longest / 2, longest)  # noqa: S311


def persist(call: Callable[[], T], patience: Patience) -> T:
    """Return what `call` returns, trying again after transient faults.

    Raises:
        GivenUp: The fault did not pass; its text is one line.
        Exception: What `call` raised, if waiting does not help.
    """
    start = time.monotonic()
    for attempt in range(1, patience.attempts + 1):
        try:
            return call()
        except Exception as error:
            if not is_transient(error):
                raise
            wait_s, spent_s = patience.wait_s(attempt), time.monotonic() - start
            if attempt == patience.attempts or spent_s + wait_s > patience.total_s:
                text = f"{reason(error)}, {attempt} times in {spent_s:.0f} s"
                raise GivenUp(text) from error
            time.sleep(wait_s)
    raise AssertionError("at least one attempt")


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may succeed a little later."""
    if isinstance(error, FileNotFoundError | PermissionError | DiskFull):
        return False
    if isinstance(error, TimeoutError | ShortBody):
        return True
    if any(base.__name__ in NAMES for base in type(error).__mro__):
        return True
    answer = _answer(error)
    if answer is not None:
        return bool(STATUSES & {answer[0]} or CODES & {answer[1]})
    return isinstance(error, OSError) and error.errno in ERRNOS


def is_full(error: BaseException) -> bool:
    """Tell whether a disk or a quota is full; libraries made of Rust only have words for it."""
    if isinstance(error, OSError):
        return error.errno in FULL
    return any(f"(os error {number})" in str(error) for number in FULL)


def reason(error: BaseException) -> str:
    """Say on one line what went wrong; the store's own words where it answered."""
    source = error.__cause__ if _answer(error) and error.__cause__ else error
    text = " ".join(str(source).split())
    return text if isinstance(source, OSError) and text else f"{type(source).__name__}: {text}"


def connect(url: str, *, tries: int = 1) -> tuple[Any, str]:
    """Return the filesystem and path of a URL; the filesystem may be shared by threads.

    Listings are not cached (others write too), and the store's client does not try again.

    Args:
        url: Local path or any fsspec URL.
        tries: Of the store's client for a request; more than 1 only where a request cannot be
            repeated by itself, such as one part of an upload.

    Raises:
        ValueError: No filesystem is installed for the URL.
    """
    protocols = {bit.partition("://")[0] for bit in url.split("::") if "://" in bit}
    try:
        options = {name: _options(name, tries) for name in protocols}
        fs, path = fsspec.core.url_to_fs(url, **{k: v for k, v in options.items() if v})
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"address: got {url}, expected a local path or the URL of a filesystem that is "
            f"installed; install the extra it needs, such as thresher[s3] ({reason(error)})"
        ) from error
    if protocols & {"s3", "s3a"}:
        fs.retries = 1  # s3fs has no setting for it
    return fs, path


def _options(protocol: str, tries: int) -> dict[str, Any]:
    if protocol in {"s3", "s3a"}:
        own = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
        retries = {"mode": "standard", "total_max_attempts": tries}
        return {"config_kwargs": {**own, "retries": retries}, "use_listings_cache": False}
    if protocol in {"http", "https"}:
        from fsspec.implementations.http import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        return {"client_kwargs": {"timeout": timeout}}
    return {"use_listings_cache": False} if protocol in {"gs", "gcs"} else {}


def _answer(error: BaseException) -> tuple[int, str] | None:
    """Return HTTP status and error code, if a store answered: botocore, aiohttp, gcsfs, httpx."""
    for source in (error, error.__cause__):
        response = getattr(source, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return status, str(response.get("Error", {}).get("Code", ""))
        for holder, name in ((source, "status"), (source, "code"), (response, "status_code")):
            status = getattr(holder, name, None)
            if isinstance(status, int):
                return status, ""
    return None
