"""One extractor that fails costs its columns, a vital one the pair."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from filters.extract import Batch, CaptionStatistics, Column
from pipeline.cells import Stopwatch, load_all, values_of
from pipeline.cells.loaded import MOST_TOLD, Loaded
from pipeline.tables import field_of
from pipeline.weights import model_file
from tests.poison import Poison

CAPTION = CaptionStatistics()


@dataclass(frozen=True, kw_only=True, slots=True)
class Vital(Poison):
    vital: ClassVar[bool] = True


ODD = field_of(Column("odd", "int32", "", "", "odd"))
WEIGHTS = {name: model_file(name) for name in CAPTION.weights}
BATCH = Batch([], [], ["one", "two words", "bad", "last"])


def raising(batch):
    if "bad" in batch.captions:
        raise RuntimeError("a caption it cannot read")
    return {"odd": np.ones(len(batch), np.int32)}


def odd(values):
    return Loaded("odd", lambda batch: values(batch.captions), vital=False, fields=(ODD,))


@pytest.mark.parametrize("bad", ["a text", float("nan"), 2**40, [1]])
def test_a_value_that_no_table_can_hold_is_as_good_as_none(bad):
    broken = odd(lambda captions: {"odd": [bad if c == "bad" else 1 for c in captions]})
    values = values_of([broken], BATCH, Stopwatch())
    assert values == [{"odd": 1}, {"odd": 1}, {}, {"odd": 1}]


@pytest.mark.parametrize("count", [0, 3, 9])
def test_too_few_or_too_many_values_are_nobodys(count):
    broken = odd(lambda _captions: {"odd": [1] * count})
    assert values_of([broken], BATCH, Stopwatch()) == [{}] * len(BATCH)


def test_what_is_not_declared_is_not_kept():
    (whole,) = load_all([CAPTION], WEIGHTS, threads=1)
    thief = odd(lambda captions: {"odd": [1] * len(captions), "caption_chars": [0] * len(captions)})
    values = values_of([whole, thief], BATCH, Stopwatch())
    assert [v["caption_chars"] for v in values] == [3, 9, 3, 4]


def test_an_extractor_that_always_raises_does_not_fill_the_log(caplog):
    broken = odd(lambda _captions: {}["two\nlines"])
    for _ in range(30):
        values_of([broken], BATCH, Stopwatch())
    assert len(caplog.messages) == MOST_TOLD
    assert "the report counts further ones" in caplog.messages[-1]


@pytest.mark.parametrize("vital", [False, True])
def test_where_an_extractor_raises_only_that_pair_suffers(vital):
    (whole,) = load_all([CAPTION], WEIGHTS, threads=1)
    values = values_of([Loaded("odd", raising, vital, (ODD,)), whole], BATCH, Stopwatch())
    for i in (0, 1, 3):
        assert values[i]["odd"] == 1
        assert values[i]["caption_chars"] == len(BATCH.captions[i])
    if vital:
        assert values[2] is None
    else:
        assert "odd" not in values[2]
        assert values[2]["caption_chars"] == 3


def test_what_does_not_load_is_left_out_and_told(caplog):
    (left,) = load_all([Poison(loads="raises"), CAPTION], WEIGHTS, threads=1)
    assert left.kind == "caption"
    assert "poison does not load, its columns stay null: RuntimeError: model: got no" in caplog.text


def test_what_is_vital_and_does_not_load_is_named():
    with pytest.raises(RuntimeError, match=r"poison: got RuntimeError: model: got no.*fetched"):
        load_all([Vital(loads="raises")], WEIGHTS, threads=1)


def test_extractors_share_what_they_both_need():
    made = []
    batch = Batch([], [], ["a"])
    for _ in range(2):
        assert batch.once("letters", lambda: made.append(1) or 7) == 7
    assert made == [1]
    assert batch.row(0).once("letters", lambda: 8) == 8  # of another batch
