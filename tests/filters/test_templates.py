"""Templates and copies against counting by hand."""

from collections import Counter

import numpy as np
import pytest
from pydantic import TypeAdapter

from filters.derive import AnyDerive, Copies, Templates, merge
from filters.derive.templates import numberless_words
from filters.extract.hashes import text_hash, words_of

STOCK = [f"Part of the Flat Icon Collection (Wed Aug {day}), tool {day}" for day in range(10, 40)]
SHORT = ["gramastar"] * 25 + ["Untitled 3", "untitled-17", "UNTITLED 8"] * 8
OWN = [f"a unique picture of thing{i} and of nothing else{i} there" for i in "abcdefgh"]
POOL = [*STOCK, *SHORT, *OWN]


def template(pool, captions, **settings):
    templates = Templates(**settings)
    return templates.load({}, templates.count({"caption": pool}))({"caption": captions})[
        "caption_template"
    ]


def by_hand(pool, captions, *, words, least):
    """The same with sets of tuples."""

    def phrases(said):
        size = min(len(said), words)
        return [(i, tuple(said[i : i + size])) for i in range(len(said) - size + 1) if size]

    seen = Counter(p for c in pool for p in {p for _, p in phrases(numberless_words(c))})
    shares = []
    for caption in captions:
        said = numberless_words(caption)
        covered = {i + k for i, p in phrases(said) if seen[p] >= least for k in range(len(p))}
        shares.append(len(covered) / max(len(said), 1))
    return shares


def test_planted_stock_is_learned_and_descriptions_are_not():
    found = template(POOL, POOL, least=20)
    assert found[: len(STOCK)].tolist() == [1.0] * len(STOCK)
    assert found[len(STOCK) : -len(OWN)].tolist() == [1.0] * len(SHORT)
    assert found[-len(OWN) :].tolist() == [0.0] * len(OWN)


@pytest.mark.parametrize("words", [1, 2, 4, 7])
def test_covered_words_are_those_counted_by_hand(words):
    rng = np.random.default_rng(words)
    pool = [" ".join(rng.choice(list("abcde"), rng.integers(1, 12))) for _ in range(300)] + ["!"]
    for least in (2, 5, 40):
        expected = by_hand(pool, pool, words=words, least=least)
        assert template(pool, pool, words=words, least=least) == pytest.approx(expected)


def test_longer_templates_need_no_count_of_their_own():
    pool = [f"{i} the long stock phrase of a shop {i}x" for i in range(30)]
    lengths = [template(pool, pool, words=words) for words in (4, 5, 6)]
    assert all((found >= lengths[-1]).all() for found in lengths)


def test_a_caption_that_repeats_itself_is_one_caption():
    assert template(["buy now and save " * 30], ["buy now and save"]).tolist() == [0.0]


def test_a_share_of_the_pool_is_needed():
    pool = ["stock phrase of shops"] * 30 + [f"w{'abc'[i % 3] * i}" for i in range(70)]
    assert template(pool, pool[:1], share=0.3).tolist() == [1.0]
    assert template(pool, pool[:1], share=0.31).tolist() == [0.0]


def test_shards_do_not_matter():
    templates = Templates()
    whole = templates.count({"caption": POOL})
    merged = merge([templates.count({"caption": part}) for part in (POOL[40:], [], POOL[:40])])
    assert dict(zip(merged.key_K.tolist(), merged.count_K.tolist(), strict=True)) == dict(
        zip(whole.key_K.tolist(), whole.count_K.tolist(), strict=True)
    )
    judge = templates.load({}, merged)
    apart = np.concatenate(
        [judge({"caption": p})["caption_template"] for p in (POOL[:7], POOL[7:])]
    )
    assert apart.tolist() == judge({"caption": POOL})["caption_template"].tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"words": 8}, "words = 8, expected 1 to 7"),
        ({"least": 1}, "least = 1 and share = 0.0001, expected at least 2"),
        ({"share": 1.5}, "share = 1.5"),
        ({"bits": 62}, "bits = 62, expected 1 to 61"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Templates(**settings)


def test_copies_are_rows_of_the_pool_with_one_normal_form():
    captions = ["A kite!", "a kite", "a boat", "A  KITE", "b"]
    no_hash = 0  # of a caption that the extractor raised on
    hashes = np.array([*(text_hash(words_of(c)) for c in captions), no_hash, no_hash], np.uint64)
    copies = Copies()
    counts = merge([copies.count({"caption_hash": part}) for part in (hashes[:2], hashes[2:])])
    found = copies.load({}, counts)({"caption_hash": hashes})["caption_copies"]
    assert found == [3, 3, 1, 3, 1, None, None]


def test_every_derived_column_comes_by_its_kind():
    door = TypeAdapter(list[AnyDerive])
    made = door.validate_python([{"kind": kind} for kind in ("surprise", "templates", "copies")])
    names = [column.name for derive in made for column in derive.columns]
    assert names == ["caption_surprise", "caption_template", "caption_copies"]
