"""Answers are on the disk at once, can be taken back, and are found again."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.labelling.answers import UNCERTAIN, AnswerFile
from pipeline.labelling.choice import Choice
from pipeline.labelling.session import Session
from pipeline.labels import RANDOM

CHOICES = [Choice(i, bytes([i]) * 16, (RANDOM, UNCERTAIN)[i % 2]) for i in range(6)]


@pytest.fixture
def file(tmp_path):
    return AnswerFile.at(str(tmp_path / "labels.parquet"))


def stored(file):
    table = pq.read_table(file.url)
    return {row["uid"][0]: (row["label"], row["chosen"]) for row in table.to_pylist()}


def test_answers_skips_and_undo(file):
    session = Session.resume(CHOICES, file)
    session.answer(0, "keep")
    session.answer(1, "drop")
    assert session.answer(2, "skip").position == 3
    assert stored(file) == {0: (1, RANDOM), 1: (0, UNCERTAIN)}
    assert session.undo().position == 2
    assert session.undo().position == 1
    assert stored(file) == {0: (1, RANDOM)}
    assert (session.progress().answered, session.progress().can_undo) == (1, True)
    session.undo()
    assert not session.undo().can_undo
    assert stored(file) == {}


def test_the_file_is_what_others_read(file):
    Session.resume(CHOICES, file).answer(0, "keep")
    schema = pq.read_schema(file.url)
    assert schema.types == [pa.binary(16), pa.int32(), pa.string(), pa.timestamp("ms", tz="UTC")]


def test_the_last_answer_holds_and_undo_brings_the_first_back(file):
    session = Session.resume(CHOICES, file)
    session.answer(0, "keep")
    session.answer(0, "drop")
    assert stored(file) == {0: (0, RANDOM)}
    session.undo()
    assert stored(file) == {0: (1, RANDOM)}


def test_a_new_sitting_goes_on_and_keeps_answers_of_other_pairs(file):
    first = Session.resume(CHOICES[:2], file)
    first.answer(0, "keep")
    first.answer(1, "skip")
    again = Session.resume(CHOICES[1:], file)
    assert again.progress().position == 0  # skips last as long as a sitting
    again.answer(2, "drop")
    assert stored(file) == {0: (1, RANDOM), 3: (0, UNCERTAIN)}
    assert Session.resume(CHOICES, file).undo().answered == 1  # the latest, of an earlier sitting
    assert stored(file) == {0: (1, RANDOM)}


def test_an_uncertain_pair_becomes_a_random_one_when_its_turn_comes(file):
    early = [Choice(0, bytes([2]) * 16, UNCERTAIN)]
    Session.resume(early, file).answer(0, "keep")
    session = Session.resume(CHOICES, file)
    session.answer(0, "keep")
    assert stored(file)[2] == (1, UNCERTAIN)
    session.answer(1, "keep")
    session.answer(3, "keep")
    assert stored(file)[2] == (1, RANDOM)


def test_an_answer_that_cannot_be_written_does_not_count(tmp_path):
    session = Session.resume(CHOICES, AnswerFile.at(str(tmp_path / "deep" / "labels.parquet")))
    session.answer(0, "keep")
    shutil.rmtree(tmp_path / "deep")
    (tmp_path / "deep").write_text("in the way")
    with pytest.raises(ValueError, match=r"run folder: got .*deep"):
        session.answer(1, "keep")
    with pytest.raises(ValueError, match=r"run folder: got .*deep"):
        session.undo()
    assert (session.progress().position, session.progress().answered) == (1, 1)


def test_a_file_of_something_else_is_refused_and_left(file, tmp_path):
    (tmp_path / "labels.parquet").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"labels: got .*labels\.parquet.*--out"):
        Session.resume(CHOICES, file)
    pq.write_table(pa.table({"uid": ["00"], "label": [1]}), file.url)
    with pytest.raises(ValueError, match=r"labels: got .*labels\.parquet.*--out"):
        Session.resume(CHOICES, file)


def test_two_sittings_at_a_time_lose_no_answer(file):
    one, other = Session.resume(CHOICES, file), Session.resume(CHOICES, file)
    one.answer(0, "keep")
    other.answer(1, "drop")
    one.answer(2, "keep")
    one.undo()
    assert stored(file) == {0: (1, RANDOM), 1: (0, UNCERTAIN)}
