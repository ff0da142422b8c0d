"""The page over real HTTP: answers arrive, and whoever has not the token gets nothing."""

import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.folder import Folder
from pipeline.labelling.sitting import begin, next_step, told
from pipeline.voted import labels_of
from tests.pipeline.labelling.conftest import HOSTILE, ROWS

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def server(run):
    """A page over every pair, on a free port."""
    found = begin(run.url, count=ROWS, seed=0, out="", port=0)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def ask(server, method, path, body=None, *, token=None, raw=False, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    start = "" if raw else f"/{server.show.token if token is None else token}/"
    connection.request(method, start + path, body, headers)
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    return reply, data


def state(server):
    return json.loads(ask(server, "GET", "pair")[1])


def post(server, path, body, **headers):
    return ask(server, "POST", path, json.dumps(body), **{**JSON, **headers})


def labels(run):
    if not run.exists("labels.parquet"):
        return []
    return pq.read_table(run.path("labels.parquet")).to_pylist()


def test_pairs_are_answered_skipped_and_taken_back(server, run):
    assert labels(run) == []
    assert state(server)["position"] == 0
    reply, data = post(server, "answer", {"position": 0, "answer": "keep"})
    assert (reply.status, json.loads(data)["position"], json.loads(data)["answered"]) == (200, 1, 1)
    post(server, "answer", {"position": 1, "answer": "drop"})
    post(server, "answer", {"position": 2, "answer": "skip"})
    choices = server.show.session.choices
    assert {row["uid"]: row["label"] for row in labels(run)} == {
        choices[0].uid: 1, choices[1].uid: 0,
    }  # fmt: skip
    post(server, "undo", {})
    assert json.loads(post(server, "undo", {})[1])["position"] == 1
    assert [row["chosen"] for row in labels(run)] == ["random"]
    assert told(server.show.session).startswith(f"1 of {ROWS - 3} labelled")


def test_a_finished_sitting_says_so(server):
    for position in range(ROWS - 3):
        post(server, "answer", {"position": position, "answer": "skip"})
    assert (state(server)["position"], state(server)["caption"]) == (None, None)


def test_the_page_is_inert_without_its_own_script(server):
    for path, kind in (("", "text/html"), ("page.css", "text/css"), ("page.js", "text/javascript")):
        reply, data = ask(server, "GET", path)
        assert (reply.status, reply.headers.get_content_type()) == (200, kind)
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert b"innerHTML" not in data
        assert b"//" not in data.replace(b"<!doctype", b"")  # nothing comes from elsewhere


def test_captions_are_data(server, decisions):
    uid = decisions[0].column("uid")[0].as_py()
    position = next(i for i, c in enumerate(server.show.session.choices) if c.uid == uid)
    for before in range(position):
        post(server, "answer", {"position": before, "answer": "skip"})
    reply, data = ask(server, "GET", "pair")
    assert reply.headers.get_content_type() == "application/json"
    caption = json.loads(data)["caption"]
    assert caption == HOSTILE.replace("\u202e", "\ufffd")


def test_pictures_are_encoded_again_and_bounded(server, decisions):
    uid = decisions[0].column("uid")[1].as_py()
    bad = next(i for i, c in enumerate(server.show.session.choices) if c.uid == uid)
    reply, data = ask(server, "GET", f"picture/{(bad + 1) % 10}")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "image/webp")
    image = Image.open(io.BytesIO(data))
    assert (image.format, max(image.size)) == ("WEBP", 1024)
    reply, data = ask(server, "GET", f"picture/{bad}")
    assert (reply.status, data) == (404, b"cannot be decoded\n")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Content-Length": "-1"}, 411),
        ({"Content-Length": "99999999999999"}, 413),
    ],
)
def test_requests_of_others_are_refused(server, run, headers, status):
    body = {"position": 0, "answer": "keep"}
    reply, _ = post(server, "answer", body, **headers)
    assert reply.status == status
    assert labels(run) == []
    assert post(server, "answer", body)[0].status == 200


