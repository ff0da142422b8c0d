"""Samples that kill or stop the process that reads them, and models that cannot be loaded."""

import pytest

from pipeline.executors import run_on_ray
from pipeline.executors.cluster import connected
from pipeline.folder import Folder
from pipeline.health import verify
from tests.integration.engine import captioned, rows, score, tables
from tests.poison import HANGS, KILLS, Poison

pytestmark = pytest.mark.slow
LOCAL = run_on_ray("local")
BAD = 5


@pytest.fixture(scope="module", autouse=True)
def ray():
    """Start Ray once for this module."""
    with connected("local"):
        yield


def captions(marker="", number=40, at=(BAD,)):
    return [f"a picture of {i} {marker if i in at else ''}" for i in range(number)]


@pytest.mark.parametrize(
    ("marker", "status", "attempts", "number"),
    [(KILLS, "cell_died", 2, 16), (HANGS, "timeout", 1, 8)],
)
def test_a_sample_that_ends_its_cell_costs_its_own_row(tmp_path, marker, status, attempts, number):
    for name, bad in (("clean", ""), ("poisoned", marker)):
        captioned(tmp_path / name / "0.tar", captions(bad, number))
        captioned(tmp_path / name / "1.tar", captions("", number))
    score(tmp_path / "clean", tmp_path / "a", Poison())
    score(
        tmp_path / "poisoned", tmp_path / "b", Poison(),
        execute=LOCAL, count=2, attempts=attempts, timeout=2.0, batch=8,
    )  # fmt: skip
    clean, found = rows(tmp_path / "a"), rows(tmp_path / "b")
    bad = found.pop(BAD)
    del clean[BAD]
    assert found == clean
    assert (bad["key"], bad["status"], bad["letters"]) == (f"{BAD:05d}", status, None)
    assert bad["caption"] == f"a picture of {BAD} {marker}"
    assert list(verify(Folder(str(tmp_path / "b")))) == []


def test_a_part_that_kills_sends_the_whole_shard_to_be_searched(tmp_path):
    captioned(tmp_path / "pool" / "0.tar", captions(KILLS, 2100, at=(2000,)))
    score(
        tmp_path / "pool", tmp_path / "out", Poison(),
        execute=LOCAL, count=2, attempts=1, part_bytes=1,
    )  # fmt: skip
    found = rows(tmp_path / "out")
    assert {i: row["status"] for i, row in enumerate(found) if row["letters"] is None} == {
        2000: "cell_died"
    }
    assert [row["key"] for row in found] == [f"{i:05d}" for i in range(2100)]
    assert len(tables(tmp_path / "out")) == 1, "parts were left behind"


def test_a_model_that_cannot_be_loaded_ends_the_run_with_its_own_words(tmp_path):
    captioned(tmp_path / "pool" / "0.tar", captions())
    vital = Poison(loads="raises", vital=True)
    with pytest.raises(RuntimeError, match=r"^poison: got RuntimeError: model: got no weights"):
        score(tmp_path / "pool", tmp_path / "out", vital, execute=LOCAL)
    assert rows(tmp_path / "out") == []


def test_a_model_that_kills_its_cell_ends_the_run_after_a_few(tmp_path):
    captioned(tmp_path / "pool" / "0.tar", captions())
    with pytest.raises(
        RuntimeError, match=r"cells: got 4 in a row that died while they loaded.*give them memory"
    ) as caught:
        score(
            tmp_path / "pool", tmp_path / "out", Poison(loads="kills"),
            execute=LOCAL, count=1, attempts=2,
        )  # fmt: skip
    assert "\n" not in str(caught.value)
    assert rows(tmp_path / "out") == []
