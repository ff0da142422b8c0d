"""An OpenAI-compatible server on this machine that answers, and misbehaves, as it is told."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import log

KEY = "sk-secret-0123456789"


@dataclass(frozen=True)
class Says:
    """A completion; `likely` has probabilities of first tokens, None gives no logprobs."""

    text: str = "Yes"
    likely: tuple[tuple[str, float], ...] | None = None
    tokens: tuple[int, int] = (10, 2)

    def document(self) -> dict:
        choice: dict = {"index": 0, "message": {"role": "assistant", "content": self.text}}
        if self.likely is not None:
            top = [{"token": t, "logprob": log(p) if p else -9999.0} for t, p in self.likely]
            choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
        usage = {"prompt_tokens": self.tokens[0], "completion_tokens": self.tokens[1]}
        return {"object": "chat.completion", "choices": [choice], "usage": usage}


@dataclass(frozen=True)
class Raw:
    """Any body with any status and headers."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Reset:
    """Close the connection hard, without an answer."""


@dataclass(frozen=True)
class Hold:
    """Answer when `Model.release` is set: a slow model, without a clock."""

    then: Says = field(default_factory=Says)


Act = Says | Raw | Reset | Hold


@dataclass
class Model:
    """What the server does: `plan` gets each request's body, decoded."""

    url: str = ""
    plan: Callable[[dict], Act] = lambda _body: Says()
    asked: list[dict] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0
    release: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def first(self, *acts: Act) -> None:
        """Do this to the first requests, one each, and answer the rest."""
        left = iter(acts)
        self.plan = lambda _body: next(left, Says())

    def texts(self) -> list[str]:
        """Return the questions in the order they came."""
        return [text_of(body) for body in self.asked]

    def reset(self) -> None:
        """Begin anew: a server that answers yes, and has seen nothing."""
        with self.changed:
            self.plan, self.most_at_once = Model.plan, 0
            self.asked, self.headers, self.paths = [], [], []
            self.release.clear()

    def enter(self, body: dict, headers: dict[str, str], path: str) -> Act:
        with self.changed:
            self.asked.append(body)
            self.headers.append(headers)
            self.paths.append(path)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.changed.notify_all()
            return self.plan(body)

    def leave(self) -> None:
        with self.changed:
            self.at_once -= 1
            self.changed.notify_all()


def text_of(body: dict) -> str:
    """Return the question of a request."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


@contextmanager
def language_model() -> Iterator[Model]:
    """Serve on loopback."""
    model = Model()
    handler = type("Handler", (_Handler,), {"model": model})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    model.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield model
    finally:
        model.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """Say nothing of clients that hang up: some are told to."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    model: Model

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        act = self.model.enter(body, dict(self.headers), self.path)
        try:
            if isinstance(act, Hold):
                self.model.release.wait(60)
                act = act.then
        finally:
            self.model.leave()
        if isinstance(act, Reset):
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif isinstance(act, Says):
            self._answer(Raw(json.dumps(act.document()).encode()))
        else:
            self._answer(act)

    def _answer(self, raw: Raw) -> None:
        self.send_response(raw.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw.body)))
        for name, value in raw.headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw.body)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""
