"""One server for all tests of prompts, and prompts that ask it."""

import pytest

from filters.extract import Prompt
from filters.prompts.endpoint import Endpoint
from tests.endpoint import KEY, language_model


@pytest.fixture(scope="session")
def server():
    with language_model() as model:
        yield model


@pytest.fixture
def model(server):
    server.reset()
    yield server
    server.release.set()


@pytest.fixture
def prompt(model, tmp_path, monkeypatch):
    """Return a function (endpoint settings, `ask` settings) -> a Prompt on the server."""
    monkeypatch.setenv("TEST_KEY", KEY)

    def build(url=None, **settings):
        of_endpoint = {k: settings.pop(k) for k in list(settings) if k in Endpoint.__slots__}
        endpoint = {"key_env": "TEST_KEY", "backoff_s": 0.001, "attempts": 3, **of_endpoint}
        basic = {
            "name": "relevant",
            "template": "Is this a caption: {caption}? Answer yes or no.",
            "answers": {"yes": "keep", "no": "drop"},
            "model": "tiny",
            "calibrate": False,
            "cache": str(tmp_path / "prompts"),
        }
        return Prompt(endpoint=Endpoint(url=url or model.url, **endpoint), **basic | settings)

    return build


@pytest.fixture
def label(prompt):
    """Return a function (batch, settings) -> columns, by a prompt that was just loaded."""

    def run(batch, **settings):
        return prompt(**settings).load({}, threads=1)(batch)

    return run
