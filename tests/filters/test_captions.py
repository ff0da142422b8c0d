"""What is read from the caption alone: parts of speech, normal form, hash, MinHash, languages."""

import hashlib
import itertools

import numpy as np
import pytest

from filters.concepts import near_caption_of
from filters.extract import Batch, CaptionStatistics, Language
from filters.extract.hashes import HASHES, minhash, shingles, words_of
from filters.extract.words import count_words, kinds_of, read_lexicon, words_in
from pipeline.weights import model_file

# Captions with the nouns, verbs (without be, have, do) and adjectives that a person counts.
COUNTED_BY_HAND = (
    ("A brown dog is running across the green field.", 2, 1, 2),
    ("Two children play football in the park", 3, 1, 0),
    ("woman holding a red umbrella in heavy rain", 3, 1, 2),
    ("red kite", 1, 0, 1),
    ("vintage wooden chair on white background", 2, 0, 3),
    ("Man riding a wave on top of a surfboard", 4, 1, 0),
    ("happy young couple cooking together in a modern kitchen", 2, 1, 3),
    ("The old man sits on a bench and reads a newspaper", 3, 2, 1),
    ("Sunset over snowy mountains", 2, 0, 1),
    ("a cat sleeping on a couch", 2, 1, 0),
    ("close up of a plate of food with broccoli", 3, 0, 0),
    ("Flying Wasp, insect, animal", 3, 1, 0),
    ("The man rides a horse on the beach", 3, 1, 0),
    ("A broken window in an abandoned house", 2, 0, 2),
    ("girl throws a ball to her dog", 3, 1, 0),
    ("Beautiful handmade silver ring with blue stone", 3, 0, 3),
    ("Portrait of a smiling bride", 2, 1, 0),
    ("oil painting of a sailing ship", 3, 1, 0),
    ("Tourists take pictures of the famous tower", 3, 1, 1),
    ("A fresh salad in a glass bowl", 3, 0, 1),
    ("Lightning, electricity, weather", 3, 0, 0),
    ("Three small birds sit on a wire", 2, 1, 1),
    ("skateboarder jumping over a rusty rail", 2, 1, 1),
    ("A bowl filled with ripe bananas", 2, 1, 1),
    ("Firefighters extinguish a burning car", 2, 2, 0),
    ("tall building at night", 2, 0, 1),
    ("Pizza with cheese and fresh basil", 3, 0, 1),
    ("a train arrives at the crowded station", 2, 1, 1),
    ("Kids building a sandcastle", 2, 1, 0),
    ("Old map of London", 2, 0, 1),
)


@pytest.fixture(scope="module")
def lexicon():
    return read_lexicon(model_file("english_lexicon"))


def captions_of(extractor, captions):
    load = extractor.load({name: model_file(name) for name in extractor.weights}, threads=1)
    empty = np.zeros((0, 0, 3), np.uint8)
    return load(Batch([empty] * len(captions), [(0, 0)] * len(captions), captions))


def test_parts_of_speech_are_those_that_a_person_counts_nine_times_of_ten(lexicon):
    by_hand = np.array([numbers for _, *numbers in COUNTED_BY_HAND])
    counted = np.array([count_words(caption, lexicon) for caption, *_ in COUNTED_BY_HAND])
    assert ((counted == by_hand).mean(axis=0) >= 0.9).all()
    assert np.abs(counted - by_hand).mean() <= 0.1


@pytest.mark.parametrize(
    ("caption", "kinds"),
    [
        ("a broken window", ["determiner", "adjective", "noun"]),
        ("they watch the play", ["other", "verb", "determiner", "noun"]),
        ("a man rides a horse", ["determiner", "noun", "verb", "determiner", "noun"]),
        ("the Dog\u2019s zorgish frobbing", ["determiner", "noun", "adjective", "verb"]),
        ("a long-haired cat", ["determiner", "adjective", "noun"]),
    ],
)
def test_neighbours_and_endings_decide_where_the_dictionary_does_not(lexicon, caption, kinds):
    assert kinds_of(words_in(caption), lexicon) == kinds


