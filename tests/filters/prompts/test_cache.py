"""Answers that are kept: by several processes, through damage, and never a failure."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from filters.extract import Batch
from filters.prompts.cache import Cache, cache_folder, key_of
from filters.prompts.reply import Reply
from tests.endpoint import Raw, Says

REPLY = Reply("Yes", {"Yes": -0.25, "No": -1.5}, 10, 2)


def put(cache, number, reply=REPLY):
    cache.put(key_of(number, ""), reply, model="tiny", sample="", cost=0.5)


def count(label, *captions, **settings):
    """Label, and return how many votes there are."""
    found = label(Batch([], [], captions), **settings)["relevant"]
    return sum(vote is not None for vote in found)


def test_a_second_run_asks_nothing_and_a_moved_server_is_the_same(model, label):
    model.plan = lambda _body: Says("Yes", (("Yes", 0.75), ("No", 0.25)))
    first = label(Batch([], [], ["one", "two", "one"]))
    assert len(model.asked) == 2  # the same question twice is one
    second = label(Batch([], [], ["two", "one"]), url=model.url + "/", concurrency=1, timeout_s=9)
    assert len(model.asked) == 2
    assert {k: v[:2][::-1] for k, v in first.items()} == second
    assert label(Batch([], [], ["one"]), answers={"no": "keep"})["relevant_score"] == [1.0]
    assert len(model.asked) == 2  # another map reads the same answers


@pytest.mark.parametrize(
    "changed",
    [
        {"template": "Is it good: {caption}?"}, {"model": "other"}, {"system": "Be short."},
        {"max_tokens": 9}, {"top_logprobs": 5}, {"options": {"seed": 1}},
    ],
)  # fmt: skip
def test_what_may_change_an_answer_asks_again(model, label, changed):
    assert count(label, "one") == count(label, "one", **changed) == 1
    assert len(model.asked) == 2


def test_failures_are_not_kept(model, label):
    model.first(Raw(b"", 400), Raw(b"no json"))
    assert count(label, "one", "two", concurrency=1) == 0
    assert count(label, "one", "two") == 2
    assert len(model.asked) == 4


def test_several_processes_write_one_file(tmp_path):
    """Four processes put 50 answers each, ten of them the same; all 170 are there."""
    code = (
        "import sys; from pathlib import Path\n"
        "from filters.prompts.cache import Cache\n"
        "from tests.filters.prompts.test_cache import put\n"
        "cache, own = Cache(Path(sys.argv[1])), int(sys.argv[2])\n"
        "[put(cache, i if i < 10 else 1000 * own + i) for i in range(50)]\n"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", code, str(tmp_path)]
    workers = [subprocess.Popen([*command, str(i)], cwd=root) for i in range(4)]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    cache = Cache(tmp_path)
    assert cache.count() == 170
    assert cache.get([key_of(3049, "")]) == {key_of(3049, ""): REPLY}


def test_the_first_answer_stays(tmp_path):
    cache = Cache(tmp_path)
    put(cache, 1)
    put(cache, 1, Reply("No", {}))
    assert cache.get([key_of(n, "") for n in range(1200)]) == {key_of(1, ""): REPLY}


def test_tokens_and_cost_are_kept(tmp_path):
    put(cache := Cache(tmp_path), 1)
    with sqlite3.connect(cache.path) as file:
        row = file.execute("SELECT model, prompt_tokens, completion_tokens, cost FROM answers")
        assert row.fetchall() == [("tiny", 10, 2, 0.5)]
    file.close()


@pytest.mark.parametrize("damage", ["text", "header", "page"])
def test_a_damaged_file_is_set_aside(tmp_path, caplog, damage):
    cache = Cache(tmp_path)
    for number in range(200):
        put(cache, number)
    cache.close()
    data = bytearray(cache.path.read_bytes())
    if damage == "page":  # found only when it is read
        data[4096 * 2 :] = os.urandom(len(data) - 4096 * 2)
    else:
        data[: 16 if damage == "header" else len(data)] = b"no database "[:12] + b"....."[:4]
    cache.path.write_bytes(data)
    cache = Cache(tmp_path)
    cache.get([key_of(n, "") for n in range(200)])
    put(cache, 7)
    assert cache.get([key_of(7, "")]) == {key_of(7, ""): REPLY}
    assert cache.count() == 1
    assert "damaged" in caplog.text
    assert cache.path.with_name("answers.sqlite.damaged-0").read_bytes() == data


def test_two_who_find_damage_set_one_file_aside(tmp_path):
    first = Cache(tmp_path)
    for number in range(200):
        put(first, number)
    first.close()
    data = bytearray(first.path.read_bytes())
    data[4096 * 2 :] = bytes(len(data) - 4096 * 2)
    first.path.write_bytes(data)
    one, two = Cache(tmp_path), Cache(tmp_path)
    keys = [key_of(n, "") for n in range(200)]
    one.get(keys)
    put(one, 1)
    two.get(keys)
    assert two.get(keys) == one.get(keys) == {key_of(1, ""): REPLY}
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


def test_a_row_that_is_no_answer_is_asked_for_again(tmp_path, caplog):
    put(cache := Cache(tmp_path), 1)
    with sqlite3.connect(cache.path) as file:
        file.execute("UPDATE answers SET reply = ?", [json.dumps({"texts": 1})])
    file.close()
    assert cache.get([key_of(1, "")]) == {}
    assert "no answer" in caplog.text


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionError, match=r"cache: got .*file.*, expected a local folder"):
        Cache(tmp_path / "file")


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path))
    assert cache_folder("") == tmp_path / "prompts"
    assert cache_folder("/own") == Path("/own")
    monkeypatch.delenv("THRESHER_CACHE")
    assert cache_folder("") == Path.home() / ".cache" / "thresher" / "prompts"
