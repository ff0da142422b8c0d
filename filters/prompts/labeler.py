"""Replies to votes: the answer map and the calibration of one prompt at work.

Shape letters: K expected answers.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from filters.extract.base import Batch, Values
from filters.prompts.answers import Answers
from filters.prompts.asker import Asker
from filters.prompts.cache import Cache, cache_folder
from filters.prompts.calibration import calibrate
from filters.prompts.client import Client
from filters.prompts.reply import Reply, Usage
from filters.rules.base import ABSTAIN, DROP, KEEP

if TYPE_CHECKING:
    from filters.extract.prompt import Prompt

logger = logging.getLogger(__name__)

VOTES = {"keep": KEEP, "drop": DROP, "abstain": ABSTAIN}


class Labeler:
    """A prompt that is ready to score batches.

    A question without an answer leaves None in its row. With `calibrate`, so do answers with
    probabilities until the content-free questions were answered: a vote has one meaning, or none.
    """

    def __init__(self, prompt: "Prompt") -> None:
        """Read the key and open the cache.

        Raises:
            PermissionError: One of them cannot be had.
        """
        self._prompt, self._answers = prompt, Answers.of(prompt.answers)
        self._votes = [VOTES[vote] for vote in prompt.answers.values()]
        cache = Cache(cache_folder(prompt.cache))
        self._asker = Asker(prompt.name, prompt.model, Client(prompt.endpoint), cache)
        self._content_free: NDArray[np.float64] | None = None

    @property
    def usage(self) -> Usage:
        """What was asked so far, and what it cost."""
        return self._asker.usage

    def __call__(self, batch: Batch) -> dict[str, Values]:
        """Return the columns of a batch."""
        replies = self._asker.replies(self._prompt.questions(batch))
        rows = self._rows(replies)
        name = self._prompt.name
        return {
            column: [row[i] for row in rows]
            for i, column in enumerate((name, f"{name}_score", f"{name}_answer"))
        }

    def _rows(
        self, replies: Sequence[Reply | None]
    ) -> list[tuple[int | None, float | None, str | None]]:
        """Return vote, probability of keep and completion of each reply."""
        p = [self._answers.probabilities(reply.top) if reply else None for reply in replies]
        wanted = self._prompt.calibrate and any(p_K is not None for p_K in p)
        p_cf_K = self._calibration() if wanted else None
        return [
            self._row(reply, p_K, p_cf_K)
            if reply and not (wanted and p_cf_K is None and p_K is not None)
            else (None, None, None)
            for reply, p_K in zip(replies, p, strict=True)
        ]

    def _row(
        self, reply: Reply, p_K: NDArray[np.float64] | None, p_cf_K: NDArray[np.float64] | None
    ) -> tuple[int, float | None, str]:
        said = self._answers.index(reply.text)
        if p_K is None and said is not None:
            p_K = np.eye(len(self._votes))[said]
        elif p_K is not None and p_cf_K is not None:
            p_K = calibrate(p_K, p_cf_K)
        return ABSTAIN if said is None else self._vote(p_K), self._keep(p_K), reply.text

    def _vote(self, p_K: NDArray[np.float64] | None) -> int:
        """Return the vote of the likeliest answer; answers of different votes that tie abstain."""
        if p_K is None:
            return ABSTAIN
        votes = {self._votes[i] for i in np.flatnonzero(p_K == p_K.max())}
        return votes.pop() if len(votes) == 1 else ABSTAIN

    def _keep(self, p_K: NDArray[np.float64] | None) -> float | None:
        if p_K is None:
            return None
        return float(sum(p for p, vote in zip(p_K, self._votes, strict=True) if vote == KEEP))

    def _calibration(self) -> NDArray[np.float64] | None:
        """Return the mean probabilities on inputs without content, float64 [K]; None: no answer.

        Inputs on which no expected answer is likely do not count.
        """
        if self._content_free is None:
            replies = self._asker.replies(self._prompt.content_free())
            if None in replies:
                return None
            found = [self._answers.probabilities(reply.top) for reply in replies if reply]
            said = [p_K for p_K in found if p_K is not None]
            count = len(self._votes)
            self._content_free = np.mean(said, axis=0) if said else np.full(count, 1 / count)
            logger.info("prompt %s: content-free %s", self._prompt.name, self._content_free)
        return self._content_free
