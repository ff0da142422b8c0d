"""Where there is no terminal, progress is a line now and then, on standard error."""

import pytest

import pipeline.progress
from pipeline.progress import progress_bar

STEP = {"step": 1200, "steps": 3125, "loss": 5.2123, "samples_per_s": 12034.4, "data_wait": 0.02}


@pytest.mark.parametrize(("every_s", "lines"), [(0.0, 2), (3600.0, 0)])
def test_lines_come_no_sooner_than_they_are_due(monkeypatch, capsys, every_s, lines):
    monkeypatch.setattr(pipeline.progress, "LINE_S", every_s)
    with progress_bar("train on subset pairs") as bar:
        bar.step(STEP)
        bar.step({"step": 1201})
    out, err = capsys.readouterr()
    told = [
        "train on subset pairs: 1,200 of 3,125, loss 5.212, 12034 pairs/s, 2% waiting",
        "train on subset pairs: 1,201",
    ]
    assert (out, err.splitlines()) == ("", told[:lines])
