"""A package that adds an extractor and a rule: the README's, installed and used in a run."""

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Literal, get_args

import pyarrow.parquet as pq
import pytest

from filters.plugins import AnyExtractor, AnyRule, with_plugins
from filters.rules import Band, ReadyMade
from pipeline.folder import Folder
from pipeline.voted import read_decisions
from tests.integration.conftest import CONFIG
from tests.toy import build_pool

README = Path(__file__).parents[2] / "README.md"
WANTED = """
[[extract]]
kind = "colour"
[[rules]]
kind = "grey"
least = 70.0
"""


def documented():
    """Return the README's pyproject.toml and module."""
    section = README.read_text(encoding="utf-8").split("## Plug-ins\n")[1].split("\n## ")[0]
    (project,), (module,) = (
        re.findall(rf"```{kind}\n(.*?)```", section, re.S) for kind in ("toml", "python")
    )
    return project, module


def install(site, project, module):
    """Lay a package out as an installer does: its module, and a dist-info with entry points."""
    about = tomllib.loads(project)["project"]
    info = site / f"{about['name']}-{about['version']}.dist-info"
    info.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    (info / "METADATA").write_text(head)
    groups = about["entry-points"].items()
    lines = [
        f"[{g}]\n" + "".join(f"{n} = {v}\n" for n, v in points.items()) for g, points in groups
    ]
    (info / "entry_points.txt").write_text("".join(lines))
    (site / f"{about['name']}.py").write_text(module)


def test_the_example_of_the_readme_is_complete_and_short():
    lines = [line for text in documented() for line in text.splitlines() if line.strip()]
    assert len(lines) <= 30


def test_an_installed_package_scores_and_votes_and_a_broken_one_is_left_out(tmp_path, monkeypatch):
    install(tmp_path / "site", *documented())
    broken = 'name = "brittle"\nversion = "2.0"\n[project.entry-points]\n'
    install(
        tmp_path / "site",
        f'[project]\n{broken}"thresher.rules" = {{ brittle = "brittle:Brittle" }}\n',
        "import a_module_that_nobody_has\n",
    )
    shards = build_pool(tmp_path, shards=1, pairs=18)
    (tmp_path / "c.toml").write_text(CONFIG.format(shards=shards) + WANTED)
    path = os.pathsep.join([str(tmp_path / "site"), str(README.parent)])
    result = subprocess.run(
        [sys.executable, "-m", "thresher", "curate", "c.toml", "--out", "run", "--ray", "off"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (warning,) = result.stderr.strip().splitlines()
    assert "plug-in brittle: brittle = brittle:Brittle is left out" in warning
    assert "No module named 'a_module_that_nobody_has'" in warning
    assert "`pip uninstall brittle`" in warning
    (rule,) = (r for r in rules_of(tmp_path / "run") if r["name"] == "grey")
    assert rule["kind"] == "band"
    (table,) = (tmp_path / "run" / "scores").glob("score-*/*.parquet")
    colour = pq.read_table(table, columns=["colour"]).column("colour").to_pylist()
    monkeypatch.chdir(tmp_path)  # tables are found by the paths that the run was given
    votes = read_decisions(Folder("run"), ()).table.column("vote:grey")
    assert votes.to_pylist() == [0 if value <= 70 else -1 for value in colour]
    assert {0, -1} == set(votes.to_pylist())  # black drawings are grey, red ones are not


def rules_of(run):
    return json.loads((run / "subset" / "rules.json").read_text())


@dataclass(frozen=True, kw_only=True, slots=True)
class Fine(ReadyMade):
    kind: Literal["fine"] = "fine"
    name: str = "fine"
    veto: bool = False

    def primitive(self):
        return Band(name=self.name, column="x", keep=1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken(Fine):
    kind: Literal["nsfw"] = "nsfw"


@dataclass(frozen=True, kw_only=True, slots=True)
class Untold(Fine):
    kind: str = "untold"


@dataclass(frozen=True, kw_only=True, slots=True)
class Odd(Fine):
    kind: Literal["odd"] = "odd"
    setting: threading.Lock = None  # no type that a TOML value could have


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfinished(ReadyMade):
    kind: Literal["unfinished"] = "unfinished"


def point(value):
    return EntryPoint("it", f"{__name__}:{value}" if ":" not in value else value, "thresher.rules")


def test_what_is_fine_joins_the_union():
    union = with_plugins(Band | Fine, ReadyMade, [])
    assert get_args(union) == (Band, Fine)
    assert with_plugins(Fine, ReadyMade, []) is Fine
    assert set(get_args(with_plugins(AnyRule, ReadyMade, [point("Fine")]))) == {
        *get_args(AnyRule), Fine,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("Taken", "got kind 'nsfw', which filters.rules.safety has already"),
        ("Untold", "without a kind, expected a field kind"),
        ("Unfinished", "got Unfinished without name, primitive, veto"),
        ("point", "expected a subclass of filters.rules.ready.ReadyMade"),
        ("Band", "expected a subclass of filters.rules.ready.ReadyMade"),
        ("Odd", "PydanticSchemaGenerationError"),
        ("Gone", "has no attribute 'Gone'"),
        ("nowhere_at_all:X", "No module named 'nowhere_at_all'"),
    ],
)
def test_what_is_wrong_is_left_out_with_one_line(value, message, caplog):
    assert with_plugins(AnyRule, ReadyMade, [point(value)]) == AnyRule
    (record,) = caplog.records
    assert message in record.getMessage()
    assert "\n" not in record.getMessage()
    assert "`pip uninstall" in record.getMessage()


def test_the_unions_hold_what_is_ours():
    from filters import extract, rules

    assert set(get_args(extract.AnyExtractor)) <= set(get_args(AnyExtractor))
    assert set(get_args(rules.AnyRule)) <= set(get_args(AnyRule))


def test_a_package_that_exits_at_import_is_left_out(tmp_path, monkeypatch, caplog):
    (tmp_path / "exits_at_import.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert with_plugins(AnyRule, ReadyMade, [point("exits_at_import:X")]) == AnyRule
    assert "is left out: SystemExit: 3" in caplog.text
