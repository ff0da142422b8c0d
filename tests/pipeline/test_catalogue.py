"""What `thresher filters list` tells is what classes and docstrings say."""

from dataclasses import dataclass
from typing import Literal, get_args

from typer.testing import CliRunner

from filters.concepts import Consensus
from filters.extract import Column, Embeddings, Extractor
from filters.rules import AnyRule, ReadyMade
from pipeline.catalogue import (
    OTHERS,
    Writer,
    _extractor,
    cheapest,
    dearest,
    rules,
    settings,
    source,
    writers,
)
from pipeline.commands import filters_app
from training.alignment.fit import Alignment


def column(name):
    return Column(name, "float32", "", "[0, 1]", "made up")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked(Extractor):
    """Asks somebody.

    Source: nobody,
    in particular.
    """

    kind: Literal["asked"] = "asked"
    question: str
    endpoint: str
    times: int = 3

    @property
    def columns(self):
        return (column(f"{self.question}_answer"),)

    def load(self, weights, *, threads):
        raise NotImplementedError


def test_a_class_tells_everything():
    writer = _extractor(Asked)
    assert (writer.kind, writer.does, writer.cost) == ("asked", "Asks somebody.", "endpoint")
    assert [c.name for c in writer.columns] == ["<question>_answer"]
    assert source(Asked) == "nobody, in particular."
    assert settings(Asked) == "question, endpoint, times=3"
    assert source(Embeddings) == ""


def test_the_cheapest_writer_and_the_dearest_column_count():
    a, b = column("a"), column("b")
    costs = cheapest([
        Writer("x", "", "large model", (a, b)), Writer("y", "", "picture", (a,)),
    ])  # fmt: skip
    assert (costs["a"], costs["b"], costs["caption"]) == ("picture", "large model", "none")
    assert dearest(costs, ["a", "caption"]) == "picture"
    assert dearest(costs, ["a", "b"]) == "large model"
    assert dearest(costs, ["a", "icc"]) == OTHERS
    assert dearest(costs, []) == "none"


def test_costs_of_our_rules_follow_from_the_extractors():
    cost = {rule.kind: rule.cost for rule in rules(writers([Alignment]))}
    assert cost["caption_boilerplate"] == "caption"
    assert cost["picture_size"] == "picture"
    assert cost["text_only"] == cost["objects_found"] == "small model"
    assert cost["clip_share"] == "small model"  # the fitted alignment, not CLIP's
    assert cost["ecodatum_concrete"] == OTHERS


def test_every_rule_is_listed_with_its_source():
    listed = {rule.kind: rule for rule in rules(writers([Alignment]))}
    assert list(listed)[:2] == ["band", "condition"]
    ready = [cls for cls in get_args(AnyRule) if issubclass(cls, ReadyMade)]
    assert list(listed)[2:] == [cls().kind for cls in ready]
    for cls in ready:
        rule = listed[cls().kind]
        assert rule.columns == cls().columns
        assert rule.source
        assert rule.does.endswith(".")
        assert "veto" not in rule.defaults


def test_something_of_ours_writes_every_column_but_one():
    costs = cheapest(writers([Alignment]))
    read = {c for rule in rules(writers([Alignment])) for c in rule.columns}
    assert read - set(costs) == {"icc"}


def test_the_list_is_plain_text_where_there_is_no_terminal():
    app = filters_app(Alignment)
    printed = CliRunner().invoke(app, ["list"])
    assert printed.exit_code == 0, printed.output
    head, *lines = [line.split("\t") for line in printed.stdout.splitlines()]
    assert head == ["rule", "does", "columns", "cost", "defaults", "source"]
    by_kind = {line[0]: line for line in lines}
    assert by_kind["ecodatum_clip"][2:5] == [
        "alignment", "small model", "threshold=0.21, margin=0.02",
    ]  # fmt: skip
    assert by_kind["caption_copies"][5].startswith("ALIGN (arXiv:2102.05918")
    _, *columns = CliRunner().invoke(app, ["list", "--extractors"]).stdout.splitlines()
    written = [line.split("\t")[2] for line in columns]
    assert {"width", "alignment", Consensus.column.name} <= set(written)
    size = next(line for line in columns if "\twidth\t" in line)
    assert size.split("\t") == [
        "image", "picture", "width", "int32", "px", "[1, inf)", "width of the original picture",
    ]  # fmt: skip
