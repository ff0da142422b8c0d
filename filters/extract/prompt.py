"""Prompted labeling functions: what a language model answers to a question about the pair."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import Batch, Column, Extractor, Score
from filters.prompts.answers import Answers
from filters.prompts.calibration import CONTENT_FREE
from filters.prompts.endpoint import Endpoint
from filters.prompts.picture import Encoding, blank, data_url
from filters.prompts.question import OWN, Asking, Question
from filters.prompts.template import FIELDS, fields_of, filled, values_of

REDUCED_SIDE = 320  # pictures that cells reduce keep so much; a longer side needs the original
BLANK_SAMPLE = "blank"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt(Extractor):
    """One question to a language model or a vision-language model (arXiv:2205.02318).

    Columns, where `name` is the one below: `name`, the vote (1 keep, 0 drop, -1 abstain);
    `name_score`, the probability of keep among the expected answers; `name_answer`, the completion.
    All are null where there was no answer, so that rules abstain; such a question is asked again
    whenever its pair is scored again.

    Attributes:
        name: Of the columns; unique.
        template: The question, with the fields {caption}, {width}, {height}.
        answers: Vote for each answer that is expected; any other abstains. They should differ in
            their first token, which is where probabilities are read.
        model: Name of the model on the server.
        endpoint: Where it is; changes no answer, so not part of what the columns are known by.
        side: Longest side of the picture that goes along, in pixels; 0 asks of the text alone.
        encoding: Of that picture.
        calibrate: Divide the answers' probabilities by those on inputs without content, where the
            server gives probabilities.
        system: System message, `""` for none.
        max_tokens: Of an answer; 0 leaves it to the server.
        top_logprobs: Likeliest tokens to ask for, at most 20; 0 if the server knows no logprobs:
            an answer then has probability 1.
        options: Further values of the request, such as `chat_template_kwargs`.
        cache: Folder of the answers, on a local disk; `""` is `prompts` in $THRESHER_CACHE.
    """

    kind: Literal["prompt"] = "prompt"
    name: str
    template: str
    answers: dict[str, Literal["keep", "drop", "abstain"]]
    model: str
    endpoint: Endpoint = field(metadata={"identity": False})
    side: int = 0
    encoding: Encoding = "jpeg"
    calibrate: bool = True
    system: str = ""
    max_tokens: int = 8
    top_logprobs: int = 20
    options: dict[str, Any] = field(default_factory=dict)
    cache: str = field(default="", metadata={"identity": False})

    def __post_init__(self) -> None:
        """Refuse what cannot be asked, or would say the same of every pair."""
        plain = re.fullmatch(r"[a-z][a-z0-9_]*", self.name)
        _require("name", self.name, "a name for columns, such as 'relevant'", plain)
        _require("model", self.model, "the name of a model", self.model.strip())
        says = "a field or, with side, a picture: else every pair is asked the same"
        _require("template", self.template[:80], says, fields_of(self.template) or self.side)
        Answers.of(self.answers)
        _require("side", self.side, "0 to 4096", 0 <= self.side <= 4096)  # noqa: PLR2004
        _require("max_tokens", self.max_tokens, "at least 0", self.max_tokens >= 0)
        _require("top_logprobs", self.top_logprobs, "0 to 20", 0 <= self.top_logprobs <= 20)  # noqa: PLR2004
        for option in OWN:
            _require("options", option, f"none of {', '.join(OWN)}", option not in self.options)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What it writes."""
        of = f"of prompt {self.name}"
        return (
            Column(self.name, "int32", "", "{-1, 0, 1}", f"vote {of}: keep, drop, -1 abstain"),
            Column(f"{self.name}_score", "float32", "", "[0, 1]", f"probability of keep {of}"),
            Column(f"{self.name}_answer", "string", "", "", f"completion {of}"),
        )

    @property
    def pixels(self) -> bool:
        """Whether it looks at pictures, or at their size."""
        return bool(self.side or {"width", "height"} & fields_of(self.template))

    @property
    def exact(self) -> bool:
        """Whether it reads `Batch.originals`."""
        return self.side > REDUCED_SIDE

    @property
    def asking(self) -> Asking:
        """What decides an answer besides the pair."""
        return Asking(
            model=self.model, system=self.system, max_tokens=self.max_tokens,
            top_logprobs=self.top_logprobs, options=self.options,
            picture=f"{self.encoding}-{self.side}" if self.side else "",
        )  # fmt: skip

    def load(self, weights: Mapping[str, Path], *, threads: int) -> Score:
        """Read the key, open the cache; the endpoint is not asked before the first batch.

        Raises:
            PermissionError: The key is not in the environment, or the cache cannot be written to.
        """
        del weights, threads
        from filters.prompts.labeler import Labeler

        return Labeler(self)

    def questions(self, batch: Batch) -> list[Question]:
        """Return the question about each pair of a batch.

        Raises:
            ValueError: It needs originals that the batch has not.
        """
        pictures = batch.originals if self.exact else batch.pictures
        if self.side and len(pictures) != len(batch):
            raise ValueError(
                f"prompt {self.name}: got {len(pictures)} originals for {len(batch)} pairs, "
                f"expected one each for side {self.side}; lower it to {REDUCED_SIDE}"
            )
        return [
            self._question(batch, i, pictures[i] if self.side else None) for i in range(len(batch))
        ]

    def _question(self, batch: Batch, i: int, picture: NDArray[np.uint8] | None) -> Question:
        values = values_of(batch.captions[i], batch.sizes[i] if batch.sizes else (0, 0))
        if picture is None:
            return self.question(values)
        encoded = ("picture_url", i, self.side, self.encoding, self.exact)
        url = partial(batch.once, encoded, partial(self.picture_url, picture))
        sample = batch.uids[i].hex() if batch.uids else digest(url())
        return self.question(values, sample=sample, picture=url)

    def question(
        self,
        values: Mapping[str, str],
        *,
        sample: str = "",
        picture: Callable[[], str] | None = None,
    ) -> Question:
        """Return the question about one pair.

        Args:
            values: Of the template's fields.
            sample: What the picture is known by: its uid in hex, or a digest. Without a picture
                the text is all there is to know.
            picture: Makes the picture's URL when the question is sent.
        """
        text = filled(self.template, values)
        return self.asking.question(text, sample=sample if self.side else "", picture=picture)

    def picture_url(self, picture: NDArray[np.uint8]) -> str:
        """Return a picture, uint8 [height, width, 3], as it is sent."""
        return data_url(picture, side=self.side, encoding=self.encoding)

    def content_free(self) -> list[Question]:
        """Return the questions that calibration asks, each once: every field says nothing."""
        nothing = partial(self.picture_url, blank(self.side)) if self.side else None
        asked = [
            self.question(dict.fromkeys(FIELDS, text), sample=BLANK_SAMPLE, picture=nothing)
            for text in CONTENT_FREE
        ]
        return list({question.key: question for question in asked}.values())


def digest(text: str) -> str:
    """Identify a picture by its encoded bytes."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _require(name: str, value: object, rule: str, holds: object) -> None:
    if not holds:
        raise ValueError(f"prompt.{name}: got {value!r}, expected {rule}; correct it in the config")
