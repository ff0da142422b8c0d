"""The door: what is admitted, how it is overridden, and what a refusal says."""

from dataclasses import dataclass, field, replace
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


def test_the_hub_config_is_the_detection_config_with_another_detector():
    ours, hub = (load_config(CONFIGS / f"{n}.toml", Run) for n in ("detection", "detection-hub"))
    (at,) = (i for i, extractor in enumerate(ours.extract) if extractor.kind == "objects")
    assert hub.extract[at].kind == "grounding"
    swapped = (*ours.extract[:at], hub.extract[at], *ours.extract[at + 1 :])
    assert replace(ours, extract=swapped) == hub


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


PROMPT = """
[[extract]]
kind = "prompt"
name = "{name}"
template = "Does this caption describe a picture: {{caption}}? Answer yes or no."
answers = {{ yes = "keep", no = "drop" }}
model = "tiny"
[extract.endpoint]
url = "http://localhost:8000/v1"
"""
CURATION = """
[data]
shards = ["pool"]
{extract}
[[extract]]
kind = "caption"
[[rules]]
kind = "condition"
name = "prompted"
columns = ["relevant"]
keep = "relevant = 1"
"""


def curation(tmp_path, *names, tail="", overrides=()):
    extract = "".join(PROMPT.format(name=name) for name in names) + tail
    (tmp_path / "c.toml").write_text(CURATION.format(extract=extract))
    return load_config(tmp_path / "c.toml", Run, overrides=overrides)


def test_extractors_of_one_kind_stand_side_by_side(tmp_path):
    overrides = ("extract.relevant.endpoint.concurrency=4", "extract.advert.side=64")
    cfg = curation(tmp_path, "relevant", "advert", overrides=overrides)
    assert [e.name for e in cfg.extract[:2]] == ["relevant", "advert"]
    assert (cfg.extract[0].endpoint.concurrency, cfg.extract[1].side) == (4, 64)
    (tmp_path / "again.toml").write_text(dump_config(cfg))
    assert load_config(tmp_path / "again.toml", Run) == cfg


@pytest.mark.parametrize(
    ("names", "tail", "message"),
    [
        (["relevant", "relevant"], "", "extract: got .'relevant', 'relevant_answer', .* each col"),
        (["relevant", "relevant_score"], "", "got .'relevant_score'., expected at least one and"),
        (["caption"], "", "extract: got .'caption'., expected"),  # of every score table
        (["caption_words"], "", "extract: got .'caption_words'., expected"),
        (["relevant"], '\n[[extract]]\nkind = "caption"', "caption_chars"),
    ],
)
def test_no_column_is_written_twice(tmp_path, names, tail, message):
    with pytest.raises(ValueError, match=message):
        curation(tmp_path, *names, tail=tail)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('template="Is it {titel}?"', r"the field \{titel\}, expected \{caption\}"),
        ('answers.yes="kepe"', "'keep', 'drop' or 'abstain'"),
        ('endpoint.api_key="sk-secret"', "not shown, unexpected keyword"),
        ('endpoint.key_env="sk-secret"', "expected the name of an environment variable"),
        ('endpoint.url="http://me:sk-secret@host"', "got one with credentials"),
    ],
)
def test_a_prompt_is_refused_before_anything_is_asked(tmp_path, override, message):
    with pytest.raises(ValueError, match=message) as caught:
        curation(tmp_path, "relevant", overrides=[f"extract.relevant.{override}"])
    assert "sk-secret" not in str(caught.value)


def test_a_refusal_never_shows_the_values_of_a_section(tmp_path):
    (tmp_path / "c.toml").write_text(
        '[data]\nshards = ["x"]\n[[rules]]\nkind = "nsfw"\n[[extract]]\nkind = "prompt"\n'
        'endpoint = {url = "http://x", key = "sk-secret"}\n'
    )
    with pytest.raises(ValueError, match=r"prompt.name: got a section with kind, endp") as refusal:
        load_config(tmp_path / "c.toml", Run)
    assert "sk-secret" not in str(refusal.value)


def test_what_a_setting_says_of_itself_is_not_said_twice():
    with pytest.raises(ValueError, match=r"demo.toml: extract: got none, expected at least one"):
        load_config(CONFIGS / "demo.toml", Run, overrides=["extract=[]"])
