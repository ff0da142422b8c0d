"""One question over HTTP: bounded in time and size, tried again only where that may help."""

import json
import random
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as TimedOutError

from filters.prompts.breaker import Breaker
from filters.prompts.endpoint import Endpoint, hider
from filters.prompts.reply import ANSWER_CHARS, MalformedReplyError, Reply, parse

CONNECT_S = 5.0
BODY_BYTES = 4 * 2**20  # an answer is a few kilobytes
BLOCK_BYTES = 64 * 2**10
OK = 200
PASSING = {408, 409, 425, 429}  # and all from 500 on: the same question may be answered later
REFUSED = {401, 403, 404, 405}  # it is not the question that is refused
FIRST_FAULT = 500
AGAIN = (TimedOutError, NewConnectionError, ProtocolError, ProxyError)
UNREACHABLE = (ConnectTimeoutError, NewConnectionError, ProxyError, SSLError)
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class UnansweredError(RuntimeError):
    """A question without an answer; the text is one line, without the key."""


class UnaskedError(UnansweredError):
    """The breaker is open: nothing was sent."""


class _Fault(Exception):  # noqa: N818
    """One try that failed.

    Attributes:
        again: Whether the same question may be answered a little later.
        wait_s: What the server asks for.
        ours: False if the endpoint answered, and refused this one question.
    """

    def __init__(
        self, text: str, *, again: bool = False, wait_s: float = 0.0, ours: bool = True
    ) -> None:
        super().__init__(text)
        self.again, self.wait_s, self.ours = again, wait_s, ours
        self.unreachable = False


class Client:
    """Asks an endpoint; threads may share it. It never shows its key.

    Proxies are those of the environment (`https_proxy`, `no_proxy`), certificates the system's.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the key from the environment; no connection is made.

        Args:
            endpoint: Where, and how patiently.
            breaker: Shared by those who ask the same endpoint.
            clock: Seconds, from any start.

        Raises:
            PermissionError: The key is not in the environment.
        """
        key = endpoint.key()
        self.endpoint, self.breaker = endpoint, breaker or Breaker()
        self._clock, self._hide = clock, hider(key)
        self._url = endpoint.url.rstrip("/") + "/chat/completions"
        self._headers = {"Content-Type": "application/json", "User-Agent": "thresher"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._pool = _pool(self._url, endpoint.concurrency)

    def now(self) -> float:
        """Return the clock's time, which deadlines are in."""
        return self._clock()

    def ask(self, body: Mapping[str, Any], *, deadline: float) -> Reply:
        """Return the answer to one question.

        Args:
            body: A chat completion request.
            deadline: No try begins later.

        Raises:
            UnansweredError: There is none.
        """
        if not self.breaker.admits():
            raise UnaskedError(self._told("no answer to the questions before, so none was sent"))
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        for attempt in range(1, self.endpoint.attempts + 1):
            try:
                reply = self._try(data)
            except _Fault as fault:
                wait_s = max(fault.wait_s, self._pause_s(attempt))
                late = self._clock() + wait_s > deadline
                last = not fault.again or attempt == self.endpoint.attempts or late
                if not last and not self.breaker.wait(wait_s):
                    continue
                self._note(fault)
                times = f", tried {attempt} times" if attempt > 1 else ""
                raise UnansweredError(self._told(f"{fault}{times}")) from None
            self.breaker.answered()
            return reply
        raise AssertionError("at least one attempt")

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _note(self, fault: _Fault) -> None:
        if fault.ours:
            self.breaker.given_up(unreachable=fault.unreachable)
        else:
            self.breaker.answered()

    def _pause_s(self, failures: int) -> float:
        """Return a wait at random, so that those who failed together do not come back together."""
        longest = self.endpoint.backoff_s * 2 ** (failures - 1)
        return random.uniform(longest / 2, longest)  # noqa: S311

    def _try(self, data: bytes) -> Reply:
        wait = urllib3.Timeout(min(CONNECT_S, self.endpoint.timeout_s), self.endpoint.timeout_s)
        try:
            response = self._pool.request(
                "POST", self._url, body=data, headers=self._headers, timeout=wait,
                retries=False, redirect=False, preload_content=False,
            )  # fmt: skip
            try:
                body = self._body(response)
            finally:
                response.close() if response.length_remaining else response.release_conn()
        except HTTPError as error:
            raise self._fault_of(error) from None
        return self._reply(response.status, response.headers, body)

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """Read an answer; a server that drips is as good as silent."""
        blocks, size, end = [], 0, self._clock() + self.endpoint.timeout_s
        for block in response.stream(BLOCK_BYTES):
            blocks.append(block)
            size += len(block)
            if size > BODY_BYTES:
                raise _Fault(f"got an answer of more than {BODY_BYTES} bytes")
            if self._clock() > end:
                raise _Fault(f"got no whole answer in {self.endpoint.timeout_s:g} s", again=True)
        return b"".join(blocks)

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        if status != OK:
            again = status in PASSING or status >= FIRST_FAULT
            text = " ".join(self._hide(body.decode("utf-8", "replace")).split())[:ANSWER_CHARS]
            raise _Fault(
                f"got status {status} ({text})",
                again=again,
                wait_s=_retry_after_s(headers.get("Retry-After")) if again else 0.0,
                ours=again or status in REFUSED,
            )
        try:
            return parse(json.loads(body), clean=self._hide)
        except MalformedReplyError as error:
            raise _Fault(str(error)) from None
        except (ValueError, RecursionError):
            raise _Fault("got an answer that is no JSON") from None

    def _fault_of(self, error: HTTPError) -> _Fault:
        text = self._hide(" ".join(f"{type(error).__name__}: {error}".split()))
        fault = _Fault(f"got {text}", again=isinstance(error, AGAIN))
        fault.unreachable = isinstance(error, UNREACHABLE)
        return fault

    def _told(self, what: str) -> str:
        return (
            f"endpoint {self.endpoint.url}: {what}, expected a chat completion; start the server, "
            "or correct endpoint.url, model and key_env"
        )


def _pool(url: str, size: int) -> urllib3.PoolManager:
    """Return a pool of connections, through the environment's proxy if it names one."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or parts.hostname in LOOPBACK or urllib.request.proxy_bypass(parts.netloc):
        return urllib3.PoolManager(maxsize=size, block=True)
    login = urlsplit(proxy)
    user = f"{login.username}:{login.password or ''}" if login.username else None
    headers = urllib3.make_headers(proxy_basic_auth=unquote(user) if user else None)
    return urllib3.ProxyManager(proxy, maxsize=size, block=True, proxy_headers=headers)


def _retry_after_s(value: str | None) -> float:
    """Return the seconds of a Retry-After header, a number or a date; 0 without a sound one."""
    if value is None:
        return 0.0
    try:
        return max(0.0, urllib3.Retry().parse_retry_after(value))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
