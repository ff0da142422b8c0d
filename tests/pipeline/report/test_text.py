"""Untrusted text is tamed; numbers read as a person would write them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report import text

REPLACED = "\ufffd"


@given(st.text())
def test_plain_text_is_short_visible_and_on_one_line(raw):
    shown = text.plain(raw, limit=20)
    assert len(shown) <= 21
    assert len(shown.splitlines()) <= 1
    assert {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Co", "Cn"} == set()
    assert text.plain(shown, limit=21) == shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("  a\tred\n\u2028bus ", "a red bus"),
        ("x\u202ey\u2066z\u200f", f"x{REPLACED}y{REPLACED}z{REPLACED}"),
        ("nul\x00", f"nul{REPLACED}"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),
        ("<b>&", "<b>&"),
        ("a" * 161, "a" * 160 + "\u2026"),
        (" " * 700 + "late", "\u2026"),
    ],
)
def test_plain(raw, shown):
    assert text.plain(raw) == shown


@pytest.mark.parametrize(
    ("function", "value", "shown"),
    [
        (text.percent, 0.1234, "12.3 %"),
        (text.percent, 0.0001, "< 0.1 %"),
        (text.percent, 0.0, "0.0 %"),
        (text.percent, float("nan"), "\u2013"),
        (text.percent, None, "\u2013"),
        (text.count, 1234567, "1,234,567"),
        (text.signed, -0.5, "\u22120.50"),
        (text.signed, 2.0, "+2.00"),
        (text.signed, None, "\u2013"),
        (text.compact, 0.25, "0.25"),
        (text.compact, 45_000, "45k"),
        (text.compact, -1_200_000, "\u22121.2M"),
        (text.duration, 0.456, "0.46 s"),
        (text.duration, 192.4, "3 min 12 s"),
        (text.duration, 3599.7, "1 h 00 min"),
        (text.duration, 7500, "2 h 05 min"),
        (text.size, 999, "999 B"),
        (text.size, 1_234_567, "1.2 MB"),
    ],
)
def test_numbers(function, value, shown):
    assert function(value) == shown
