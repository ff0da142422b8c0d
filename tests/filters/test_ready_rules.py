"""Ready-made rules on columns small enough to vote by eye."""

import inspect
from dataclasses import asdict, replace
from typing import get_args

import numpy as np
import polars as pl
import pytest

from filters.quantiles import quantile
from filters.rules import AnyRule, Band, Condition, ReadyMade
from filters.rules.caption import (
    CaptionBoilerplate,
    CaptionCopies,
    CaptionLanguage,
    CaptionSurprise,
    CaptionTemplate,
)
from filters.rules.objects import (
    ClipShare,
    ObjectsCounted,
    ObjectsFound,
    ObjectsShaped,
    ObjectsSure,
)
from filters.rules.quality import PictureEntropy, PictureQuality, PictureSize
from filters.rules.safety import Faces, Nsfw
from filters.rules.text import TextArea, TextOnly, TextOverlap, TMars, Watermark

READY = [rule for rule in get_args(AnyRule) if issubclass(rule, ReadyMade)]


def votes(rule, **columns):
    """Vote on float32 and int32 columns, as score tables have them."""
    kinds = {float: pl.Float32, int: pl.Int32, str: pl.String}
    series = {}
    for name, values in columns.items():
        kind = kinds[type(next(v for v in values if v is not None))]
        series[name] = pl.Series(name, values, kind)

    def cut(column, share):
        values = series[column].cast(pl.Float32).fill_null(np.nan).to_numpy()
        return quantile(lambda: [values], share)

    return rule.resolve({at: cut(*at) for at in rule.quantiles}).vote(series).tolist()


@pytest.mark.parametrize("kind", READY, ids=lambda kind: kind.__name__)
def test_a_ready_made_rule_is_named_documented_and_becomes_a_primitive(kind):
    rule = kind()
    assert rule.kind == rule.name
    assert "\nSource: " in inspect.getdoc(kind)
    assert "Source" not in inspect.getdoc(kind).splitlines()[0]
    renamed = replace(rule, name="mine", veto=True)
    primitive = renamed.resolve({at: at[1] for at in renamed.quantiles})
    assert isinstance(primitive, (Band, Condition))
    assert (primitive.name, primitive.veto) == ("mine", True)
    assert primitive.columns == rule.columns
    assert asdict(primitive)["kind"] in {"band", "condition"}


def test_kinds_are_distinct():
    kinds = [kind().kind for kind in READY]
    assert len(set(kinds)) == len(kinds)


def test_filter_a_drops_pictures_without_objects():
    assert votes(ObjectsFound(), object_count=[0, 1, 7, None]) == [0, 1, 1, -1]


def test_filter_b_keeps_the_best_of_the_pool():
    score = [i / 10 for i in range(10)]
    expected = [0] * 6 + [1] * 4  # n + 1 = 4 of 10, as in DataComp
    assert votes(ObjectsSure(), object_score=score) == expected
    assert votes(ObjectsSure(of="sum"), object_score_sum=score) == expected
    assert votes(ClipShare(share=0.5), alignment=score) == [0] * 4 + [1] * 6
    assert votes(TMars(), alignment_masked=[*score, None]) == [0] * 4 + [1] * 6 + [-1]


def test_filter_c_bounds_the_count():
    assert votes(ObjectsCounted(), object_count=[0, 1, 20, 21, None]) == [0, 1, 1, 0, -1]


def test_filter_d_reads_the_ratio_both_ways():
    edges = [0.0, 0.04, 0.05, 0.95, 0.96, None]
    expected = [0, 0, 1, 1, 0, -1]
    assert votes(ObjectsShaped(), object_area=edges) == expected
    assert votes(ObjectsShaped(of="sides"), object_ratio=edges) == expected


@pytest.mark.parametrize(
    ("rule", "columns", "expected"),
    [
        (TextArea(), {"text_read_area": [0.29, 0.3, 0.9, None]}, [-1, 0, 0, -1]),
        (TextOverlap(), {"text_overlap": [0.4, 0.5, None]}, [-1, 0, -1]),
        (Watermark(), {"text_watermark": [0.0, 0.2, None]}, [-1, 0, -1]),
        (TextOnly(), {"text_letters": [4, 3, 9], "text_rest": [0.01, 0.01, 0.02]}, [0, -1, -1]),
        (CaptionTemplate(), {"caption_template": [0.7, 0.8, 1.0]}, [-1, 0, 0]),
        (CaptionCopies(), {"caption_copies": [1, 10, 11]}, [-1, -1, 0]),
        (CaptionBoilerplate(), {"caption_boilerplate": [0.4, 0.5]}, [-1, 0]),
        (CaptionSurprise(share=0.2), {"caption_surprise": [5.0, 1.0, 2.0, 9.0, 4.0]},
         [-1, 0, -1, -1, -1]),
        (CaptionSurprise(share=0.2, end="high"), {"caption_surprise": [5.0, 1.0, 2.0, 9.0, 4.0]},
         [0, -1, -1, 0, -1]),
        (Nsfw(), {"nsfw": [0.1, 0.8, None]}, [-1, 0, -1]),
        (Faces(), {"face_count": [0, 1, 1], "face_area": [0.0, 0.09, 0.1]}, [-1, -1, 0]),
        (PictureSize(), {"width": [200, 199, 900], "height": [200, 500, 200],
                         "aspect": [1.0, 2.5, 4.5]}, [-1, 0, 0]),
        (PictureEntropy(), {"entropy": [0.5, 1.0, 3.0]}, [0, -1, 1]),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)  # fmt: skip
def test_thresholds_are_where_the_docstring_says(rule, columns, expected):
    assert votes(rule, **columns) == expected


def test_one_issue_is_enough():
    fine = {"blur": 0.29, "dark": 0.32, "light": 0.05, "low_information": 0.3, "odd_aspect": 0.35}
    rows = [fine, *({**fine, score: fine[score] - 0.01} for score in fine)]
    columns = {score: [row[score] for row in rows] for score in fine}
    assert votes(PictureQuality(), **columns) == [-1, 0, 0, 0, 0, 0]


def test_another_language_needs_two_detectors_and_words_or_certainty():
    rows = [  # language, its score, second, its score, words -> vote
        ("en", 0.3, "en", 0.4, 1, 1),
        ("en", 0.9, "de", 0.9, 9, -1),
        ("de", 0.9, "nl", 0.9, 9, -1),  # another one each
        ("de", 0.6, "de", 0.8, 4, 0),
        ("de", 0.6, "de", 0.8, 3, -1),  # too short
        ("ja", 0.6, "ja", 0.95, 1, 0),  # the second is sure
        ("de", 0.5, "de", 0.95, 9, -1),
        ("de", 0.6, "de", 0.7, 9, -1),
    ]
    names = ("language", "language_score", "language_2", "language_2_score", "caption_words")
    *columns, expected = zip(*rows, strict=True)
    given = {name: list(values) for name, values in zip(names, columns, strict=True)}
    assert votes(CaptionLanguage(), **given) == list(expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClipShare(share=30.0), "got share 30.0, expected above 0 and below 1"),
        (lambda: ObjectsCounted(least=9, most=3), "got 9 to 3, expected a range"),
        (lambda: PictureEntropy(keep=1.0, drop=2.0), "keep above drop"),
        (lambda: CaptionSurprise(share=5.0), "got quantile 5.0"),
        (lambda: CaptionLanguage(language="en' OR '1' = '1"), "expected a code such as en"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()
