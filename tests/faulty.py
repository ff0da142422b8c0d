"""A real S3 server on this machine, behind a proxy that does to requests what networks do."""

import http.client
import random
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

BUCKET = "bucket"
SIGNED = {  # moto asks who it is, not whether it is true
    "Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0",
    "x-amz-acl": "public-read",
}


@dataclass(frozen=True)
class Slow:
    """Answer late."""

    seconds: float = 0.02


@dataclass(frozen=True)
class Status:
    """Answer with an error, as S3 words it."""

    status: int = 503
    code: str = "SlowDown"


@dataclass(frozen=True)
class Reset:
    """Close the connection hard, without an answer; `after` the server has done what was asked."""

    after: bool = False


@dataclass(frozen=True)
class Cut:
    """Close the connection after this share of the promised body."""

    share: float = 0.5


@dataclass(frozen=True)
class Shorten:
    """Promise and send this share of the body only: nothing shows but the length."""

    share: float = 0.5


Fault = Slow | Status | Reset | Cut | Shorten
EVERY_FAULT = (Slow(), Status(), Status(500, "InternalError"), Reset(), Cut(0.3), Shorten(0.9))


@dataclass
class Proxy:
    """Requests pass as `plan` says: it is asked (method, path with query) for each one."""

    target: str
    url: str = ""
    plan: Callable[[str, str], Fault | None] = lambda _method, _path: None
    seen: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, method: str, path: str = "", body: bytes = b"") -> tuple[int, bytes]:
        """Send a request to the bucket past all faults."""
        connection = http.client.HTTPConnection(self.target)
        connection.request(method, f"/{BUCKET}{path}", body, SIGNED)
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    def put(self, name: str, data: bytes) -> str:
        """Put an object there past all faults; returns its URL."""
        assert self.ask("PUT", f"/{name}", data)[0] == 200
        return f"s3://{BUCKET}/{name}"

    def fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.seen.append((method, path))
            return self.plan(method, path)

    def reset(self) -> None:
        self.plan, self.seen = Proxy.plan, []

    def always(self, fault: Fault, *, method: str = "") -> None:
        self.plan = lambda m, _path: fault if method in ("", m) else None

    def first(self, *faults: Fault, method: str) -> None:
        """Do this to the first requests of a method, one each, and nothing to the rest."""
        left = iter(faults)
        self.plan = lambda m, _path: next(left, None) if m == method else None

    def at_random(self, seed: int, *, share: float) -> None:
        """Any fault, for this share of all requests; never twice in a row for one of them."""
        draw, before = random.Random(seed), set()

        def plan(method: str, path: str) -> Fault | None:
            if draw.random() >= share or (method, path) in before:
                before.discard((method, path))
                return None
            before.add((method, path))
            return draw.choice(EVERY_FAULT)

        self.plan = plan


@contextmanager
def faulty_store() -> Iterator[Proxy]:
    """Run moto's S3 with a bucket behind a proxy; skips where it is not installed."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        with _proxy("{}:{}".format(*server.get_host_and_port())) as proxy:
            assert proxy.ask("PUT")[0] == 200
            with pytest.MonkeyPatch.context() as patch:
                for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                    patch.setenv(name, "testing")
                patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
                patch.setenv("AWS_ENDPOINT_URL", proxy.url)
                # Objects stay in memory: moto leaves its temporary files to be collected open.
                patch.setenv("MOTO_S3_DEFAULT_KEY_BUFFER_SIZE", str(2**30))
                fsspec.get_filesystem_class("s3").clear_instance_cache()  # of an earlier address
                yield proxy
    finally:
        server.stop()


@contextmanager
def small_disk(path: Path, *, size: int = 256 * 1024) -> Iterator[Path]:
    """Mount a real disk of so many bytes, or skip the test where that is not allowed."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if not mount or not unmount:
        pytest.skip("needs mount")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"needs leave to mount: {done.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run([unmount, "--lazy", str(path)], check=True)  # maps end with their objects


@contextmanager
def _proxy(target: str) -> Iterator[Proxy]:
    proxy = Proxy(target=target)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        assert "Transfer-Encoding" not in self.headers
        fault = self.proxy.fault(self.command, self.path)
        if isinstance(fault, Slow):
            time.sleep(fault.seconds)
        if fault == Reset():
            return self._hang_up(hard=True)
        if isinstance(fault, Status):
            text = f"<Error><Code>{fault.code}</Code><Message>told to</Message></Error>"
            return self._answer(fault.status, [], text.encode())
        status, headers, answer = self._forward(body)
        if fault == Reset(after=True):
            return self._hang_up(hard=True)
        if isinstance(fault, Shorten) and self.command == "GET":
            answer = answer[: int(len(answer) * fault.share)]
        sent = int(len(answer) * fault.share) if isinstance(fault, Cut) else None
        return self._answer(status, headers, answer, sent=sent)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_request

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.proxy.target)
        connection.request(self.command, self.path, body, dict(self.headers))
        response = connection.getresponse()
        answer, headers = response.read(), response.getheaders()
        connection.close()
        return response.status, headers, answer

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, *, sent: int | None = None
    ) -> None:
        self.send_response_only(status)
        ours = {"connection", "transfer-encoding"}
        if self.command != "HEAD":  # whose length is that of the object
            ours.add("content-length")
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            if name.lower() not in ours:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
        if sent is not None:
            self._hang_up(hard=False)

    def _hang_up(self, *, hard: bool) -> None:
        self.wfile.flush()
        self.close_connection = True
        if hard:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""
