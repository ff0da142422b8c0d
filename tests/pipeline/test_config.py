"""The door: what is admitted, how it is overridden, and what a refusal says."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.config import STRICT, dump_config, load_config
from thresher import Run

CONFIGS = Path(__file__).parents[2] / "configs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    name: str = "x"
    size: int = 1
    share: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    part: Part = field(default_factory=Part)
    parts: tuple[Part, ...] = ()
    __pydantic_config__ = STRICT


def load(tmp_path, text, *overrides):
    (tmp_path / "c.toml").write_text(text)
    return load_config(tmp_path / "c.toml", Tree, overrides=overrides)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_every_shipped_config_loads_and_survives_a_round_trip(path, tmp_path):
    cfg = load_config(path, Run)
    (tmp_path / "again.toml").write_text(dump_config(cfg))
    assert load_config(tmp_path / "again.toml", Run) == cfg


def test_overrides_come_before_validation_and_know_types(tmp_path):
    text = '[[parts]]\nname = "a"\n[[parts]]\nname = "b"\n'
    tree = load(tmp_path, text, "part.size=3", "part.name=word", "parts.b.share=0.5")
    assert tree.part == Part(size=3, name="word")
    assert [p.share for p in tree.parts] == [None, 0.5]


@pytest.mark.parametrize(
    ("text", "override", "message"),
    [
        ("[part]\nsiez = 1", (), "part.siez: got 1, unexpected keyword"),
        ('[part]\nsize = "1"', (), "part.size: got '1', input should be a valid integer"),
        ("[part]\nsize = 1.5", (), "part.size"),
        ("", ("part.size",), "expected KEY.KEY=VALUE"),
        ("", ("part.size.deep=1",), "part.size"),
        ("[part]\nsize = 1", ("part.size.deep=1",), "'size' is a value"),
        ("", ("parts.4.name=x",), "parts"),
    ],
)
def test_a_refusal_names_path_value_and_rule(tmp_path, text, override, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, text, *override)
