"""What an OpenAI-compatible endpoint answers, read without trust, and what it cost."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from filters.prompts.answers import bare

ANSWER_CHARS = 200  # of a completion are kept
TOP_TOKENS = 20  # the most that the protocol gives
TOKEN_CHARS = 64
TOKENS_READ = 8  # positions that are searched for the first word


class MalformedReplyError(ValueError):
    """An answer that is not of the protocol's shape."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One completion.

    Attributes:
        text: Its beginning.
        top: Log probabilities of the likeliest tokens where its first word begins; empty where the
            server gives none.
        prompt_tokens: Tokens that were read, as the server counts them.
        completion_tokens: Tokens that were written.
    """

    text: str
    top: Mapping[str, float]
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def dump(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def load(cls, text: str) -> "Reply":
        """Read what `dump` wrote."""
        return cls(**json.loads(text))


def parse(document: Any, *, clean: Callable[[str], str] = str) -> Reply:
    """Read the body of a chat completion.

    Args:
        document: Decoded JSON of any shape.
        clean: Applied to every text that is kept.

    Raises:
        MalformedReplyError: It is something else; the text says what.
    """
    choices = document.get("choices") if isinstance(document, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict) or "content" not in message:
        keys = sorted(map(str, document)) if isinstance(document, dict) else type(document).__name__
        raise MalformedReplyError(
            f"got an answer of {clean(str(keys))[:ANSWER_CHARS]}, expected choices with a message"
        )
    content = message["content"]
    if not isinstance(content, str | None):
        raise MalformedReplyError(f"got content of {type(content).__name__}, expected text")
    usage = document.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Reply(
        text=_sound(clean(content or ""))[:ANSWER_CHARS],
        top=_top(choice.get("logprobs"), clean),
        prompt_tokens=_count(counts.get("prompt_tokens")),
        completion_tokens=_count(counts.get("completion_tokens")),
    )


def _top(logprobs: Any, clean: Callable[[str], str]) -> dict[str, float]:
    """Return the likeliest tokens where the first word begins."""
    positions = logprobs.get("content") if isinstance(logprobs, dict) else None
    for position in positions[:TOKENS_READ] if isinstance(positions, list) else []:
        if isinstance(position, dict) and bare(str(position.get("token", ""))):
            top = position.get("top_logprobs")
            return likeliest(
                (_sound(clean(str(entry.get("token", "")))), entry.get("logprob"))
                for entry in (top if isinstance(top, list) else [])[:TOP_TOKENS]
                if isinstance(entry, dict)
            )
    return {}


def likeliest(pairs: Iterable[tuple[str, Any]]) -> dict[str, float]:
    """Return finite log probabilities by token; of tokens that read alike, of their sum."""
    found: dict[str, float] = {}
    for token, value in pairs:
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            continue
        name, logprob = token[:TOKEN_CHARS], max(-1e4, min(0.0, float(value)))
        if name in found:
            high, low = max(found[name], logprob), min(found[name], logprob)
            logprob = min(0.0, high + math.log1p(math.exp(low - high)))
        found[name] = logprob
    return found


def _sound(text: str) -> str:
    """Return a text that UTF-8 can hold: JSON may spell half a character, which nothing stores."""
    return text.encode("utf-8", "replace").decode()


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What was asked, and what it cost.

    Attributes:
        asked: Questions that the endpoint answered.
        cached: Questions that were answered without asking (again).
        failed: Questions without an answer.
        prompt_tokens: Read by the endpoint, for `asked`.
        completion_tokens: Written by it.
        cost: In the currency of the prices.
    """

    asked: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        """Add up."""
        return Usage(
            self.asked + other.asked, self.cached + other.cached, self.failed + other.failed,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens, self.cost + other.cost,
        )  # fmt: skip

    def __str__(self) -> str:
        """Say it on one line."""
        return (
            f"{self.asked} asked, {self.cached} from the cache, {self.failed} unanswered, "
            f"{self.prompt_tokens} + {self.completion_tokens} tokens, cost {self.cost:.6g}"
        )
