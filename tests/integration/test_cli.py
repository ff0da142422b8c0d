"""The command line as a user meets it: exit codes, one-line errors, help with an example."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("demo", "run", "plan", "curate", "train", "distill", "evaluate", "status", "verify",
            "report", "pool build", "filters list", "head train", "head combine")  # fmt: skip


def thresher(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "thresher", *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=cwd,
    )  # fmt: skip


def refused(result, *words, code=2):
    assert result.returncode == code, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = thresher(*command.split(), "--help")
    assert result.returncode == 0
    assert f"Example: thresher {command}" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rules.0.column=nothing", ["'nothing'", "expected one of", "add the extractor"]),
        ("concepts.neighbours=0", ["concepts.neighbours", "got 0", "greater than or equal to 1"]),
        ("concepts.cluster.clusters=0", ["concepts.cluster", "got clusters = 0", "at least 1"]),
        ("concepts.cluster.clutsers=4", ["concepts.cluster.flat.clutsers", "unexpected keyword"]),
        ('cells.batch="many"', ["cells.batch", "'many'", "valid integer"]),
        ("ensemble.budget=0.01", ["got 0 of 36 pairs", "'over_budget' (36)", "loosen the rules"]),
        ("ensemble.budget=7.5", ["ensemble", "got 7.5", "a whole number of pairs"]),
        ("rules.3.name=x", ["position below 3"]),
        ("nonsense", ["KEY.KEY=VALUE"]),
        ('data.shards=["/nowhere/*.tar"]', ["/nowhere/*.tar", "matches no file"]),
    ],
)
def test_a_wrong_request_is_one_line_and_code_2(config, tmp_path, override, words):
    out = tmp_path / "run"
    refused(thresher("curate", config(), "--out", out, "--ray", "off", "--set", override), *words)


def test_a_missing_or_broken_config(tmp_path):
    refused(thresher("run", tmp_path / "no.toml"), "no.toml", "expected a TOML file")
    (tmp_path / "bad.toml").write_text("a = [")
    refused(thresher("run", tmp_path / "bad.toml"), "bad.toml", "expected TOML")


def test_a_run_folder_that_cannot_be_written(config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(
        thresher("curate", config(), "--out", tmp_path / "file" / "run", "--ray", "off"),
        "run folder", "--out",
    )  # fmt: skip


def test_an_empty_pool(config, tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "0.tar").write_bytes(b"")
    refused(
        thresher("curate", config(shards=tmp_path / "pool"), "--out", tmp_path, "--ray", "off"),
        "no readable pair",
    )  # fmt: skip


def test_status_and_verify_of_something_else(tmp_path):
    refused(thresher("status", tmp_path), "config.toml")
    refused(thresher("verify", tmp_path), "config.toml")
    (tmp_path / "config.toml").write_text("")
    refused(thresher("report", tmp_path), "subset/scores.parquet", "thresher curate")


def test_an_address_without_a_cluster(config, tmp_path):
    refused(
        thresher("curate", config(), "--out", tmp_path / "run", "--ray", "127.0.0.1:1"),
        "--ray", "127.0.0.1:1", "ray start --head",
    )  # fmt: skip


def test_plan_runs_nothing_then_curate_status_and_verify(config, tmp_path):
    out = tmp_path / "run"
    planned = thresher("plan", config(), "--out", out)
    assert planned.returncode == 0, planned.stderr
    assert "3 shards" in planned.stdout
    assert "image, caption, language, embed: cost unknown" in planned.stdout
    assert "vote   3 shards, 3 rules: reads columns only" in planned.stdout
    assert not out.exists()
    curated = thresher("curate", config(), "--out", out, "--ray", "off")
    assert curated.returncode == 0, curated.stderr
    assert "of 36 pairs" in curated.stdout
    planned = thresher("plan", config(), "--out", out).stdout
    assert "done; deciding reads columns only" in planned
    assert "vote" not in planned
    changed = thresher("plan", config(), "--out", out, "--set", "rules.words.keep=5.0").stdout
    assert "relate" not in changed
    assert "vote   3 shards, 3 rules: reads columns only" in changed
    assert "ok 36" in thresher("status", out).stdout
    assert thresher("verify", out).returncode == 0
    again = thresher("report", out)
    assert Path(again.stdout.strip()).is_file()
    assert json.loads((out / "summary.json").read_text())["pairs_in"] == 36