@pytest.mark.parametrize("token", ["", "x", "%00", "..", "\xff" * 32])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_token_opens_nothing(server, run, token, method):
    for path in ("", "pair", "answer", "page.js"):
        token_path = f"/{urllib.parse.quote(token, safe='%')}/{path}"
        reply, data = ask(server, method, token_path, "{}", raw=True, **JSON)
        assert (reply.status, data) == (403, b"wrong token: open the address as printed\n")
    assert ask(server, method, "/", "{}", raw=True, **JSON)[0].status == 403
    assert labels(run) == []


@pytest.mark.parametrize(
    "path",
    [
        "../page.html", "..%2f..%2fconfig.toml", "page.html", "server.py", "picture/../0",
        "picture/", "picture/-1", "picture/57", "picture/1e1", "picture/\u0661",
        "picture//etc/passwd", "picture/0/../../etc/passwd", "/etc/passwd",
        "picture/" + "9" * 400, "pair/", "answer",
    ],
)  # fmt: skip
def test_no_path_is_a_file(server, path):
    reply, data = ask(server, "GET", urllib.parse.quote(path, safe="/%."))
    assert reply.status == 404
    assert data in (b"no such page\n", f"expected a position below {ROWS - 3}\n".encode())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"position": 0, "answer": "maybe"}', 400),
        ('{"position": 0, "answer": 1}', 400),
        ('{"position": 0}', 400),
        ('{"position": 0, "answer": ["keep"]}', 400),
        ('{"position": 99, "answer": "keep"}', 404),
        ('{"position": -1, "answer": "keep"}', 404),
        ('{"position": 0.5, "answer": "keep"}', 404),
        ('{"position": true, "answer": "keep"}', 404),
        ('{"answer": "keep"}', 404),
        ("[]", 400),
        ("", 400),
        ("\xff", 400),
        ("[" * 1000, 400),
        ('{"position": 0, "answer": "keep", "x": "' + "x" * 100_000 + '"}', 413),
    ],
)
def test_a_body_is_what_it_has_to_be(server, run, body, status):
    reply, _ = ask(server, "POST", "answer", body.encode("latin-1"), **JSON)
    assert reply.status == status
    assert labels(run) == []
    assert state(server)["position"] == 0


def test_a_silent_client_holds_up_nobody(server):
    with socket.create_connection(("127.0.0.1", server.server_port)) as idle:
        idle.sendall(b"POST /")
        assert state(server)["position"] == 0


def test_what_cannot_be_saved_is_said(server, tmp_path):
    (tmp_path / "run").rename(tmp_path / "away")
    (tmp_path / "run").write_text("in the way")
    reply, data = post(server, "answer", {"position": 0, "answer": "keep"})
    assert reply.status == 507
    assert data.startswith(b"not saved: run folder: got")
    assert state(server)["position"] == 0


def test_only_this_machine_is_listened_to(server):
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.show.token) >= 32
    assert server.show.token not in repr(server.show)


def test_nothing_labelled_is_nothing_to_use(server, run):
    assert next_step(run.url, server.show.session) == ""
    assert not run.exists("labels.parquet")
    post(server, "answer", {"position": 0, "answer": "keep"})
    post(server, "undo", {})
    assert labels_of(run) is None


def test_what_cannot_be_labelled_is_refused(run, server, tmp_path):
    with pytest.raises(ValueError, match=r"without subset/scores\.parquet.*thresher curate"):
        begin(str(tmp_path / "nothing"), count=1, seed=0, out="", port=0)
    with pytest.raises(ValueError, match=r"label: got port .*--port"):
        begin(run.url, count=1, seed=0, out="", port=server.server_port)


def test_ctrl_c_ends_with_what_comes_next(run, tmp_path):
    out = tmp_path / "mine.parquet"
    code = "import signal, sys; from pipeline.labelling.command import label\n"
    # Whoever runs tests in the background of a shell has it ignored, and children inherit that.
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "label(sys.argv[1], count=4, out=sys.argv[2])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, run.url, str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    stdout_line = process.stdout.readline()
    assert stdout_line.startswith("open http://127.0.0.1:")
    url = stdout_line.split()[1]
    request = urllib.request.Request(url + "answer", b'{"position": 0, "answer": "drop"}', JSON)
    assert urllib.request.urlopen(request).status == 200
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
    assert f"1 of 4 labelled; {out} has 0 keep, 1 drop, 1 of them random" in stdout
    assert f"--set ensemble.labels={out}" in stdout
    assert Folder(str(tmp_path)).exists("mine.parquet")
