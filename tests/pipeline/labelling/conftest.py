"""A curated run of 60 drawn pairs and three rules, small enough to count by eye."""

import io

import numpy as np
import pyarrow as pa
import pytest

from filters.rules import Band
from pipeline.folder import Folder
from pipeline.samples import read_shard
from pipeline.schema import Reason
from pipeline.scores import Scores
from pipeline.shards import write_shard
from pipeline.tables import encode
from pipeline.votes import rules_json
from tests.decided import with_decisions
from tests.toy import draw, encoded

ROWS = 60
NO_VOTES, TWICE, NO_PICTURE = 57, 58, 59
RULES = ("a", "b", "c")
HOSTILE = "</script><img src=x onerror=alert(1)> \u202egpj.exe"


def decided(urls: list[str]) -> pa.Table:
    samples = [(s, sample) for s, url in enumerate(urls) for sample in read_shard(url)]
    rng = np.random.default_rng(0)
    votes = rng.integers(-1, 2, (ROWS, len(RULES)))
    says = np.where(votes < 0, 0, 2 * votes - 1)
    p_keep = np.round(1 / (1 + np.exp(-says @ (1.0, 0.7, 0.4))), 3)  # equal votes, equal p(keep)
    scored = np.arange(ROWS) != NO_VOTES
    reason = [str(Reason.OK if p >= 0.5 else Reason.LOW_P_KEEP) for p in p_keep]
    reason[NO_VOTES], reason[TWICE] = str(Reason.DECODE_ERROR), str(Reason.REPEATED_UID)
    uids = [sample.uid for _, sample in samples]
    uids[TWICE] = uids[0]
    offsets = [sample.offset for _, sample in samples]
    offsets[NO_PICTURE] = -1
    return pa.table(
        {
            "shard": pa.array([s for s, _ in samples], pa.int32()),
            "uid": pa.array(uids, pa.binary(16)),
            "offset": pa.array(offsets, pa.int64()),
            "size": pa.array([sample.size for _, sample in samples], pa.int64()),
            "caption": [sample.caption for _, sample in samples],
            "reason": reason,
            "p_keep": pa.array(p_keep, mask=~scored),
            **{
                f"vote:{rule}": pa.array(votes[:, m].astype(np.int8), mask=~scored)
                for m, rule in enumerate(RULES)
            },
        }
    )


@pytest.fixture(scope="session")
def decisions(tmp_path_factory) -> tuple[pa.Table, tuple[str, ...]]:
    """Rows of two shards; row 0 has a hostile caption, row 1 is no picture."""
    folder = tmp_path_factory.mktemp("labelling")
    urls = [str(folder / f"{s}.tar") for s in (0, 1)]
    picture = encoded(draw("circle", "red", size=(1600, 1200)), "JPEG")
    for s in (0, 1):
        members = []
        for i in range(s * 30, s * 30 + 30):
            caption = HOSTILE if i == 0 else f"circle number {i}"
            members += [
                (f"{i:03d}.jpg", b"no picture" if i == 1 else picture),
                (f"{i:03d}.txt", caption.encode()),
            ]
        write_shard(folder / f"{s}.tar", members)
    return decided(urls), tuple(urls)


@pytest.fixture
def run(decisions, tmp_path) -> Folder:
    """A run folder that a test may change."""
    table, urls = decisions
    folder = Folder(str(tmp_path / "run"))
    rules = [Band(name=name, column=name, keep=1.0) for name in RULES]
    scores = with_decisions(Scores(urls, ("0", "1"), ()), tmp_path / "decided", table, rules)
    subset = folder / "subset"
    subset.write("rules.json", rules_json(rules))
    subset.write("scores.parquet", scores.dump())
    folder.write("config.toml", b"")
    return folder


@pytest.fixture
def parquet(tmp_path):
    """Return a writer of small Parquet files."""

    def write(name: str, **columns) -> str:
        path = tmp_path / name
        path.write_bytes(io.BytesIO(encode(pa.table(columns))).getvalue())
        return str(path)

    return write
