"""Phrases of captions that were written down by hand, and what every phrase has to be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.extract import Batch
from filters.extract.objects.phrase_words import ENGLISH, FOREIGN
from filters.extract.objects.phrases import LONGEST_RUN, MOST, phrases, phrases_of

HAND_MADE = {
    "A red kite over the beach": ["red kite", "beach"],
    "a boy flying a kite": ["boy", "kite"],
    "boy riding bicycle": ["boy", "bicycle"],
    "sleeping cat on a large bed": ["sleeping cat", "large bed"],
    "cars parked in front of an old building": ["cars", "old building"],
    "The dog's bowl": ["dog bowl"],
    "A man and a woman, 25 years old, hold umbrellas": ["man", "woman", "umbrellas"],
    "Planet Earth, space astronomy planet earth": [
        "planet earth", "space", "astronomy", "planet", "earth",
    ],
    "card, white": ["card"],
    "united_nations_member": ["united nations member"],
    "IMG_0231.jpg": [],
    "photo of a butterfly": ["butterfly"],
    "wearing a quickly": [],
    "kite, kite and KITE": ["kite"],
    "red": [],
    "": [],
}  # fmt: skip


@pytest.mark.parametrize("caption", HAND_MADE)
def test_phrases_of_captions_by_hand(caption):
    assert list(phrases(caption)) == HAND_MADE[caption]


@pytest.mark.parametrize(
    "caption",
    [
        "ein roter Drachen auf der Wiese",
        "un chien dans la rue",
        "una casa en el campo con flores",
        "rød drage på stranden",
        "Straße",
        "красный воздушный змей",
        "赤い凧",
        "a dog χ",
    ],
)
def test_another_language_gives_none(caption):
    assert phrases(caption) == ()


def test_a_foreign_name_in_an_english_sentence_does_no_harm():
    assert phrases("the bridge of Rio de Janeiro with boats") == (
        "bridge", "rio", "janeiro", "boats",
    )  # fmt: skip


def test_no_word_speaks_for_and_against_english():
    assert not FOREIGN & ENGLISH


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_any_text_gives_distinct_lower_case_phrases_of_few_words(caption):
    found = phrases(caption)
    assert len(set(found)) == len(found) <= MOST
    for phrase in found:
        words = phrase.split()
        assert 1 <= len(words) <= LONGEST_RUN
        assert phrase == phrase.lower()
        assert phrase.isascii()
        assert not any(character.isdigit() for character in phrase)
        assert not set(words) & ENGLISH


def test_endless_captions_are_cut():
    assert len(phrases(" and ".join(f"thing{'x' * i} cat{'y' * i}" for i in range(500)))) <= MOST


def test_a_batch_finds_its_phrases_once():
    batch = Batch([], [], ["a dog", "a cat"])
    assert phrases_of(batch) == [("dog",), ("cat",)]
    assert phrases_of(batch) is phrases_of(batch)
