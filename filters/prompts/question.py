"""One question: the request that is sent, and the key of its answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from filters.prompts.cache import key_of

OWN = ("messages", "model", "n", "stream")  # of a request; not to be overridden


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """What decides an answer besides the question itself.

    Attributes:
        model: As the server knows it.
        system: System message, `""` for none.
        max_tokens: Of an answer; 0 leaves it to the server.
        top_logprobs: Likeliest tokens that are asked for; 0 asks for the text alone.
        options: Further values of the request.
        picture: How pictures are sent, `""` for none; part of the key, as pictures are not.
    """

    model: str
    system: str = ""
    max_tokens: int = 8
    top_logprobs: int = 20
    options: Mapping[str, Any] = field(default_factory=dict)
    picture: str = ""

    def request(self, text: str, picture: str = "") -> dict[str, Any]:
        """Return the body of a chat completion.

        Args:
            text: The question.
            picture: URL of the picture, `""` without one.
        """
        content: Any = text
        if picture:
            image = {"type": "image_url", "image_url": {"url": picture}}
            content = [image, {"type": "text", "text": text}]
        system = [{"role": "system", "content": self.system}] if self.system else []
        body = {
            "model": self.model,
            "messages": [*system, {"role": "user", "content": content}],
            "temperature": 0,
        }
        if self.max_tokens:
            body["max_tokens"] = self.max_tokens
        if self.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return body | dict(self.options)

    def question(
        self, text: str, *, sample: str = "", picture: Callable[[], str] | None = None
    ) -> "Question":
        """Return a question whose picture is made when it is asked.

        Args:
            text: The question.
            sample: What identifies the picture.
            picture: Makes the picture's URL; None without one.
        """
        key = key_of([self.request(text), self.picture], sample)
        return Question(key, sample, text, partial(self._body, text, picture))

    def _body(self, text: str, picture: Callable[[], str] | None) -> dict[str, Any]:
        return self.request(text, picture() if picture else "")


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent, and under which key the answer is kept.

    Attributes:
        key: 16 bytes.
        sample: What identifies the picture, `""` without one.
        text: What is asked.
        body: Makes the request.
    """

    key: bytes
    sample: str
    text: str
    body: Callable[[], dict[str, Any]]
