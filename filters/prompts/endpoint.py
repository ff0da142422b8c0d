"""Where questions go, how patiently, and at what price; no part of what an answer means."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from filters.prompts.reply import Reply

HIDDEN = "***"
LEAST = {"concurrency": 1, "attempts": 1, "price_prompt": 0, "price_completion": 0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server. Changing it changes no answer, and repeats no question.

    Attributes:
        url: Its base, such as `http://localhost:8000/v1`; `/chat/completions` is added.
        key_env: Name of the environment variable that holds the API key on every machine with a
            cell; `""` sends none.
        concurrency: Questions of one cell in flight.
        timeout_s: Longest wait for one answer.
        attempts: Tries of one question, where trying again may help.
        backoff_s: Longest wait after the first failure; it doubles with each further one. A
            `Retry-After` of the server counts if it is longer.
        patience_s: No try begins later than this after a batch has begun. Together with
            `timeout_s`, and added up over all prompts of a config, it has to stay below
            `cells.timeout`.
        price_prompt: Of a million tokens that are read.
        price_completion: Of a million tokens that are written.
    """

    url: str
    key_env: str = ""
    concurrency: int = 8
    timeout_s: float = 60.0
    attempts: int = 5
    backoff_s: float = 1.0
    patience_s: float = 180.0
    price_prompt: float = 0.0
    price_completion: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be asked, and addresses that carry a secret."""
        parts = urlsplit(self.url)
        secret = parts.username or parts.password or parts.query
        if parts.scheme not in {"http", "https"} or not parts.hostname or secret:
            shown = "one with credentials or a query" if secret else repr(self.url)
            raise ValueError(
                f"endpoint.url: got {shown}, expected http(s)://HOST[:PORT][/PATH]; a key goes "
                "into the environment, and the variable's name into key_env"
            )
        if self.key_env and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.key_env):
            raise ValueError(  # it may be the key itself
                "endpoint.key_env: got something that is no name, expected the name of an "
                "environment variable, never the key"
            )
        for name, least in LEAST.items():
            _require(name, getattr(self, name), f"at least {least}", getattr(self, name) >= least)
        for name in ("timeout_s", "backoff_s", "patience_s"):
            _require(name, getattr(self, name), "above 0", getattr(self, name) > 0)

    def key(self) -> str:
        """Return the API key, `""` if none is wanted.

        Raises:
            PermissionError: It is not in the environment, or cannot be sent in a header.
        """
        if not self.key_env:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key or not re.fullmatch(r"[\x21-\x7e]+", key):
            raise PermissionError(
                f"endpoint.key_env: got an environment variable {self.key_env} that is "
                f"{'no key' if key else 'not set'}, expected an API key in it; export it on every "
                "machine that runs a cell"
            )
        return key

    def cost(self, reply: Reply) -> float:
        """Return what an answer costs, in the currency of the prices."""
        read = reply.prompt_tokens * self.price_prompt
        return (read + reply.completion_tokens * self.price_completion) / 1e6


def hider(key: str) -> Callable[[str], str]:
    """Return a function that takes a key out of a text."""
    return (lambda text: text.replace(key, HIDDEN)) if key else str


def _require(name: str, value: float, rule: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"endpoint.{name}: got {value}, expected {rule}; correct it in the config")
