"""Ask a whole pool a prompt's question offline, by `ray.data.llm`; the answers go into its cache.

A pass with the prompt in its config then finds them there and asks nothing.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from filters.extract import Prompt
from filters.prompts.cache import Cache, cache_folder
from filters.prompts.picture import blank
from filters.prompts.question import Question
from filters.prompts.reply import MalformedReplyError, Reply, Usage
from filters.prompts.template import fields_of, values_of
from pipeline.cells import PICTURE_SIDE
from pipeline.decode import DecodeError, decode_exact, decode_picture
from pipeline.prompt_backends import Backend, Row
from pipeline.scores import Scores
from pipeline.shards import read_range

logger = logging.getLogger(__name__)

BLOCK_ROWS = 1024  # answers that reach the cache together
QUESTION = pa.schema(
    [
        pa.field("key", pa.string()),  # hex: bytes would lose their last zeros on the way
        pa.field("sample", pa.string()),
        pa.field("text", pa.string()),
        pa.field("shard", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
    ]
)


def ask_pool(prompt: Prompt, scores: Scores, backend: Backend) -> Usage:
    """Ask about every good pair that the cache has no answer for, and keep what is answered.

    Needs a connected Ray; the cache is this machine's. Questions wait in Ray's object store, which
    spills to disk; for very large pools hand in some shards at a time.

    Args:
        prompt: As in the config of the pass that follows.
        scores: Score tables of the pool, by a pass without this prompt.
        backend: `over_http` or `in_vllm`.

    Returns:
        What was asked; `failed` are those whose answer is still missing.

    Raises:
        ValueError: The template asks for the size, and no table has it.
    """
    import ray
    from ray.data.llm import build_processor

    cache, wanted, blocks = Cache(cache_folder(prompt.cache)), 0, []
    for table in _unasked(prompt, scores, cache):
        if table.num_rows:
            wanted += table.num_rows
            blocks.append(ray.put(table))
    if not wanted:
        return Usage()
    context = ray.data.DataContext.get_current()
    before, context.max_errored_blocks = context.max_errored_blocks, -1  # one is no reason to stop
    try:
        processor = build_processor(
            backend.config,
            preprocess=partial(_request, prompt, backend.request),
            postprocess=partial(_answer, backend.reply),
        )
        answers = processor(ray.data.from_arrow_refs(blocks))
        usage = _keep(prompt, cache, answers)
    finally:
        context.max_errored_blocks = before
        cache.close()
    usage = replace(usage, failed=wanted - usage.asked)
    logger.info("prompt %s: %s", prompt.name, usage)
    return usage


def _unasked(prompt: Prompt, scores: Scores, cache: Cache) -> Iterator[pa.Table]:
    """Yield the questions that the cache cannot answer, shard by shard."""
    if prompt.calibrate:
        yield _table([_row(question) for question in _new(prompt.content_free(), cache)])
    sizes = {"width", "height"} & fields_of(prompt.template)
    columns = ["uid", "caption", "offset", "size", *(("width", "height") if sizes else ())]
    for number, url in enumerate(scores.shards):
        rows = scores.good(number, columns).to_pylist()
        asked = {
            question.key: _row(question, url, row["offset"], row["size"])
            for row in rows
            for question in [_question(prompt, row)]
        }
        known = cache.get(list(asked))
        yield _table([row for key, row in asked.items() if key not in known])


def _question(prompt: Prompt, row: Row) -> Question:
    """Ask as the extractor does; the picture is added where the question is sent."""
    values = values_of(row["caption"] or "", (row.get("width", 0), row.get("height", 0)))
    return prompt.question(values, sample=row["uid"].hex())


def _new(questions: Sequence[Question], cache: Cache) -> list[Question]:
    known = cache.get([question.key for question in questions])
    return [question for question in questions if question.key not in known]


def _row(question: Question, shard: str = "", offset: int = -1, size: int = -1) -> Row:
    return {
        "key": question.key.hex(), "sample": question.sample, "text": question.text,
        "shard": shard, "offset": offset, "size": size,
    }  # fmt: skip


def _table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=QUESTION)


def _request(prompt: Prompt, request: Callable[[Row], Row], row: Row) -> Row:
    """Make the request, on a worker."""
    picture = partial(_picture, prompt, row) if prompt.side else None
    question = prompt.asking.question(str(row["text"]), sample=row["sample"], picture=picture)
    return request(question.body())


def _picture(prompt: Prompt, row: Row) -> str:
    """Decode a pair's picture as a cell does."""
    if row["offset"] < 0:
        return prompt.picture_url(blank(prompt.side))
    data = read_range(str(row["shard"]), int(row["offset"]), int(row["size"]))
    try:
        if prompt.exact:
            return prompt.picture_url(decode_exact(data))
        return prompt.picture_url(decode_picture(data, min_side=PICTURE_SIDE).rgb)
    except DecodeError as error:
        raise ValueError(f"{row['shard']}: a picture that was good is not: {error}") from error


def _answer(reply: Callable[[Row], Reply], row: Row) -> Row:
    """Reduce a row to its reply, or to why there is none."""
    try:
        text, problem = reply(row).dump(), ""
    except MalformedReplyError as error:
        text, problem = "", str(error)
    return {"key": row["key"], "sample": row["sample"], "reply": text, "problem": problem}


def _keep(prompt: Prompt, cache: Cache, answers: Any) -> Usage:
    """Put answers into the cache as they come."""
    usage, problems = Usage(), []
    for batch in answers.iter_batches(batch_size=BLOCK_ROWS, batch_format="pyarrow"):
        for row in batch.to_pylist():
            if not row.get("reply"):
                problems.append(row.get("problem") or row.get("__inference_error__", ""))
                continue
            reply = Reply.load(row["reply"])
            cost = prompt.endpoint.cost(reply)
            key = bytes.fromhex(row["key"])
            cache.put(key, reply, model=prompt.model, sample=row["sample"], cost=cost)
            usage += Usage(
                asked=1, prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens, cost=cost,
            )  # fmt: skip
    if problems:
        logger.warning("prompt %s: no answer, %d times; the first: %s",
                       prompt.name, len(problems), problems[0])  # fmt: skip
    return usage
