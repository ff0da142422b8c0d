"""Who answers a whole pool's questions: an endpoint asked from Ray, or vLLM inside of Ray."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from filters.extract import Prompt
from filters.prompts.answers import bare
from filters.prompts.client import Client, UnansweredError
from filters.prompts.endpoint import Endpoint
from filters.prompts.reply import ANSWER_CHARS, MalformedReplyError, Reply, likeliest

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Backend:
    """Who answers.

    Attributes:
        config: A `ProcessorConfig` of `ray.data.llm`.
        request: From a chat completion request to what its first stage reads.
        reply: From what its last stage writes to a reply; may raise `MalformedReplyError`.
    """

    config: Any
    request: Callable[[Row], Row]
    reply: Callable[[Row], Reply]


def over_http(prompt: Prompt, **settings: Any) -> Backend:
    """Return the backend that asks the prompt's endpoint from Ray actors.

    Each actor has `endpoint.concurrency` questions in flight, with the client that passes use: a
    question without an answer costs no other, which is not so with Ray's own.

    Args:
        prompt: The key is read from the environment of each actor, and never given to Ray.
        settings: Of `ray.data.llm.HttpRequestProcessorConfig`, such as `concurrency` (actors).

    Raises:
        PermissionError: The key is not in the environment here.
    """
    from ray.data.llm import HttpRequestProcessorConfig

    endpoint = prompt.endpoint
    endpoint.key()
    config = HttpRequestProcessorConfig(
        url=endpoint.url, session_factory=partial(Session, endpoint), **settings
    )
    return Backend(config, lambda body: {"payload": body}, session_reply)


def in_vllm(prompt: Prompt, **settings: Any) -> Backend:
    """Return the backend that runs vLLM itself, on the GPUs of the Ray cluster.

    Args:
        prompt: Its `model` names the answers in the cache; by default it is loaded, too.
        settings: Of `ray.data.llm.vLLMEngineProcessorConfig`, such as `concurrency`,
            `engine_kwargs`, and `model_source` where that is not the prompt's `model`.

    Raises:
        ValueError: The prompt has options that vLLM's engine does not take this way.
    """
    from ray.data.llm import vLLMEngineProcessorConfig

    if prompt.options:
        raise ValueError(
            f"prompt {prompt.name}: got options {sorted(prompt.options)}, expected none for vLLM "
            "in this process; serve the model and use over_http"
        )
    defaults: dict[str, Any] = {
        "model_source": prompt.model,
        "should_continue_on_error": True,
        "prepare_multimodal_stage": bool(prompt.side),
    }
    return Backend(vLLMEngineProcessorConfig(**defaults | settings), engine_request, engine_reply)


class Session:
    """What Ray's HTTP stage takes for an aiohttp session: our client, in threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Take the endpoint; the client is this process's."""
        self._endpoint = endpoint
        self._pool = ThreadPoolExecutor(endpoint.concurrency, thread_name_prefix="prompt")

    async def __aenter__(self) -> "Session":
        """Open; nothing to do."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def post(self, _url: str, *, data: str, **_more: Any) -> "asyncio.Future[Answered]":
        """Ask at once; Ray waits for the answer later."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._pool, _asked, self._endpoint, data)


@dataclass(frozen=True, slots=True)
class Answered:
    """What Ray's HTTP stage takes for a response: a reply, or why there is none."""

    document: Row
    status: int = 200

    async def __aenter__(self) -> "Answered":
        """Open; it is read already."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close; nothing to do."""

    async def json(self) -> Row:
        """Return it."""
        return self.document


def _asked(endpoint: Endpoint, data: str) -> Answered:
    client = _client(endpoint)
    try:
        reply = client.ask(json.loads(data), deadline=client.now() + endpoint.patience_s)
    except UnansweredError as error:
        return Answered({"reply": "", "problem": str(error)})
    return Answered({"reply": reply.dump(), "problem": ""})


@cache
def _client(endpoint: Endpoint) -> Client:
    return Client(endpoint)  # its breaker outlives a batch


def session_reply(row: Row) -> Reply:
    """Read what `Session` answered.

    Raises:
        MalformedReplyError: It was no answer; the text says why.
    """
    answer = row["http_response"]
    if not answer["reply"]:
        raise MalformedReplyError(str(answer["problem"]))
    return Reply.load(str(answer["reply"]))


def engine_request(body: Row) -> Row:
    """Return what the engine's stages read, of a chat completion request."""
    sampling = {"temperature": body["temperature"], "logprobs": body.get("top_logprobs")}
    if "max_tokens" in body:
        sampling["max_tokens"] = body["max_tokens"]
    return {"messages": body["messages"], "sampling_params": sampling}


def engine_reply(row: Row) -> Reply:
    """Read what the engine's last stage wrote."""
    top: dict[str, float] = {}
    for position in plain(row.get("logprobs")) or []:
        tokens = sorted(position.values(), key=lambda token: token["rank"])
        if tokens and bare(str(tokens[0]["decoded_token"])):  # greedy: the first was written
            top = likeliest((str(t["decoded_token"]), t["logprob"]) for t in tokens)
            break
    return Reply(
        text=str(row["generated_text"])[:ANSWER_CHARS],
        top=top,
        prompt_tokens=int(row["num_input_tokens"]),
        completion_tokens=int(row["num_generated_tokens"]),
    )


def plain(value: Any) -> Any:
    """Undo the arrays that Ray Data makes of lists."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return [plain(v) for v in value] if isinstance(value, list) else value
