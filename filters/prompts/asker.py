"""Questions to replies: from the cache, or many at a time from the endpoint."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from filters.prompts.cache import Cache
from filters.prompts.client import Client, UnansweredError, UnaskedError
from filters.prompts.question import Question
from filters.prompts.reply import Reply, Usage

logger = logging.getLogger(__name__)


class Asker:
    """A client with a cache in front.

    Attributes:
        usage: Of everything so far.
    """

    def __init__(self, name: str, model: str, client: Client, cache: Cache) -> None:
        """Take both.

        Args:
            name: For the log.
            model: Written beside the answers.
            client: Asks what the cache does not know.
            cache: Keeps what was answered.
        """
        self.usage = Usage()
        self._name, self._model, self._client, self._cache = name, model, client, cache

    def replies(self, questions: Sequence[Question]) -> list[Reply | None]:
        """Return a reply for each question, None where there was none.

        Questions with one key are asked once. A reply is kept as soon as it is there, a failure
        never. What came of it is logged in one line.
        """
        known = self._cache.get(list({q.key: None for q in questions}))
        todo = {q.key: q for q in questions if q.key not in known}
        asked, problems = self._ask(list(todo.values()))
        known |= asked
        found = [known.get(question.key) for question in questions]
        usage = Usage(
            asked=len(asked),
            cached=sum(reply is not None for reply in found) - len(asked),
            failed=sum(reply is None for reply in found),
            prompt_tokens=sum(reply.prompt_tokens for reply in asked.values()),
            completion_tokens=sum(reply.completion_tokens for reply in asked.values()),
            cost=sum(self._client.endpoint.cost(reply) for reply in asked.values()),
        )
        self.usage += usage
        logger.info("prompt %s: %s; in all %s", self._name, usage, self.usage)
        if problems:
            logger.warning(
                "prompt %s: %d of %d questions unanswered, their columns stay null; the first: %s",
                self._name, usage.failed, len(questions), min(problems, key=_is_unasked),
            )  # fmt: skip
        return found

    def _ask(
        self, questions: Sequence[Question]
    ) -> tuple[dict[bytes, Reply], list[UnansweredError]]:
        """Ask the endpoint; return the replies by key, and what went wrong."""
        replies: dict[bytes, Reply] = {}
        problems: list[UnansweredError] = []
        if not questions:
            return replies, problems
        endpoint = self._client.endpoint
        deadline = self._client.now() + endpoint.patience_s
        at_once = min(endpoint.concurrency, len(questions))
        with ThreadPoolExecutor(at_once, thread_name_prefix="prompt") as pool:
            futures = {pool.submit(self._one, q, deadline): q for q in questions}
            for future in as_completed(futures):
                question = futures[future]
                try:
                    reply = future.result()
                except UnansweredError as error:
                    problems.append(error)
                    continue
                replies[question.key] = reply
                self._cache.put(
                    question.key, reply, model=self._model, sample=question.sample,
                    cost=endpoint.cost(reply),
                )  # fmt: skip
        return replies, problems

    def _one(self, question: Question, deadline: float) -> Reply:
        return self._client.ask(question.body(), deadline=deadline)


def _is_unasked(error: UnansweredError) -> bool:
    return isinstance(error, UnaskedError)
