"""One extractor that fails costs its columns, a vital one the pair."""

import numpy as np
import pytest

from filters.extract import Batch, CaptionStatistics
from pipeline.cells import Stopwatch, load_all, values_of
from pipeline.cells.loaded import Loaded
from pipeline.weights import model_file
from tests.poison import Poison

CAPTION = CaptionStatistics()
WEIGHTS = {name: model_file(name) for name in CAPTION.weights}
BATCH = Batch([], [], ["one", "two words", "bad", "last"])


def raising(batch):
    if "bad" in batch.captions:
        raise RuntimeError("a caption it cannot read")
    return {"odd": np.ones(len(batch), np.int32)}


@pytest.mark.parametrize("vital", [False, True])
def test_where_an_extractor_raises_only_that_pair_suffers(vital):
    whole = Loaded("caption", CAPTION.load(WEIGHTS, threads=1), vital=True)
    values = values_of([Loaded("odd", raising, vital), whole], BATCH, Stopwatch())
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


def test_extractors_share_what_they_both_need():
    made = []
    batch = Batch([], [], ["a"])
    for _ in range(2):
        assert batch.once("letters", lambda: made.append(1) or 7) == 7
    assert made == [1]
    assert batch.row(0).once("letters", lambda: 8) == 8  # of another batch
