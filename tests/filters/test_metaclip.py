"""MetaCLIP's balancing against the naive substring loop, simulation and the binomial law."""

import json
import math

import numpy as np
import pytest

from filters.concepts.metaclip import (
    Matcher,
    metaclip_probability,
    read_entries,
    spaced,
    threshold_for,
)
from filters.hashing import uniform

ODD = [
    "", " ", "  ", "dog", "Dog", "dogs", " dog  dog", "a,dog.a;cat:dog?cat!dog`cat", "dog, cat",
    "dog\tcat\ncat", "dog\rcat", "dog\u00a0cat", "\u65e5\u672c dog", "caf\u00e9 cat",
    "cafe\u0301 cat", "\U0001f436 dog \U0001f431", "cat\u2028dog", "\0dog\0 cat", "a cat a cat a",
    "e\u0301",
]  # fmt: skip
ENTRIES = ["dog", "cat", "a cat", "cat a", "a cat a", "dog  dog", "Dog", "a", "caf\u00e9", "a,dog",
           "\u65e5\u672c", "\U0001f431", "dog ,", "\0dog\0"]  # fmt: skip


def naive(captions, entries):
    """The authors' rule as they write it: every entry is sought in every caption."""
    found = []
    for at, caption in enumerate(captions):
        text = f" {caption} "
        for mark in ",.;:?!`":
            text = text.replace(mark, f" {mark} ")
        for space in "\t\n\r":
            text = text.replace(space, " ")
        found += [(at, e) for e, entry in enumerate(entries) if f" {entry} " in text]
    return found


def matches(captions, entries):
    caption_P, entry_P = Matcher(entries).match(captions)
    assert (caption_P.dtype, entry_P.dtype) == (np.int64, np.int32)
    return list(zip(caption_P.tolist(), entry_P.tolist(), strict=True))


def test_odd_captions_match_as_in_the_naive_loop():
    assert matches(ODD, ENTRIES) == naive(ODD, ENTRIES)
    assert matches(["a cat a"], ENTRIES) == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 7)]
    assert matches([], ENTRIES) == []
    assert matches(ODD, []) == []


@pytest.mark.slow
def test_a_thousand_captions_match_as_in_the_naive_loop():
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("abcDE"), rng.integers(1, 4))) for _ in range(90)])
    marks = np.array(["", "", "", ",", ".", "!", " ", "\t", "`"])

    def text(longest):
        chosen = rng.choice(words, rng.integers(0, longest))
        return " ".join(w + m for w, m in zip(chosen, rng.choice(marks, len(chosen)), strict=True))

    captions = [text(20) for _ in range(1000)]
    entries = list(dict.fromkeys(e for e in (text(4) for _ in range(6000)) if e))[:2000]
    assert len(entries) == 2000
    expected = naive(captions, entries)
    assert len(expected) > 5000
    assert matches(captions, entries) == expected


def test_punctuation_is_set_apart_once():
    assert spaced("a,b\tc") == " a , b c "


def test_the_probability_is_that_of_simulated_draws():
    entries_of = [[0], [0, 1], [2], [], [0, 1, 2, 3], [3]]
    caption_P = np.repeat(np.arange(6), [len(e) for e in entries_of])
    entry_P = np.array([e for some in entries_of for e in some], np.int32)
    count_E = np.array([200, 1000, 100, 99])
    p = metaclip_probability(caption_P, entry_P, count_E, captions=6, threshold=100)
    assert p == pytest.approx([0.5, 1 - 0.5 * 0.9, 1, 0, 1, 1], abs=1e-15)
    rng = np.random.default_rng(1)
    fires = rng.random((200_000, 4)) < 100 / count_E
    simulated = [fires[:, e].any(axis=1).mean() if e else 0.0 for e in entries_of]
    assert p == pytest.approx(simulated, abs=4 * math.sqrt(0.25 / 200_000))


def test_the_probability_of_many_rare_events_keeps_its_digits():
    count_E = np.full(3, 10**15)
    p = metaclip_probability(np.zeros(3, int), np.arange(3), count_E, captions=1, threshold=1)
    assert p[0] == pytest.approx(3e-15, rel=1e-12)


def test_what_is_kept_follows_the_binomial_law():
    uid_N2 = np.stack([np.zeros(200_000, np.uint64), np.arange(200_000, dtype=np.uint64)], axis=1)
    u = uniform(uid_N2, salt="balance:3")
    assert 0 <= u.min() <= u.max() < 1
    for p in (0.001, 0.05, 0.3, 0.5, 0.9):
        deviation = math.sqrt(p * (1 - p) * len(u))
        assert abs((u < p).sum() - p * len(u)) < 4 * deviation
    counts, _ = np.histogram(u, 1000, (0, 1))
    squares = ((counts - 200) ** 2 / 200).sum()
    assert abs(squares - 999) < 4 * math.sqrt(2 * 999)  # chi square
    for other in (
        uniform(uid_N2, salt="balance:4"), uniform(uid_N2, salt="batch:3"),
        uniform(uid_N2[:, ::-1], salt="balance:3"), np.roll(u, 1),
    ):  # fmt: skip
        assert abs(np.corrcoef(u, other)[0, 1]) < 4 / math.sqrt(len(u))


def test_a_draw_depends_on_the_uid_alone():
    rng = np.random.default_rng(5)
    uid_N2 = rng.integers(0, 2**64, (500, 2), dtype=np.uint64)
    order = rng.permutation(500)
    u = uniform(uid_N2, salt="balance:0")
    assert (uniform(uid_N2[order], salt="balance:0") == u[order]).all()
    assert uniform(uid_N2[:0], salt="balance:0").shape == (0,)


@pytest.mark.parametrize("tail", [0.0, 0.06, 0.3, 0.5, 0.9, 0.9999])
def test_the_threshold_has_the_share_of_matches_below_it(tail):
    count_E = np.random.default_rng(2).zipf(1.5, 3000).clip(max=100_000) - 1
    t = threshold_for(count_E, tail)

    def below(threshold):
        return count_E[count_E < threshold].sum() / count_E.sum()

    assert below(t) <= tail < below(t + 1)


def test_no_match_at_all_has_a_threshold():
    assert threshold_for(np.zeros(4, np.int64), 0.5) == 1


def test_entries_come_from_lines_or_json(tmp_path):
    (tmp_path / "e.txt").write_bytes("dog\r\n\na cat \ncaf\u00e9\ndog".encode())
    (tmp_path / "e.json").write_text(json.dumps(["dog", "", "a cat", "caf\u00e9", "dog"]))
    assert read_entries(tmp_path / "e.txt") == ["dog", "a cat", "caf\u00e9"]
    assert read_entries(tmp_path / "e.json") == ["dog", "a cat", "caf\u00e9"]


@pytest.mark.parametrize(
    ("name", "data"),
    [("e.txt", b"\n \n"), ("e.json", b'{"a": 1}'), ("e.json", b"[1]"), ("e.txt", b"\xff"),
     ("e.json", b"[")],
)  # fmt: skip
def test_what_is_no_list_of_entries_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=r"entries: got .*expected .*; correct the file"):
        read_entries(tmp_path / name)
