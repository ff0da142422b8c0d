"""The page over HTTP, for this machine and this sitting alone.

Any program here and any page in the browser can send requests to a local port. So: the path begins
with a random token; `Host` has to be ours, or a foreign name that resolves to this machine would
make us its origin; `Origin`, where there is one, has to be ours; a body is small JSON, declared as
such and as long as it says. No path of a request ever becomes the name of a file.
"""

import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, ClassVar

from pipeline.labelling.pictures import NoPictureError
from pipeline.labelling.session import LABELS, SKIP, Progress, Session

LOCALHOST = "127.0.0.1"
MOST_BODY_BYTES = 1024
PATIENCE_S = 20.0  # for a request to arrive
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # or the token would travel in it
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PARTS = {  # of the page: path -> file beside this one, type
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
}


@dataclass(frozen=True, slots=True)
class Show:
    """What the page asks for.

    Attributes:
        session: The sitting.
        caption: Of a choice, by position.
        picture: WebP of a choice, by position; raises NoPictureError.
        token: What every path begins with.
    """

    session: Session
    caption: Callable[[int], str]
    picture: Callable[[int], bytes]
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


class Server(ThreadingHTTPServer):
    """Serves one sitting on 127.0.0.1."""

    daemon_threads = True

    def __init__(self, show: Show, *, port: int = 0) -> None:
        """Take a port; 0 is any that is free.

        Raises:
            ValueError: The port is taken.
        """
        self.show = show
        try:
            super().__init__((LOCALHOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ValueError(
                f"label: got port {port}, expected a free one; leave --port out for any ({error})"
            ) from error

    @property
    def hosts(self) -> tuple[str, ...]:
        """What `Host` may be; localhost for those who come through a tunnel."""
        return f"{LOCALHOST}:{self.server_port}", f"localhost:{self.server_port}"

    @property
    def url(self) -> str:
        """The page; whoever has this may answer."""
        return f"http://{self.hosts[0]}/{self.show.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a browser hangs up whenever it likes."""


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: Server  # pyrefly: ignore[bad-override-mutable-attribute]
    timeout = PATIENCE_S
    server_version = "thresher"
    sys_version = ""
    assets: ClassVar[Mapping[str, tuple[bytes, str]]] = {
        path: (files("pipeline.labelling").joinpath(name).read_bytes(), kind)
        for path, (name, kind) in PARTS.items()
    }

    def do_GET(self) -> None:
        self._reply(self._get)

    def do_POST(self) -> None:
        self._reply(self._post)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the token is in every line."""

    def _reply(self, act: Callable[[str], tuple[bytes, str]]) -> None:
        try:
            status, (body, kind) = HTTPStatus.OK, act(self._path())
        except _RefusedError as refused:
            status, body, kind = (
                refused.status,
                f"{refused}\n".encode(),
                "text/plain; charset=utf-8",
            )
        self.close_connection = True  # what is left of a refused body is never read
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _path(self) -> str:
        """Return what follows the token, if the request may be made at all."""
        if self.headers.get_all("Host") not in [[host] for host in self.server.hosts]:
            raise _RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "wrong host")
        origins = [f"http://{host}" for host in self.server.hosts]
        if self.headers.get("Origin", origins[0]) not in origins:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "wrong origin")
        token, slash, path = self.path.removeprefix("/").partition("/")
        ours = self.server.show.token
        if not slash or not hmac.compare_digest(token.encode("utf-8", "replace"), ours.encode()):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "wrong token: open the address as printed")
        return path

    def _get(self, path: str) -> tuple[bytes, str]:
        if path in self.assets:
            return self.assets[path]
        if path == "pair":
            return self._state()
        folder, _, number = path.partition("/")
        if folder != "picture":
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no such page")
        try:
            return self.server.show.picture(self._position(number)), "image/webp"
        except NoPictureError as error:
            raise _RefusedError(HTTPStatus.NOT_FOUND, str(error)) from error

    def _post(self, path: str) -> tuple[bytes, str]:
        request = self._body()
        session = self.server.show.session
        if path == "undo":
            return self._write(session.undo)
        if path != "answer":
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no such page")
        position, what = self._position(str(request.get("position"))), request.get("answer")
        if not isinstance(what, str) or what not in (*LABELS, SKIP):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "answer: expected keep, drop or skip")
        return self._write(lambda: session.answer(position, what))

    def _write(self, act: Callable[[], Progress]) -> tuple[bytes, str]:
        try:
            act()
        except (OSError, ValueError) as error:
            raise _RefusedError(HTTPStatus.INSUFFICIENT_STORAGE, f"not saved: {error}") from error
        return self._state()

    def _state(self) -> tuple[bytes, str]:
        """Return what the page shows next, as JSON; the caption is text, whatever it looks like."""
        progress = self.server.show.session.progress()
        at = progress.position
        told = asdict(progress) | {"caption": None if at is None else self.server.show.caption(at)}
        return json.dumps(told).encode(), "application/json"

    def _position(self, text: str) -> int:
        total = len(self.server.show.session.choices)
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) < total):  # noqa: PLR2004
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"expected a position below {total}")
        return int(text)

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if len(length) > 9 or int(length) > MOST_BODY_BYTES:  # noqa: PLR2004
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {MOST_BODY_BYTES} bytes"
            )
        if self.headers.get_content_type() != "application/json":
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "expected JSON") from error
        if not isinstance(body, dict):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "expected a JSON object")
        return body
