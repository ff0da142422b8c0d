"""Surprise against a model of dictionaries, and against the loss of transformers."""

import math
from collections import Counter

import numpy as np
import pytest

from filters.derive import Surprise, merge
from filters.derive.ngrams import MASS, Model, bits_per_token, count_grams, token_probabilities
from filters.extract.hashes import words_of
from filters.open_clip_models import ensure_torchvision

CAPTIONS = [
    "a red kite", "a red barn", "a red kite in the sky", "the sky", "barn", "a red kite", "?",
    "kite kite kite", "in the sky a barn", "zebra zebra crossing", "A RED kite!",
]  # fmt: skip


def model_of(captions, order):
    return Model.of(count_grams(captions, order=order, bits=61), order=order, bits=61)


def tokens_of(caption, order):
    return ["<s>"] * (order - 1) + [*words_of(caption), "</s>"]


class Dictionaries:
    """The same model, of tuples in dictionaries."""

    def __init__(self, captions, order):
        self.followers = Counter()
        self.contexts = Counter()
        self.vocabulary = set()
        for caption in captions:
            tokens = tokens_of(caption, order)
            self.vocabulary |= set(tokens[order - 1 :])
            for i in range(order - 1, len(tokens)):
                for n in range(order):
                    context = tuple(tokens[i - n : i])
                    self.followers[context, tokens[i]] += 1
                    self.contexts[context] += 1

    def probability(self, word, context):
        if not context:
            size = len(self.vocabulary)
            mass = max(size, 1)
            return (self.followers[(), word] + mass / (size + 1)) / (self.contexts[()] + mass)
        shorter = self.probability(word, context[1:])
        return (self.followers[context, word] + MASS * shorter) / (self.contexts[context] + MASS)

    def bits(self, caption, order):
        tokens = tokens_of(caption, order)
        bits = [
            -math.log2(self.probability(tokens[i], tuple(tokens[i - order + 1 : i])))
            for i in range(order - 1, len(tokens))
        ]
        return sum(bits) / len(bits)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_a_caption_is_judged_by_dictionaries_of_all_others(order):
    surprise = Surprise(order=order)
    found = surprise.load({}, surprise.count({"caption": CAPTIONS}))({"caption": CAPTIONS})
    expected = [
        Dictionaries(CAPTIONS[:i] + CAPTIONS[i + 1 :], order).bits(caption, order)
        for i, caption in enumerate(CAPTIONS)
    ]
    assert found["caption_surprise"].dtype == np.float32
    assert found["caption_surprise"] == pytest.approx(np.array(expected), rel=1e-6)


def test_leaving_out_is_not_having_counted():
    judged = bits_per_token(CAPTIONS, model_of(CAPTIONS, 3))
    for i in range(len(CAPTIONS)):
        others = model_of(CAPTIONS[:i] + CAPTIONS[i + 1 :], 3)
        assert bits_per_token(CAPTIONS[i : i + 1], others, leave_out=False)[0] == judged[i]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("context", ["", "a", "red", "in the", "never seen"])
def test_probabilities_sum_to_one_over_the_vocabulary_and_the_unknown(order, context):
    model = model_of(CAPTIONS, order)
    vocabulary = sorted({word for caption in CAPTIONS for word in words_of(caption)})
    nexts = [f"{context} {word}" for word in [*vocabulary, "unheardof"]]
    at = len(context.split())
    total = 0.0
    for caption in nexts:
        chance, _ = token_probabilities([caption], model, leave_out=False)
        total += chance[at]
    chance, _ = token_probabilities([context], model, leave_out=False)
    assert total + chance[at] == pytest.approx(1.0)  # the last is that of the caption's end
    assert model.words == len(vocabulary) + 1


def test_shards_do_not_matter():
    surprise = Surprise()
    whole = surprise.count({"caption": CAPTIONS})
    parts = [CAPTIONS[:1], [], CAPTIONS[1:7], CAPTIONS[7:]]
    merged = merge([surprise.count({"caption": part}) for part in reversed(parts)])
    assert merged.key_K.tolist() == whole.key_K.tolist()
    assert merged.count_K.tolist() == whole.count_K.tolist()
    judge = surprise.load({}, merged)
    apart = [judge({"caption": part})["caption_surprise"] for part in parts]
    together = judge({"caption": CAPTIONS})["caption_surprise"]
    assert np.concatenate(apart).tolist() == together.tolist()


def test_boilerplate_is_foreseen_and_word_salad_is_not():
    rng = np.random.default_rng(0)
    things = ["dog", "cat", "barn", "kite", "boat", "tree", "house", "bird"]
    looks = ["red", "small", "old", "wet", "blue", "tall"]
    places = ["in the garden", "on a table", "near the sea", "under a bridge"]
    described = [
        f"a {rng.choice(looks)} {rng.choice(things)} {rng.choice(places)}" for _ in range(300)
    ]
    stock = ["click here to see more pictures of this item"] * 40
    salad = [" ".join(rng.permutation(caption.split())) for caption in described[:40]]
    judged = bits_per_token([*described, *stock, *salad], model_of([*described, *stock, *salad], 3))
    assert judged[300:340].max() < judged[:300].min()
    assert np.quantile(judged[340:], 0.1) > np.quantile(judged[:300], 0.9)


def test_fewer_bits_bound_the_counts():
    captions = [f"w{i} v{i} u{i}" for i in range(500)]
    counts = Surprise(bits=6).count({"caption": captions})
    assert len(counts.key_K) <= 4 * 2**6 < len(Surprise().count({"caption": captions}).key_K)
    assert np.isfinite(bits_per_token(captions, Model.of(counts, order=3, bits=6))).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"order": 8}, "order = 8, expected 1 to 7"), ({"bits": 0}, "bits = 0, expected 1 to 61")],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Surprise(**settings)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A GPT-2 with random weights and a tokenizer of whole words, as a folder."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    ensure_torchvision()
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = ["<s>", "<unk>", *sorted({w for c in CAPTIONS for w in c.split()})]
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    config = GPT2Config(
        vocab_size=len(words), n_positions=16, n_embd=16, n_layer=2, n_head=2,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


def test_a_language_model_judges_as_transformers_own_loss(gpt2):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    captions = [*CAPTIONS, "long " * 40] * 2
    surprise = Surprise(model=str(gpt2))
    assert surprise.count({"caption": captions}) is None
    found = surprise.load({}, None)({"caption": captions})["caption_surprise"]
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(gpt2),
        AutoTokenizer.from_pretrained(gpt2),
    )
    for caption, bits in zip(captions, found, strict=True):
        ids = torch.tensor([[0, *tokenizer(caption)["input_ids"]][:16]])
        with torch.inference_mode():
            loss = model(input_ids=ids, labels=ids).loss.item()
        assert bits == pytest.approx(loss / math.log(2), rel=1e-5)
    assert found[:12] == pytest.approx(found[12:], rel=1e-5)


def test_a_model_that_no_text_can_begin_with_is_refused(gpt2, tmp_path):
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    AutoModelForCausalLM.from_pretrained(gpt2).save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_file=str(gpt2 / "tokenizer.json")).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="without a token that begins or ends a text"):
        Surprise(model=str(tmp_path)).load({}, None)
