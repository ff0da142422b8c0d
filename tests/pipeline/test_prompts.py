"""A prompt in whole passes: beside rules, on a dead endpoint, after a batch through Ray Data."""

import numpy as np
import pytest

from filters.extract import CaptionStatistics, ImageStatistics, Prompt
from filters.prompts.calibration import CONTENT_FREE
from filters.prompts.endpoint import Endpoint
from filters.prompts.reply import Reply, Usage
from filters.rules import Band, Condition
from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.prompt_backends import engine_reply, engine_request, in_vllm, over_http
from pipeline.prompt_batch import ask_pool
from pipeline.shards import find_shards
from pipeline.votes import cast_votes
from tests.endpoint import KEY, Raw, Says, language_model, text_of
from tests.integration.engine import rows, score

YES, NO = Says("Yes", (("Yes", 0.8), ("No", 0.2))), Says("No", (("Yes", 0.3), ("No", 0.7)))
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
NULLS = {"red": None, "red_score": None, "red_answer": None}


@pytest.fixture
def model():
    with language_model() as server:
        server.plan = lambda body: YES if "a red" in text_of(body) else NO
        yield server


@pytest.fixture
def red(model, tmp_path, monkeypatch):
    """Return a function (settings) -> a prompt that asks for red things."""
    monkeypatch.setenv("TEST_KEY", KEY)

    def build(url=None, **settings):
        endpoint = Endpoint(
            url=url or model.url, key_env="TEST_KEY", attempts=2, backoff_s=0.001, price_prompt=1e6
        )
        basic = {"name": "red", "template": "What colour is it: {caption}?", "model": "tiny"}
        answers = {"yes": "keep", "no": "drop"}
        basic["cache"] = str(tmp_path / "prompts")
        return Prompt(answers=answers, endpoint=endpoint, **basic | settings)

    return build


def test_votes_reach_the_rules(pool, tmp_path, model, red):
    """Six colours take turns, 6 of 36 pairs are red; the rest is doubtful, not surely bad."""
    scores = score(pool, tmp_path / "out", red(calibrate=False), CaptionStatistics())
    assert len(model.asked) == 36
    votes = cast_votes(
        scores,
        [
            Condition(name="said", columns=("red",), keep="red = 1", drop="red = 0"),
            Band(name="sure", column="red_score", keep=0.75, drop=0.25),
        ],
        shards=find_shards([str(pool)]), store=Folder(str(tmp_path / "out")), execute=run_local,
    )  # fmt: skip
    votes_NM = np.concatenate([votes.of(shard) for shard in range(len(scores))])
    assert (votes_NM == 1).sum(axis=0).tolist() == [6, 6]
    assert (votes_NM == 0).sum(axis=0).tolist() == [30, 0]


def test_a_dead_endpoint_leaves_nulls_and_a_later_run_asks(pool, tmp_path, model, red):
    dead = red(url="http://127.0.0.1:9")
    score(pool, tmp_path / "dead", dead, CaptionStatistics())
    found = rows(tmp_path / "dead")
    assert len(found) == 36
    assert all(row["status"] == "ok" and row["caption_words"] > 0 for row in found)
    assert all(row | NULLS == row for row in found)
    score(pool, tmp_path / "alive", red(), CaptionStatistics())
    assert None not in [row["red"] for row in rows(tmp_path / "alive")]
    kept = b"".join(p.read_bytes() for p in (tmp_path / "dead").rglob("*") if p.is_file())
    assert KEY.encode() not in kept


def test_a_moved_endpoint_is_the_same_stage(pool, tmp_path, model, red):
    score(pool, tmp_path / "out", red())
    asked = len(model.asked)
    score(pool, tmp_path / "out", red(url="http://127.0.0.1:9", cache=str(tmp_path / "other")))
    assert len(model.asked) == asked
    assert None not in [row["red"] for row in rows(tmp_path / "out")]


def test_a_long_template_is_no_file_name(pool, tmp_path, red):
    long = red(template="{caption}: " + "is it red? " * 500)
    score(pool, tmp_path / "out", long)
    assert len(rows(tmp_path / "out")) == 36


@pytest.mark.slow
def test_a_pass_after_a_batch_asks_nothing(ray_data, pool, tmp_path, model, red):
    """With pictures, sizes and calibration, through Ray Data; the pass finds every answer."""
    out, prompt = tmp_path / "out", red(side=32, template="{caption}, {width} pixels wide?")
    scores = score(pool, out, CaptionStatistics(), ImageStatistics())
    usage = ask_pool(prompt, scores, over_http(prompt))
    assert (usage.asked, usage.failed) == (36 + len(CONTENT_FREE), 0) == (len(model.asked), 0)
    assert usage.cost == pytest.approx(10 * usage.asked)
    assert {headers["Authorization"] for headers in model.headers} == {f"Bearer {KEY}"}
    assert all(body["messages"][0]["content"][0]["image_url"] for body in model.asked)
    score(pool, out, prompt, CaptionStatistics(), ImageStatistics())
    assert len(model.asked) == usage.asked
    assert sum(row.get("red") == 1 for row in rows(out)) == 6
    assert ask_pool(prompt, scores, over_http(prompt)) == Usage()


@pytest.mark.slow
def test_a_question_without_an_answer_costs_no_other(ray_data, pool, tmp_path, model, red, caplog):
    prompt = red(calibrate=False)
    scores = score(pool, tmp_path / "out", CaptionStatistics())
    faults = {"number 0": Raw(b"{}"), "number 5": Raw(b"no json"), "number 30": Raw(b"", 503)}

    def plan(body):
        return next((f for c, f in faults.items() if f"{c} on" in text_of(body)), YES)

    model.plan = plan
    usage = ask_pool(prompt, scores, over_http(prompt, batch_size=4))
    assert (usage.asked, usage.failed) == (33, 3)
    assert "no answer, 3 times; the first: endpoint http" in caplog.text
    assert KEY not in caplog.text
    model.plan = lambda _body: NO
    score(pool, tmp_path / "out", prompt, CaptionStatistics())
    assert sum(row.get("red") == 0 for row in rows(tmp_path / "out")) == 3


def test_what_vllm_reads_and_writes(red):
    """The engine's rows, in the shape that Ray's own class gives them."""
    output = pytest.importorskip("ray.llm._internal.batch.stages.vllm_engine_stage").vLLMOutputData
    body = red(system="Be short.").asking.request("Is it red?")
    assert engine_request(body) == {
        "messages": body["messages"],
        "sampling_params": {"temperature": 0, "max_tokens": 8, "logprobs": 20},
    }
    positions = [
        {198: {"logprob": -0.1, "rank": 1, "decoded_token": "\n"}},
        {
            2360: {"logprob": -1.5, "rank": 2, "decoded_token": " No"},
            7566: {"logprob": -0.25, "rank": 1, "decoded_token": " Yes"},
        },
    ]
    row = output(
        prompt="Is it red?", num_input_tokens=9, generated_tokens=[198, 7566],
        generated_text="\n Yes", num_generated_tokens=2, logprobs=positions,
    ).model_dump()  # fmt: skip
    assert engine_reply(row) == Reply("\n Yes", {" Yes": -0.25, " No": -1.5}, 9, 2)
    with pytest.raises(ValueError, match=r"got options \['seed'\], expected none for vLLM"):
        in_vllm(red(options={"seed": 1}))
    assert in_vllm(red(), concurrency=2).config.model_source == "tiny"
