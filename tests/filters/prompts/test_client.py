"""A real server that is slow, busy, broken and wrong: what is tried again, and what never shows."""

import base64
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from filters.extract import Batch
from filters.prompts.breaker import IN_A_ROW, Breaker
from filters.prompts.client import Client, UnansweredError
from filters.prompts.endpoint import Endpoint
from tests.endpoint import KEY, Hold, Raw, Reset, Says

BODY = {"model": "tiny", "messages": []}
FAR = 1e9  # a deadline


def batch(*captions):
    return Batch([], [], captions)


@pytest.fixture
def client(model, monkeypatch):
    monkeypatch.setenv("TEST_KEY", KEY)
    made = []

    def build(**settings):
        basic = {"key_env": "TEST_KEY", "backoff_s": 0.001, "attempts": 3}
        made.append(Client(Endpoint(url=model.url, **basic | settings)))
        return made[-1]

    yield build
    for each in made:
        each.close()


def busy(seconds):
    return Raw(b"{}", 429, (("Retry-After", str(seconds)),))


@pytest.mark.parametrize(
    "faults",
    [
        (busy(0), busy(0)),
        (Raw(b"oops", 500), Raw(b"", 503)),
        (Reset(), Reset()),
        (Raw(b"{}", 529), Reset()),
    ],
    ids=["429", "5xx", "reset", "mixed"],
)
def test_what_passes_is_tried_again(model, client, faults):
    model.first(*faults)
    assert client().ask(BODY, deadline=FAR).text == "Yes"
    assert len(model.asked) == 3
    assert set(model.paths) == {"/v1/chat/completions"}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_is_refused_is_not(model, client, status):
    model.first(Raw(b'{"error": "no"}', status))
    with pytest.raises(UnansweredError, match=f"got status {status} .*expected a chat completion"):
        client().ask(BODY, deadline=FAR)
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"<html>", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "an answer of list"),
        (b'{"error": 1}', r"an answer of \['error'\]"),
        (b'{"choices": []}', "expected choices with a message"),
        (b'{"choices": [{"text": "yes"}]}', "expected choices with a message"),
        (b'{"choices": [{"message": {}}]}', "expected choices with a message"),
        (b'{"choices": [{"message": {"content": 3}}]}', "got content of int"),
        (b" " * (5 * 2**20), "more than 4194304 bytes"),
    ],
)
def test_malformed_answers_are_no_answers(model, client, body, what):
    model.first(Raw(body))
    with pytest.raises(UnansweredError, match=what):
        client().ask(BODY, deadline=FAR)
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "logprobs",
    [
        5, [], {}, {"content": 7}, {"content": [3]}, {"content": [{"token": "Yes"}]},
        {"content": [{"token": "Yes", "top_logprobs": [1, {"token": 2, "logprob": "x"}]}]},
    ],
)  # fmt: skip
def test_probabilities_of_another_shape_are_none(model, client, logprobs):
    choice = {"message": {"content": "Yes"}, "logprobs": logprobs}
    model.first(Raw(json.dumps({"choices": [choice], "usage": {"prompt_tokens": "9"}}).encode()))
    reply = client().ask(BODY, deadline=FAR)
    assert (reply.text, dict(reply.top), reply.prompt_tokens) == ("Yes", {}, 0)


def test_the_word_counts_not_the_blank_before_it(model, client):
    likely = [{"token": "Yes", "logprob": -0.5}, {"token": "No", "logprob": float("-inf")}]
    content = [{"token": "\n"}, {"token": "**"}, {"token": "Yes", "top_logprobs": likely}]
    choice = {"message": {"content": "\n**Yes**"}, "logprobs": {"content": content}}
    model.first(Raw(json.dumps({"choices": [choice]}).encode()))
    assert client().ask(BODY, deadline=FAR).top == {"Yes": -0.5, "No": -1e4}


def test_a_wait_that_the_server_asks_for_and_nobody_has(model, client):
    """The deadline is in a minute, the server wants an hour: given up without waiting."""
    model.plan = lambda _body: busy(3600)
    asks = client()
    with pytest.raises(UnansweredError, match="got status 429"):
        asks.ask(BODY, deadline=asks.now() + 60)
    assert len(model.asked) == 1


def test_a_server_that_does_not_answer_in_time(model, client):
    model.plan = lambda _body: Hold()
    with pytest.raises(UnansweredError, match=r"ReadTimeoutError.*, tried 2 times"):
        client(timeout_s=0.05, attempts=2).ask(BODY, deadline=FAR)


def test_the_key_is_sent_and_never_shown(model, client, caplog, tmp_path, label):
    """An endpoint that says it back, in errors and answers, at every level of logging."""
    caplog.set_level("DEBUG")
    echo = json.dumps({"error": f"Bearer {KEY} is wrong"}).encode()
    model.first(Raw(echo, 401), Raw(echo, 400), Says(f"Yes {KEY}", ((f"Yes{KEY}", 0.9),)))
    asks, errors = client(), []
    for _ in range(2):
        with pytest.raises(UnansweredError) as caught:
            asks.ask(BODY, deadline=FAR)
        errors.append(str(caught.value))
    found = label(batch("a kite"))
    label(batch("a kite", "another"), url="http://127.0.0.1:1")
    assert model.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert "*** is wrong" in errors[0]
    assert found["relevant_answer"] == ["Yes ***"]
    kept = b"".join(p.read_bytes() for p in (tmp_path / "prompts").iterdir())
    assert b"Yes ***" in kept
    assert "unanswered" in caplog.text
    shown = [*errors, caplog.text, repr(asks), repr(asks.endpoint), str(found)]
    assert not any(KEY in text for text in shown)
    assert KEY.encode() not in kept