def test_a_list_of_words_prefers_what_it_says_of_lower_case(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(";;; about\nMay NNP\nmay MD\nMonday NNP\nred JJ\n", "utf-8")
    known = read_lexicon(path)
    assert (known["may"], known["monday"], known["red"]) == ("other", "noun", "adjective")


def test_the_normal_form_drops_case_punctuation_and_compatibility():
    same = (
        "A red  Kite!",
        "a RED kite",
        "\u201ca\u00a0red\u2009kite\u201d",
        "\uff41 \uff52\uff45\uff44 \uff4b\uff49\uff54\uff45",
        "a_red_kite",
    )
    assert {tuple(words_of(c)) for c in same} == {("a", "red", "kite")}
    assert words_of("soft\u00adware") == ["software"]
    assert words_of("हिन्दी में") == ["हिन्दी", "में"]  # vowel signs stay in their words
    assert words_of("赤い凧 kite") == ["赤", "い", "凧", "kite"]
    assert words_of("\U0001f600 !") == ["\U0001f600"]


def test_columns_of_the_caption():
    columns = captions_of(CaptionStatistics(), ["A red Kite!", "a red kite", "blue kites fly"])
    assert list(columns) == [column.name for column in CaptionStatistics().columns]
    digest = hashlib.blake2b(b"a red kite", digest_size=8).digest()
    assert columns["caption_hash"][0] == columns["caption_hash"][1] == int(digest.hex(), 16)
    assert columns["caption_hash"][0] != columns["caption_hash"][2]
    assert columns["caption_objects"].tolist() == [1, 1, 1]
    assert columns["caption_actions"].tolist() == [0, 0, 1]
    assert columns["caption_adjectives"].tolist() == [1, 1, 1]
    assert columns["caption_minhash"][0] == columns["caption_minhash"][1]


def test_hostile_captions_have_values():
    captions = ["x" * 100_000, "\x00", "\n", "((((" * 2000, "\u0301" * 5000]
    for extractor in (CaptionStatistics(), Language()):
        columns = captions_of(extractor, captions)
        assert all(len(values) == 5 for values in columns.values())


def jaccard(a, b):
    first, second = set(shingles(a)), set(shingles(b))
    return len(first & second) / len(first | second)


@pytest.mark.parametrize("kept", [2, 10, 14, 18, 20])
def test_minhash_agreement_estimates_the_jaccard_similarity(kept):
    rng = np.random.default_rng(kept)
    estimates, truth = [], 0.0
    for _ in range(100):
        words = [f"w{i}" for i in rng.integers(10**9, size=20)]
        other = [*words[:kept], *(f"v{i}" for i in rng.integers(10**9, size=20 - kept))]
        truth = jaccard(words, other)
        estimates.append(np.equal(minhash(words), minhash(other)).mean())
    standard_error = np.sqrt(truth * (1 - truth) / HASHES / 100)
    assert np.mean(estimates) == pytest.approx(truth, abs=4 * standard_error)


def perturbed_captions(rng):
    """Captions in families that share more or fewer of their words with the family's first."""
    captions = []
    for _ in range(60):
        words = [f"w{i}" for i in rng.integers(10**6, size=12)]
        for changed in (0, 0, 1, 1, 2, 4, 6, 9):
            other = list(words)
            for at in rng.choice(12, changed, replace=False):
                other[at] = f"v{rng.integers(10**6)}"
            captions.append(other)
    return [captions[i] for i in rng.permutation(len(captions))]


def test_near_captions_are_those_of_brute_force_and_of_true_similarity():
    captions = perturbed_captions(np.random.default_rng(0))
    signature = np.array([minhash(words) for words in captions], np.uint32)
    found = near_caption_of(signature, bands=16, similarity=0.6)
    band = signature.reshape(len(captions), 16, -1)
    expected = np.full(len(captions), -1)
    for j, i in itertools.combinations(range(len(captions)), 2):
        shares_a_band = (band[i] == band[j]).all(axis=1).any()
        if expected[i] < 0 and shares_a_band and (signature[i] == signature[j]).mean() >= 0.6:
            expected[i] = j
    assert found.tolist() == expected.tolist()
    near = {0.9: [], 0.6: [], 0.3: []}
    for i, words in enumerate(captions):
        closest = max((jaccard(words, other) for other in captions[:i]), default=0.0)
        level = next((level for level in near if closest >= level), None)
        if level is not None:
            near[level].append(found[i] >= 0)
    assert all(near[0.9])
    assert np.mean(near[0.6]) > 0.7
    assert all(jaccard(captions[i], captions[j]) > 0.3 for i, j in enumerate(found) if j >= 0)


def test_a_thousand_copies_point_at_the_first_and_a_stranger_at_none():
    signature = np.array([minhash(["a", "kite"])] * 1000 + [minhash(["b"])], np.uint32)
    assert near_caption_of(signature).tolist() == [-1] + [0] * 999 + [-1]
    assert near_caption_of(signature[:0]).tolist() == []


def test_bands_that_do_not_divide_the_hashes_are_refused():
    with pytest.raises(ValueError, match="got 10 bands for 64 hashes, expected a divisor of 64"):
        near_caption_of(np.zeros((2, 64), np.uint32), bands=10)


def test_two_models_agree_on_sentences_and_doubt_a_word():
    captions = [
        "The dog is running across the green field.", "Der Hund rennt heute durch den grünen Wald.",
        "夏になると子どもたちは海へ行きます。", "Flan, dessert, food",
    ]  # fmt: skip
    columns = captions_of(Language(), captions)
    assert columns["language"][:3] == columns["language_2"][:3] == ["en", "de", "ja"]
    assert (columns["language_2_score"][:3] > 0.9).all()
    assert columns["language_2_score"][3] < 0.5
    assert (columns["language_2_score"] <= 1).all()
