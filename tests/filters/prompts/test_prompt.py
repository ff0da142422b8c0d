"""A prompt as an extractor: votes, probabilities, pictures, calibration and cost."""

import base64
import io
import pickle

import numpy as np
import pytest
from PIL import Image

from filters.extract import Batch
from filters.extract.prompt import REDUCED_SIDE
from filters.prompts.calibration import CONTENT_FREE
from pipeline.cells import PICTURE_SIDE
from tests.endpoint import Hold, Raw, Says, text_of
from tests.toy import draw

UID = bytes(range(16))


def batch(*captions):
    return Batch([], [], captions)


def pictures(*sizes, uids=()):
    drawn = [np.asarray(draw("square", "red", size=size)) for size in sizes]
    return Batch(drawn, sizes, ["a red square"] * len(sizes), uids=uids)


def sent_picture(body):
    kind, _, data = body["messages"][-1]["content"][0]["image_url"]["url"].partition(";base64,")
    return kind, Image.open(io.BytesIO(base64.b64decode(data)))


def said(**answers):
    """Return a plan: the answer to the first of these captions that is in the question."""

    def plan(body):
        return next((a for caption, a in answers.items() if caption in text_of(body)), Says("Hm"))

    return plan


def test_votes_scores_and_answers_by_hand(model, label):
    model.plan = said(
        kite=Says("Yes.", (("Yes", 0.6), (" yes", 0.2), ("No", 0.2))),
        advert=Says("No, it sells", (("No", 0.9), ("Yes", 0.1))),
        odd=Says("Perhaps", (("Perhaps", 0.7), ("Yes", 0.2), ("No", 0.1))),
        plain=Says("yes"),
        strange=Says("Who knows"),
    )
    found = label(batch("kite", "advert", "odd", "plain", "strange"))
    assert found["relevant"] == [1, 0, -1, 1, -1]
    assert found["relevant_score"] == pytest.approx([0.8, 0.1, 2 / 3, 1.0, None])
    assert found["relevant_answer"] == ["Yes.", "No, it sells", "Perhaps", "yes", "Who knows"]


def test_answers_that_tie_with_different_votes_abstain(model, label):
    model.plan = lambda _body: Says("Yes", (("Yes", 0.4), ("No", 0.4)))
    assert label(batch("one"))["relevant"] == [-1]
    answers = {"yes": "keep", "no": "keep"}
    assert label(batch("one"), answers=answers)["relevant"] == [1]


def test_calibration_turns_what_the_model_says_of_everything(model, label):
    """It says yes to nothing with 0.9; to a kite with 0.8, which is 4/13, and so no."""
    biased, kite = (("Yes", 0.9), ("No", 0.1)), (("Yes", 0.8), ("No", 0.2))
    model.plan = lambda body: Says("Yes", kite if "kite" in text_of(body) else biased)
    found = label(batch("a kite", "another kite"), calibrate=True)
    assert found["relevant"] == [0, 0]
    assert found["relevant_score"] == pytest.approx([4 / 13] * 2)
    assert found["relevant_answer"] == ["Yes", "Yes"]
    asked = [f"Is this a caption: {nothing}? Answer yes or no." for nothing in CONTENT_FREE]
    assert sorted(model.texts()[2:]) == sorted(asked)
    label(batch("a third kite"), calibrate=True)
    assert len(model.asked) == 8  # the content-free ones are kept as well


def test_the_content_free_answers_are_averaged(model, label):
    """Means of (0.2, 0.8), (1.0, 0.0) and so on: with 0.6 to 0.4 a 0.6 says nothing at all."""
    shares = dict(zip(CONTENT_FREE, (0.2, 0.9, 0.5, 0.6, 0.8), strict=True))

    def plan(body):
        nothing = text_of(body).partition(": ")[2].removesuffix("? Answer yes or no.")
        share = shares.get(nothing, 0.6)
        return Says("Yes", (("Yes", share), ("No", 1 - share)))

    model.plan = plan
    found = label(batch("one"), calibrate=True)
    assert found["relevant_score"] == pytest.approx([0.5])


def test_without_probabilities_nothing_is_calibrated(model, label):
    assert label(batch("one"), calibrate=True)["relevant_score"] == [1.0]
    assert len(model.asked) == 1
    label(batch("one"), top_logprobs=0)
    assert "logprobs" in model.asked[0]
    assert not {"logprobs", "top_logprobs"} & set(model.asked[1])


def test_no_vote_without_the_calibration_it_needs(model, label):
    """The pair is answered, the content-free inputs are not: null now, and cheap the next time."""
    answer = Says("Yes", (("Yes", 0.8), ("No", 0.2)))
    model.plan = lambda body: answer if "kite" in text_of(body) else Raw(b"", 400)
    assert label(batch("a kite"), calibrate=True)["relevant"] == [None]
    model.plan = lambda _body: Says("Yes", (("Yes", 0.5), ("No", 0.5)))
    assert label(batch("a kite"), calibrate=True)["relevant_score"] == pytest.approx([0.8])


