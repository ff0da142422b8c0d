"""From completions and token probabilities to one probability for each expected answer.

Shape letters: K expected answers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray

FLOOR = 1e-9  # servers write -9999 or -inf for what they call impossible
SHORTEST_START = 2  # letters of a token that begins a longer answer

OUTER = re.compile(r"^[\W_]+|[\W_]+$")
END = re.compile(r"[^\w\s'/]|\n")  # what ends the first clause of a completion


@dataclass(frozen=True, slots=True)
class Answers:
    """The K answers that are expected, in lower case."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, words: Mapping[str, str]) -> "Answers":
        """Take the keys of a map from answers to votes.

        Raises:
            ValueError: None votes, or one is no plain words or stands there twice.
        """
        plain = [clause(word) for word in words]
        for word, read in zip(words, plain, strict=True):
            if not read or read != " ".join(word.casefold().split()) or plain.count(read) > 1:
                raise ValueError(
                    f"answers: got {word!r}, expected words without punctuation, each once; "
                    "case does not matter"
                )
        if not {"keep", "drop"} & set(words.values()):
            raise ValueError(
                'answers: got none that votes, expected at least one "keep" or "drop", '
                'such as { yes = "keep", no = "drop" }'
            )
        return cls(tuple(plain))

    def index(self, completion: str) -> int | None:
        """Return which answer a completion gives; None if it gives another.

        Its first clause has to be the answer: `**Yes**, it does` says yes, `no idea` says nothing.
        """
        said = clause(completion)
        return self.words.index(said) if said in self.words else None

    def probabilities(self, top: Mapping[str, float]) -> NDArray[np.float64] | None:
        """Return the probability of each answer among the K, float64 [K], all above 0.

        Args:
            top: Log probabilities of the likeliest tokens where the completion begins. A token
                stands for the answer it is, or for the only one it begins. An answer that none
                stands for is taken to be as likely as the last of them: it is no likelier.

        Returns:
            None if no token stands for any answer.
        """
        p_K = np.zeros(len(self.words))
        for token, logprob in top.items():
            at = self._begun_by(bare(token))
            if at is not None:
                p_K[at] += exp(min(logprob, 0.0))
        if not p_K.any():
            return None
        least = exp(min(*top.values(), 0.0))
        p_K = np.maximum(np.where(p_K > 0, p_K, least), FLOOR)
        return p_K / p_K.sum()

    def _begun_by(self, token: str) -> int | None:
        if token in self.words:
            return self.words.index(token)
        begun = [i for i, word in enumerate(self.words) if word.startswith(token)]
        return begun[0] if len(begun) == 1 and len(token) >= SHORTEST_START else None


def bare(token: str) -> str:
    """Return a token in lower case without white space and punctuation around it."""
    return OUTER.sub("", token.casefold())


def clause(completion: str) -> str:
    """Return the first clause in lower case, single spaces.

    >>> clause("  **Not  sure**, since ..."), clause("Yes. It is.")
    ('not sure', 'yes')
    """
    text = OUTER.sub("", completion.casefold())
    return " ".join(END.split(text, maxsplit=1)[0].split())
