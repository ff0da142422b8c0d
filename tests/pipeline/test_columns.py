"""What reads a column that nobody writes is refused before anything is scored."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest

from filters.concepts import Consensus
from filters.derive import Combine, Derive, Head
from filters.extract import Column, Embeddings, ImageStatistics
from filters.rules import Band
from filters.rules.quality import PictureSize
from filters.rules.safety import Nsfw
from pipeline.config import Curation, Data
from pipeline.flow import check_columns, check_files
from pipeline.weights import model_file


@dataclass(frozen=True, kw_only=True, slots=True)
class Sum(Derive):
    kind: Literal["sum"] = "sum"
    name: str
    of: tuple[str, ...]

    @property
    def reads(self):
        return self.of

    @property
    def columns(self):
        return (Column(self.name, "float32", "", "", "a sum"),)

    def load(self, weights, counts):
        raise NotImplementedError


@pytest.fixture
def cfg():
    return Curation(
        data=Data(shards=("x.tar",)), extract=(ImageStatistics(), Embeddings()),
        rules=(PictureSize(), Band(name="r", column="late", keep=1.0)),
    )  # fmt: skip


def test_rules_may_read_what_is_derived_and_that_what_was_derived_before(cfg):
    early = Sum(name="early", of=("width", "consensus", "caption"))
    late = Sum(name="late", of=("early",))
    check_columns(replace(cfg, derive=(early, late)), [Consensus()])
    with pytest.raises(ValueError, match="derive 'sum': got column 'early'"):
        check_columns(replace(cfg, derive=(late, early)), [Consensus()])
    with pytest.raises(ValueError, match="rule 'r': got column 'late', expected one of"):
        check_columns(cfg, [Consensus()])


def test_a_ready_made_rule_needs_its_columns(cfg):
    with pytest.raises(ValueError, match=r"rule 'nsfw': got column 'nsfw'.*add the extractor"):
        check_columns(replace(cfg, rules=(Nsfw(),)), [])


@pytest.mark.parametrize("name", ["width", "uid", "status", "caption"])
def test_a_column_has_one_writer(cfg, name):
    sums = (Sum(name=name, of=("height",)),)
    with pytest.raises(ValueError, match=f"sum: got column {name!r}, which something before it"):
        check_columns(replace(cfg, derive=sums), [])


@pytest.mark.parametrize(
    "what",
    [
        Head(name="q", column="width", file="x.safetensors"),
        Combine(name="q", scores=("width", "image_embedding"), file="x.json"),
        Combine(name="q", scores=("caption",), file="x.json"),
    ],
)
def test_a_column_of_another_type_is_refused(cfg, what):
    with pytest.raises(ValueError, match=r"derive '(head|combine)': got column .*, expected one"):
        check_columns(replace(cfg, derive=(what,)), [])


def test_a_band_takes_numbers(cfg):
    band = Band(name="r", column="image_embedding", keep=1.0)
    with pytest.raises(ValueError, match="rule 'r': got column 'image_embedding', expected one of"):
        check_columns(replace(cfg, rules=(band,)), [Consensus()])


@pytest.mark.parametrize("data", [b"", b"\x10\0\0\0\0\0\0\0nonsense", b"PK\3\4" * 99])
def test_a_damaged_head_is_refused_before_anything_is_scored(tmp_path, data):
    (tmp_path / "x.safetensors").write_bytes(data)
    head = Head(name="q", column="image_embedding", file=str(tmp_path / "x.safetensors"))
    with pytest.raises(ValueError, match=r"head: got .*expected a safetensors file"):
        check_files([head], model_file)
    (tmp_path / "x.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model: got .*which is no file"):
        check_files([head], model_file)