def test_the_picture_goes_along(model, label):
    found = label(pictures((300, 200), (20, 40)), side=64, encoding="png", concurrency=1)
    assert found["relevant"] == [1, 1]
    (kind, large), (_, small) = map(sent_picture, model.asked)
    assert (kind, large.format, large.size, small.size) == (
        "data:image/png", "PNG", (64, 43), (20, 40)
    )  # fmt: skip
    middle = large.convert("RGB").getpixel((32, 21))
    assert middle == (255, 0, 0)
    assert large.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    assert model.asked[0]["messages"][0]["content"][1]["text"].startswith("Is this a caption")


def test_a_vision_model_is_calibrated_on_a_blank_picture(model, label):
    model.plan = lambda _body: Says("Yes", (("Yes", 0.9), ("No", 0.1)))
    white = np.full((32, 32, 3), 255, np.uint8)
    found = label(
        Batch([white], [(32, 32)], ["a kite"]), side=32, template="Is it a photo?", calibrate=True
    )
    assert found["relevant_score"] == [0.5]
    assert len(model.asked) == 2  # without {caption} the five content-free inputs are one
    assert sent_picture(model.asked[1])[1].convert("RGB").getextrema() == ((255, 255),) * 3


def test_a_picture_is_known_by_its_uid_or_its_pixels(model, label):
    known = pictures((30, 20), uids=[UID])
    for seen in (known, known, pictures((40, 20), uids=[UID])):
        label(seen, side=16)
    assert len(model.asked) == 1
    for seen in (pictures((30, 20)), pictures((30, 20)), pictures((20, 30))):
        label(seen, side=16)
    assert len(model.asked) == 3
    label(known, side=12)
    label(known, side=16, encoding="png")
    assert len(model.asked) == 5


def test_sides_beyond_what_cells_reduce_to_read_the_original(model, label, prompt):
    assert REDUCED_SIDE == PICTURE_SIDE
    assert not prompt(side=REDUCED_SIDE).exact
    small, whole = (np.asarray(draw("square", "red", size=(s, s))) for s in (400, 900))
    label(Batch([small], [(900, 900)], ["a"], [whole]), side=600)
    assert sent_picture(model.asked[0])[1].size == (600, 600)
    with pytest.raises(ValueError, match="got 0 originals for 1 pairs, expected one each for side"):
        label(Batch([small], [(900, 900)], ["a"]), side=600)


def test_pixels_only_where_they_matter(model, prompt, label):
    assert not prompt().pixels
    assert prompt(side=64).pixels
    assert prompt(template="{width}x{height}?").pixels
    label(pictures((30, 20)), template="{caption} in {width}x{height}?")
    assert model.texts() == ["a red square in 30x20?"]


def test_the_request(model, label):
    options = {"chat_template_kwargs": {"enable_thinking": False}, "temperature": 0.5}
    label(batch("x"), system="Be short.", max_tokens=0, top_logprobs=5, options=options)
    question = "Is this a caption: x? Answer yes or no."
    assert model.asked == [
        {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": question},
            ],
            "temperature": 0.5,
            "logprobs": True,
            "top_logprobs": 5,
            "chat_template_kwargs": {"enable_thinking": False},
        }
    ]


def test_tokens_and_cost_are_counted_and_logged(model, prompt, caplog):
    caplog.set_level("INFO")
    model.plan = said(one=Says(tokens=(100, 3)), two=Says(tokens=(200, 1)), bad=Raw(b"", 400))
    score = prompt(price_prompt=2.0, price_completion=50.0).load({}, threads=1)
    score(batch("one", "one", "two"))
    score(batch("one", "bad"))
    usage = score.usage
    assert (usage.asked, usage.cached, usage.failed) == (2, 2, 1)
    assert (usage.prompt_tokens, usage.completion_tokens) == (300, 4)
    assert usage.cost == pytest.approx((300 * 2 + 4 * 50) / 1e6)
    assert "2 asked, 2 from the cache, 1 unanswered, 300 + 4 tokens, cost 0.0008" in caplog.text


def test_a_batch_ends_when_its_time_is_up(model, label):
    """Nothing is answered, and nobody waits for the second try: it would begin too late."""
    model.plan = lambda _body: Hold()
    found = label(batch("a", "b"), timeout_s=0.05, patience_s=0.01, attempts=9)
    assert found["relevant"] == [None, None]
    assert len(model.asked) == 2


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"name": "Is it?"}, "prompt.name: got 'Is it\\?', expected a name for columns"),
        ({"template": "Is it {title}?"}, r"got the field \{title\}"),
        ({"template": "Is it?"}, "else every pair is asked the same"),
        ({"answers": {"maybe": "abstain"}}, "answers: got none that votes"),
        ({"model": " "}, "prompt.model"),
        ({"side": -1}, "prompt.side: got -1, expected 0 to 4096"),
        ({"top_logprobs": 21}, "prompt.top_logprobs: got 21, expected 0 to 20"),
        ({"options": {"stream": True}}, "prompt.options: got 'stream', expected none of"),
    ],
)
def test_settings_that_make_no_question(prompt, settings, what):
    with pytest.raises(ValueError, match=what):
        prompt(**settings)


def test_it_travels_to_actors(prompt):
    made = prompt(side=64)
    assert pickle.loads(pickle.dumps(made)) == made
    assert [c.name for c in made.columns] == ["relevant", "relevant_score", "relevant_answer"]