def test_through_the_proxy_of_the_environment(model, monkeypatch):
    """The server stands for a proxy: it is asked for the whole address, and told who asks."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", model.url.replace("http://", "http://me:p%40ss@"))
    there = Endpoint(url="http://llm.invalid/v1", attempts=1)
    assert Client(there).ask(BODY, deadline=FAR).text == "Yes"
    assert model.paths == ["http://llm.invalid/v1/chat/completions"]
    login = model.headers[0]["proxy-authorization"].removeprefix("Basic ")
    assert base64.b64decode(login) == b"me:p@ss"
    assert Client(Endpoint(url=model.url)).ask(BODY, deadline=FAR).text == "Yes"
    assert model.paths[1] == "/v1/chat/completions"
    monkeypatch.setenv("no_proxy", "127.0.0.9")
    with pytest.raises(UnansweredError, match="NewConnectionError"):
        Client(Endpoint(url="http://127.0.0.9:9", attempts=1)).ask(BODY, deadline=FAR)


@pytest.mark.parametrize("value", ["", "  ", "line\nbreak", "käse"])
def test_a_key_that_is_not_there_or_cannot_be_sent(monkeypatch, value):
    monkeypatch.setenv("TEST_KEY", value)
    with pytest.raises(PermissionError, match="environment variable TEST_KEY that is") as caught:
        Client(Endpoint(url="http://localhost:1/v1", key_env="TEST_KEY"))
    assert "line" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"url": "localhost:8000"}, "got 'localhost:8000', expected http"),
        ({"url": f"https://me:{KEY}@host/v1"}, "got one with credentials"),
        ({"url": f"https://host/v1?key={KEY}"}, "got one with credentials"),
        ({"url": "http://host", "key_env": KEY}, "expected the name of an environment variable"),
        ({"url": "http://host", "concurrency": 0}, "concurrency: got 0, expected at least 1"),
        ({"url": "http://host", "timeout_s": 0}, "timeout_s: got 0, expected above 0"),
        ({"url": "http://host", "price_prompt": -1}, "price_prompt: got -1, expected at least 0"),
    ],
)
def test_settings_that_make_no_sense(settings, what):
    with pytest.raises(ValueError, match=what) as caught:
        Endpoint(**settings)
    assert KEY not in str(caught.value)


def test_no_more_at_once_than_is_allowed(model, label):
    model.plan = lambda _body: Hold()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(label, batch(*"abcdefghij"), concurrency=3)
        with model.changed:
            assert model.changed.wait_for(lambda: model.at_once == 3, timeout=60)
        model.release.set()
        assert found.result()["relevant"] == [1] * 10
    assert model.most_at_once == 3
    assert len(model.asked) == 10


@pytest.fixture
def refusing():
    """Return the URL of a port that nobody listens on, and keeps it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


def test_a_dead_endpoint_is_waited_for_once(refusing, label, caplog):
    found = label(batch(*map(str, range(64))), url=refusing, concurrency=1, attempts=2)
    assert found == {c: [None] * 64 for c in ("relevant", "relevant_score", "relevant_answer")}
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "64 of 64 questions unanswered" in warning
    assert "NewConnectionError" in warning
    assert "tried 2 times" in warning


def test_a_server_that_fails_on_everything_is_left_alone(model, label):
    model.plan = lambda _body: Raw(b"", 500)
    label(batch(*map(str, range(64))), concurrency=1, attempts=1)
    assert len(model.asked) == IN_A_ROW


def test_one_question_that_is_refused_costs_one_row(model, label):
    """Answers in between: the endpoint lives, however many of its questions it does not like."""

    def plan(body):
        number = int(body["messages"][0]["content"].split()[4].strip("?"))
        return Raw(b"", 500 if number % 4 else 400) if number % 2 else Says("No")

    model.plan = plan
    found = label(batch(*map(str, range(20))), concurrency=1, attempts=1)
    assert found["relevant"] == [0, None] * 10
    assert len(model.asked) == 20


def test_the_breaker_lets_one_through_after_a_while():
    time = [0.0]
    breaker = Breaker(reset_s=30, clock=lambda: time[0])
    for _ in range(IN_A_ROW):
        assert breaker.admits()
        breaker.given_up()
    assert breaker.is_open
    assert not breaker.admits()
    time[0] = 30.0
    assert breaker.admits()
    assert not breaker.admits()
    breaker.given_up()
    time[0] = 59.9
    assert not breaker.admits()
    time[0] = 60.0
    assert breaker.admits()
    breaker.answered()
    assert [breaker.admits() for _ in range(3)] == [True] * 3
    breaker.given_up(unreachable=True)
    assert not breaker.admits()


def test_half_a_character_is_replaced_and_the_batch_kept(model, label):
    body = b'{"choices": [{"message": {"content": "Yes \\ud800"}}]}'
    model.plan = lambda _body: Raw(body)
    found = label(batch("a", "b"))
    assert found["relevant_answer"] == ["Yes ?", "Yes ?"]
    assert len(model.asked) == 2
