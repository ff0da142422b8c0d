"""Balancing a pool by its captions: counts of what is left, draws by uid, any cut of the pool."""

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from filters.extract.caption import CaptionStatistics
from filters.hashing import uniform
from pipeline.columns.remaining import Remaining, reason_column
from pipeline.columns.stages import Place, column_stage
from pipeline.deciding.balance import balance
from pipeline.executors import run_local
from pipeline.folder import Folder
from pipeline.health import verify
from pipeline.schema import Reason
from pipeline.settings import Balance
from pipeline.shards import find_shards, write_shard
from tests.integration.engine import score, tables
from tests.toy import draw, encoded, pair

ENTRIES = ["dog", "cat", "newt", "a cat", "unheardof"]
CAPTIONS = ["a dog", "a dog, running", "the cat", "a cat", "dog and a cat", "a newt", "nothing"]
WEIGHTS = (40, 20, 20, 10, 10, 2, 8)
ROWS = 600


def captions():
    rng = np.random.default_rng(0)
    return rng.choice(CAPTIONS, ROWS, p=np.array(WEIGHTS) / sum(WEIGHTS)).tolist()


def uid_of(number):
    return f"{number * 7919:032x}"


def put_out(_shared, scores, shard):
    """Every fifth uid is out already."""
    keys = scores.good(shard, ["key"]).column("key").to_pylist()
    return {"reason_early": ["quota" if int(key) % 5 == 0 else "ok" for key in keys]}


def pool(home, cuts):
    """Write, score and partly put out a pool in so many shards."""
    image = encoded(draw("circle", "red", size=(24, 24)))
    numbered = list(enumerate(captions()))
    for shard, some in enumerate(np.array_split(np.arange(ROWS), cuts)):
        path = home / "pool" / f"{shard:03d}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        members = [
            member
            for at in some.tolist()
            for member in pair(
                f"{at:05d}", image=image, caption=numbered[at][1], meta={"uid": uid_of(at)}
            )
        ]
        write_shard(path, members)
    scores = score(home / "pool", home / "run", CaptionStatistics())
    place = Place(find_shards([str(home / "pool")]), Folder(str(home / "run")), run_local)
    early = column_stage(
        scores, "early", (reason_column("early"),), place=place, reads=scores.columns, version=1
    )
    return Remaining(early.fill(put_out, None), "reason_early"), place


def entries(home, names=ENTRIES):
    path = home / "entries.txt"
    path.write_text("\n".join(names))
    return lambda _name: path


def decided(remaining):
    """Return reason and probability of every pair by number."""
    found = {}
    for shard in range(len(remaining.scores)):
        table = remaining.scores.good(shard, ["key", remaining.reason, "balance_p"])
        for row in table.to_pylist():
            found[int(row["key"])] = (row[remaining.reason], row["balance_p"])
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("balance")


@pytest.fixture(scope="module")
def one(home):
    return pool(home / "one", 1)


CFG = Balance(metadata="entries.txt", threshold=30)


def run(remaining, place, home, cfg=CFG, seed=0):
    return balance(remaining, cfg, place=place, seed=seed, weights=entries(home))


def test_pairs_stay_by_the_closed_form_of_what_is_left(one, home):
    found = decided(run(*one, home))
    left = {at: text for at, text in enumerate(captions()) if at % 5}
    named = {at: [e for e in ENTRIES if f" {e} " in f" {text.replace(',', ' , ')} "]
             for at, text in left.items()}  # fmt: skip
    count = Counter(e for some in named.values() for e in some)
    assert count["dog"] > 200
    assert len(found) == ROWS
    uid_N2 = np.array([[0, at * 7919] for at in range(ROWS)], np.uint64)
    drawn = uniform(uid_N2, salt="balance:0")
    for at, (reason, p) in found.items():
        if at % 5 == 0:
            assert (reason, p) == ("quota", None)
            continue
        expected = 1 - math.prod(1 - min(1, 30 / count[e]) for e in named[at])
        assert p == pytest.approx(expected, abs=1e-6)
        assert reason == ("ok" if drawn[at] < p else Reason.BALANCE)
    nothing = {found[at] for at in left if left[at] == "nothing"}
    assert nothing == {("balance", 0.0)}
    assert {found[at] for at in left if "newt" in left[at]} == {("ok", 1.0)}
    kept = sum(reason == "ok" for reason, _ in found.values())
    assert kept == pytest.approx(sum(p or 0 for _, p in found.values()), abs=40)


@pytest.mark.slow
def test_however_the_pool_is_cut(one, home):
    whole = decided(run(*one, home))
    remaining, place = pool(home / "many", 18)
    assert decided(run(remaining, place, home)) == whole
    assert decided(run(remaining, place, home, seed=1)) != whole
    assert list(verify(Folder(str(home / "many" / "run")))) == []


def test_what_is_done_is_not_done_again_unless_the_entries_are_others(one, home):
    run(*one, home)
    before = tables(home / "one" / "run")
    run(*one, home)
    assert tables(home / "one" / "run") == before
    others = balance(*one[:1], CFG, place=one[1], seed=0,
                     weights=entries(home, [*ENTRIES, "running"]))  # fmt: skip
    entries(home)
    assert decided(others) != decided(run(*one, home))


def test_a_share_of_matches_finds_the_threshold(one, home):
    cfg = replace(CFG, tail=0.4)
    remaining = run(*one, home, cfg=cfg)
    (source,) = [s for s in remaining.scores.sources if "balance_p" in s.columns]
    told = json.loads((Folder(source.folder)).read("balance.json"))
    assert list(told["most"]) == ["dog", "cat", "a cat", "newt", "unheardof"]
    counts = list(told["most"].values())
    assert told["matches"] == sum(counts)
    below = sum(c for c in counts if c < told["threshold"]) / sum(counts)
    assert below <= 0.4 < sum(c for c in counts if c <= told["threshold"]) / sum(counts)
    assert (told["entries"], told["matched"]) == (5, 4)
