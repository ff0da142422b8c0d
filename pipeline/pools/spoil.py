"""How one pair is spoiled: for every kind of trouble the damage and the words, drawn by dice."""

import hashlib
import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from pipeline.pools.damage import Corrupted, Damage, Resized, Shrunk, TextOnly
from pipeline.pools.entry import Entry, Kind

RESIZE_FACTOR = (0.4, 0.9)
TINY_SIDE = (8, 24)  # pixels of the long side
TEXT_SIDES = (240, 320, 400, 480)  # pixels
INKS = (("black", "white"), ("white", "navy"), ("darkred", "beige"), ("black", "gold"))
CAPTION_RENDERED = 0.5  # else a slogan that has nothing to do with the caption


def spoil(entry: Entry, kind: Kind, *, seed: int) -> Entry:
    """Return the entry with trouble of one kind; for a copy a new entry whose twin it is."""
    return _SPOILERS[kind](entry, _dice(entry.uid, kind, seed))


def _dice(uid: bytes, kind: Kind, seed: int) -> np.random.Generator:
    """Return a pair's own generator, so that one pair's fate does not depend on the others."""
    digest = hashlib.blake2b(f"{seed}\0{kind}\0".encode() + uid, digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def _copy(entry: Entry, kind: Kind, damage: Damage | None, rng: np.random.Generator) -> Entry:
    return replace(entry, uid=rng.bytes(16), damage=damage, kind=kind, twin=entry.uid)


def _exact(entry: Entry, rng: np.random.Generator) -> Entry:
    return _copy(entry, Kind.EXACT_COPY, None, rng)


def _resized(entry: Entry, rng: np.random.Generator) -> Entry:
    form = "JPEG" if rng.random() < 0.5 else "PNG"  # noqa: PLR2004
    return _copy(entry, Kind.RESIZED_COPY, Resized(rng.uniform(*RESIZE_FACTOR), form), rng)


def _text_only(entry: Entry, rng: np.random.Generator) -> Entry:
    slogans = _phrases()["slogans"]
    slogan = slogans[rng.integers(len(slogans))]
    text = entry.caption if rng.random() < CAPTION_RENDERED and entry.caption.isascii() else slogan
    ink, ground = INKS[rng.integers(len(INKS))]
    width, height = (TEXT_SIDES[i] for i in rng.integers(len(TEXT_SIDES), size=2))
    damage = TextOnly(text, (width, height), ink, ground)
    return replace(entry, damage=damage, kind=Kind.TEXT_ONLY)


def _tiny(entry: Entry, rng: np.random.Generator) -> Entry:
    side = int(rng.integers(TINY_SIDE[0], TINY_SIDE[1] + 1))
    return replace(entry, damage=Shrunk(side), kind=Kind.TINY)


def _foreign(entry: Entry, rng: np.random.Generator) -> Entry:
    languages = _phrases()["foreign"]
    language = sorted(languages)[rng.integers(len(languages))]
    sentences = languages[language]
    return replace(entry, caption=sentences[rng.integers(len(sentences))], kind=Kind.FOREIGN)


def _boilerplate(entry: Entry, rng: np.random.Generator) -> Entry:
    phrases = _phrases()["boilerplate"]
    phrase = phrases[rng.integers(len(phrases))].replace("{n}", f"{rng.integers(10_000):04d}")
    return replace(entry, caption=phrase, kind=Kind.BOILERPLATE)


def _corrupt(entry: Entry, rng: np.random.Generator) -> Entry:
    return replace(entry, damage=Corrupted(int(rng.integers(2**32))), kind=Kind.CORRUPT)


@cache
def _phrases() -> dict[str, Any]:
    return tomllib.loads(files("pipeline.pools").joinpath("phrases.toml").read_text("utf-8"))


_SPOILERS: dict[Kind, Callable[[Entry, np.random.Generator], Entry]] = {
    Kind.EXACT_COPY: _exact,
    Kind.RESIZED_COPY: _resized,
    Kind.TEXT_ONLY: _text_only,
    Kind.TINY: _tiny,
    Kind.FOREIGN: _foreign,
    Kind.BOILERPLATE: _boilerplate,
    Kind.CORRUPT: _corrupt,
}
